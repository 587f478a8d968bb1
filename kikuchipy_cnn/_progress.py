# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether to show progress bars."""

from __future__ import annotations

import hyperspy.api as hs


def is_progress_shown(show_progressbar: bool | None) -> bool:
    """Tell whether to show a progress bar.

    Parameters
    ----------
    show_progressbar
        What the user wants. None is HyperSpy's preference.
    """
    if show_progressbar is None:
        return hs.preferences.General.show_progressbar
    return show_progressbar
