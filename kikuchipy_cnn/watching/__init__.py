# SPDX-License-Identifier: GPL-3.0-or-later

"""Classification of patterns while they come."""

from kikuchipy_cnn.watching.stream import PatternStream, Round

__all__ = ["PatternStream", "Round"]
