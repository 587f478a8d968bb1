# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables as text."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], n_left: int = 1) -> str:
    """Align the columns of a table with spaces.

    Parameters
    ----------
    rows
        Cells of each row, as many in each.
    n_left
        Number of columns, from the first, that begin at one place. The others end at one.

    Returns
    -------
    table
        Lines without a line break at the end.

    Examples
    --------
    >>> from kikuchipy_cnn._tables import aligned
    >>> print(aligned([("Class", "Points"), ("Ni", "7")]))
    Class  Points
    Ni          7
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < n_left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
