"""Figures and order of the gallery of examples, for sphinx-gallery."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

# Titles that a screen reader reads out, at most.
_MOST = 12
# The order in which the examples are best read; others follow by name.
ORDER = (
    "classify_nickel",
    "know_when_not_to_know",
    "export_to_mtex",
    "lazy_and_large",
    "simulate_a_map",
    "add_a_phase",
    "nickel_and_ni3al",
    "train_for_your_sample",
    "transfer_or_scratch",
    "follow_a_drift",
    "explain_with_shap",
    "explain_with_grad_cam",
    "kernels_and_feature_maps",
)


def reading_order(filename: str) -> tuple[int, str]:
    """Key to sort examples by.

    Parameters
    ----------
    filename
        Name of the example's file.
    """
    name = Path(filename).stem
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def scraper(block, block_vars: dict, gallery_conf: dict) -> str:
    """Save the figures of a cell: those of pyplot, and the value of the cell if it is a figure.

    Figures of this package are made without pyplot, which sphinx-gallery's own scraper asks only.

    Parameters
    ----------
    block
        Cell of the example.
    block_vars
        Variables of the example. The figures shown so far are kept here.
    gallery_conf
        Configuration of sphinx-gallery.

    Returns
    -------
    rst
        Images in reStructuredText.
    """
    shown = block_vars.setdefault("shown_figures", [])
    figures = [plt.figure(number) for number in plt.get_fignums()]
    # The value of a cell stays here after cells that have none.
    value = block_vars["example_globals"].get("___")
    if isinstance(value, Figure):
        figures.append(value)
    texts = []
    for figure in figures:
        if any(figure is other for other in shown):
            continue
        shown.append(figure)
        path = next(block_vars["image_path_iterator"])
        figure.savefig(path)
        texts.append(figure_rst([path], gallery_conf["src_dir"], alternative_text(figure)))
    plt.close("all")
    return "\n".join(texts)


def alternative_text(figure: Figure) -> str:
    """What is to be seen in a figure, from its titles or, without, from its labels.

    Parameters
    ----------
    figure
        Figure.
    """
    texts = [figure.get_suptitle()]
    for ax in figure.axes:
        texts += [ax.get_title(loc) for loc in ("left", "center", "right")]
    if not any(texts):
        labels = [(ax.get_ylabel(), ax.get_xlabel()) for ax in figure.axes]
        texts = [" against ".join(filter(None, pair)) for pair in labels]
    plain = list(dict.fromkeys(" ".join(_plain(text).split()) for text in texts if text))
    if not plain:
        return "Figure that the code above has made"
    more = f" and {len(plain) - _MOST} more" if len(plain) > _MOST else ""
    return f"Figure: {', '.join(plain[:_MOST])}{more}"


def _plain(text: str) -> str:
    """Text of a title without TeX and without what means something in HTML."""
    text = re.sub(r"\\(?:overline|bar)\{?(\w)\}?", r"-\1", text)
    text = re.sub(r"\\math\w+|[${}\\]", "", text)
    return text.replace('"', "'").replace("<", "below ").replace(">", "above ")
