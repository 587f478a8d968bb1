"""Sphinx extension: thumbnails of the gallery say which example they lead to."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict:
    """Connect the function below to Sphinx."""
    app.connect("doctree-resolved", describe_thumbnails)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def describe_thumbnails(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Give pictures without an alternative text that of the link that follows."""
    for image in doctree.findall(nodes.image):
        if not image.get("alt"):
            after = image.next_node(nodes.paragraph, descend=False, siblings=True)
            if after is not None:
                image["alt"] = f"Thumbnail of the example '{after.astext()}'"
