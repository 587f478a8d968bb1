"""Sphinx extension: links to files of the repository lead to their pages on the site.

Pages in Markdown link to examples and cards where they lie, so that the links work on a forge. On
the site, an example is in the gallery, and the card of a model is a page of its own.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

_UP = r"\]\((?:\.\./)+"
_PAGES = (
    (rf"{_UP}examples/(\w+)\.py\)", r"](/gallery/\1.rst)"),
    (rf"{_UP}examples/?\)", r"](/gallery/index.rst)"),
    (rf"{_UP}kikuchipy_cnn/models/packaged/(\w+)/card\.md(#[\w-]+)?\)", r"](/cards/\1.md\2)"),
    (rf"{_UP}CHANGELOG\.md\)", r"](/changelog.md)"),
    (rf"{_UP}README\.md\)", r"](/index.md)"),
    (rf"{_UP}CITATION\.cff\)", r"](/citing.md)"),
)


def setup(app: Sphinx) -> dict:
    """Connect the function below to Sphinx."""
    app.connect("source-read", lead_to_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def lead_to_pages(app: Sphinx, docname: str, source: list[str]) -> None:
    """Change the links of a page in Markdown."""
    if app.env.doc2path(docname).suffix != ".md":
        return
    for pattern, page in _PAGES:
        source[0] = re.sub(pattern, page, source[0])
