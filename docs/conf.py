"""Configuration of the documentation site, for Sphinx.

The site is built without a network, ``python -m sphinx -b html docs docs/_build/html``, and with
``-D plot_gallery=0`` without running the examples. See :mod:`docs/_inventories/make.py` for where
links to other projects lead.
"""

import sys
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_extensions")]

import kikuchipy_cnn  # noqa: E402, needs the path

# Project

project = "kikuchipy-cnn"
author = "kikuchipy-cnn developers"
copyright = f"{datetime.now():%Y}, {author}"
version = release = kikuchipy_cnn.__version__

# Sphinx

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
    "alternative_texts",
    "command_help",
    "public_names",
    "repository_links",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "_templates", "_inventories", "images"]
templates_path = ["_templates"]
nitpicky = True

# Names of other projects that have no address of their own. Keras has no documentation by Sphinx,
# and where HyperSpy's preferences and Dask's lazy values are documented is not known for sure.
nitpick_ignore_regex = [
    ("py:.*", r"keras(\..*)?"),
    ("py:.*", r"hyperspy\.api\.preferences\..*"),
    ("py:class", r"dask\.delayed\.Delayed"),
]

# Pages in Markdown

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

# Reference

add_module_names = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autosummary_generate = True
# Members are listed on the page of their class by its template.
numpydoc_show_class_members = False
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# Links to other projects: names and addresses that docs/_inventories/make.py has written down, so
# that no network is needed. Python's and NumPy's addresses are their latest stable documentation.
intersphinx_mapping = {
    name: (address, str(HERE / "_inventories" / f"{name}.inv"))
    for name, address in {
        "dask": "https://docs.dask.org/en/stable",
        "diffpy.structure": "https://www.diffpy.org/diffpy.structure",
        "distributed": "https://distributed.dask.org/en/stable",
        "kikuchipy": "https://kikuchipy.org/en/stable",
        "matplotlib": "https://matplotlib.org/stable",
        "numpy": "https://numpy.org/doc/stable",
        "orix": "https://orix.readthedocs.io/en/stable",
        "pyebsdindex": "https://pyebsdindex.readthedocs.io/en/latest",
        "python": "https://docs.python.org/3",
    }.items()
}

# Bibliography

bibtex_bibfiles = ["bibliography.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

# Gallery

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "gallery_figures.reading_order",
    "image_scrapers": ("gallery_figures.scraper",),
    # Figures are shown as pictures, not by their repr.
    "ignore_repr_types": r"matplotlib\.(figure|text|axes)",
    # A failing example fails the build.
    "abort_on_example_error": True,
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("kikuchipy_cnn",),
    "reference_url": {},
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
}

# Copy buttons leave out prompts and output

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Pages

html_theme = "pydata_sphinx_theme"
html_title = "kikuchipy-cnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
# A page without pages below has nothing to show beside it.
html_sidebars = {"getting_started": [], "index": []}
html_theme_options = {
    "footer_end": [],
    "footer_start": ["copyright"],
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "show_toc_level": 2,
    "use_edit_page_button": False,
}
