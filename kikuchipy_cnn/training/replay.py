# SPDX-License-Identifier: GPL-3.0-or-later

"""Patterns of known phase by which a network that learns something new keeps what it knew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kikuchipy_cnn.preprocessing import MINIMUM_PATTERN_SIZE
from kikuchipy_cnn.space_groups import Classes
from kikuchipy_cnn.training.class_level import label_of_phase
from kikuchipy_cnn.training.labelled import LabelledPatterns

# More phases say more of a class, but each takes time to project from.
_PHASES_PER_CLASS = 4


def simulate_replay(
    classes: Classes,
    level: str,
    n: int,
    size: int,
    *,
    seed: int = 0,
    show_progressbar: bool | None = None,
) -> LabelledPatterns:
    """Simulate patterns of each class, from phases of the packaged library drawn at random.

    Parameters
    ----------
    classes
        What the patterns are of.
    level
        Level of the classes, see :func:`~kikuchipy_cnn.training.class_level.level_of_classes`.
    n
        Least number of patterns of each class, from up to four phases.
    size
        Rows and columns of the patterns, at least 40.
    seed
        Seed of the random numbers.
    show_progressbar
        Whether to show a progress bar. If not given, the value of
        :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

    Returns
    -------
    patterns
        Patterns with the default disturbances of a camera.

    Raises
    ------
    ValueError
        If the library has no phase of a class.
    """
    from kikuchipy_cnn.simulation import load_library

    library = load_library()
    names: dict[int | str, list[str]] = {label: [] for label in classes.labels}
    for name, number in library.space_groups.items():
        label = label_of_phase(number, name, level)
        if label in names:
            names[label].append(name)
    missing = [label for label, of_class in names.items() if not of_class]
    if missing:
        raise ValueError(
            f"There is no phase of {', '.join(map(str, missing))} in the packaged library to "
            "simulate patterns of. Give some of your own, for instance from "
            "LabelledPatterns.from_simulation() with phases of your own."
        )
    rng = np.random.default_rng([seed, size])
    shape = (max(size, MINIMUM_PATTERN_SIZE),) * 2
    parts = []
    for of_class in names.values():
        phases = rng.permutation(of_class)[: min(_PHASES_PER_CLASS, n)].tolist()
        parts.append(
            LabelledPatterns.from_simulation(
                phases,
                -(-n // len(phases)),
                shape=shape,
                library=library,
                seed=seed,
                show_progressbar=show_progressbar,
            )
        )
    return LabelledPatterns.concatenate(parts)


def divide(
    labels: np.ndarray, shares: Sequence[float], rng: np.random.Generator
) -> list[np.ndarray]:
    """Divide patterns of each class at random.

    Parameters
    ----------
    labels
        Label of each pattern, of shape (n,).
    shares
        Part of each class that goes to each part but the first, rounded down. The first has the
        rest.

    Returns
    -------
    parts
        Indices in ascending order, one array more than there are *shares*.
    """
    parts: list[list[np.ndarray]] = [[] for _ in range(len(shares) + 1)]
    for label in dict.fromkeys(labels.tolist()):
        drawn = rng.permutation(np.flatnonzero(labels == label))
        ends = np.cumsum([int(share * len(drawn)) for share in shares])
        *others, first = np.split(drawn, ends)
        for part, indices in zip(parts, (first, *others), strict=True):
            part.append(indices)
    return [np.sort(np.concatenate(part)) for part in parts]
