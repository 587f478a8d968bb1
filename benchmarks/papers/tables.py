"""Cells of tables."""

from collections.abc import Sequence

import numpy as np


def mean_and_deviation(values: Sequence[float], digits: int = 3) -> str:
    """Mean and standard deviation of trials, or the one value there is."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"
