# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of arguments."""

from __future__ import annotations

import numpy as np


def check_integer(name: str, value: int, least: int, why: str = "") -> None:
    """Raise ValueError unless an argument is an integer that is large enough.

    Parameters
    ----------
    name
        Name of the argument.
    value
        What was given.
    least
        Smallest value that makes sense.
    why
        End of the message.
    """
    if not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name}={value!r} must be an integer of at least {least}{why}.")
