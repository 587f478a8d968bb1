"""Sphinx extension: a directive with the help texts of the program and all its commands."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from kikuchipy_cnn.cli import _parser

_WIDTH = 96


def setup(app: Sphinx) -> dict:
    """Add the directive to Sphinx."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class CommandHelp(Directive):
    """A section with the help text of each command."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        # argparse asks for the width of the terminal.
        os.environ["COLUMNS"] = str(_WIDTH)
        sections = []
        for command, text in help_texts(_parser()):
            section = nodes.section("", nodes.title(command, command), ids=[nodes.make_id(command)])
            section += nodes.literal_block(text, text, language="none")
            sections.append(section)
        return sections


def help_texts(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """Names and help texts of a program and of its commands.

    Parameters
    ----------
    parser
        Parser of the program or of a command.
    """
    yield parser.prog, parser.format_help().rstrip()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from help_texts(command)
