# SPDX-License-Identifier: GPL-3.0-or-later

"""Other ways to index a map, beside the networks and together with them.

Hough and dictionary indexing are kikuchipy's; here they keep the scores of all candidate phases, so
that it shows where two of them tie, and return maps that can be compared.
"""

from kikuchipy_cnn.comparison.agreement import PhaseComparison, compare_phase_maps
from kikuchipy_cnn.comparison.dictionary import dictionary_phase_map, index_with
from kikuchipy_cnn.comparison.hough import PhaseOrderEffect, hough_phase_map, hough_phase_order

__all__ = [
    "PhaseComparison",
    "PhaseOrderEffect",
    "compare_phase_maps",
    "dictionary_phase_map",
    "hough_phase_map",
    "hough_phase_order",
    "index_with",
]
