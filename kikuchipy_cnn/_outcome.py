# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a classification: from what the model says to a crystal map."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from dask.delayed import Delayed
from orix.crystal_map import CrystalMap
from orix.quaternion import Rotation

from kikuchipy_cnn.crystal_map import probabilities_to_crystal_map
from kikuchipy_cnn.inference import Prediction
from kikuchipy_cnn.judgement import judge
from kikuchipy_cnn.label_classes import LabelClasses
from kikuchipy_cnn.prior import contradiction_warning
from kikuchipy_cnn.space_groups import SpaceGroupClasses
from kikuchipy_cnn.uncertainty.rejection import Limits, RejectReason


@dataclass(frozen=True)
class Outcome:
    """Makes crystal maps of predictions.

    Parameters
    ----------
    classes
        Classes of the model.
    scan
        Shape, step sizes and unit of the map.
    used
        Boolean array of the navigation shape, True for the patterns to classify.
    rotations
        Rotations of all points, or None.
    limits, prior, pooling_radius
        As for :func:`~kikuchipy_cnn.judgement.judge`.
    """

    classes: SpaceGroupClasses | LabelClasses
    scan: Mapping
    used: np.ndarray
    rotations: Rotation | None
    limits: Limits | None
    prior: np.ndarray | None
    pooling_radius: int

    def crystal_map(self, prediction: Prediction, stacklevel: int = 3) -> CrystalMap:
        """Judge what the model says, and tell the user of it.

        Parameters
        ----------
        prediction
            What the model says.
        stacklevel
            Of warnings.
        """
        judgement = judge(
            prediction,
            self.used,
            limits=self.limits,
            prior=self.prior,
            pooling_radius=self.pooling_radius,
        )
        print(_counts(judgement.reasons))
        n_invalid = int((self.used & ~prediction.valid).sum())
        if n_invalid:
            message = invalid_warning(n_invalid, self.used.sum())
            warnings.warn(message, UserWarning, stacklevel=stacklevel)
        if self.prior is not None:
            message = contradiction_warning(judgement.properties["evidence_ratio"])
            if message is not None:
                warnings.warn(message, UserWarning, stacklevel=stacklevel)
        return probabilities_to_crystal_map(
            judgement.probabilities,
            self.classes,
            **self.scan,
            is_in_data=self.used.ravel(),
            indexed=judgement.indexed,
            rotations=self.rotations,
            properties=judgement.properties,
        )


def invalid_warning(n_invalid: int, n: int) -> str:
    """Tell how many of some patterns cannot be classified.

    Parameters
    ----------
    n_invalid
        Number of these.
    n
        Number of all.
    """
    return (
        f"{n_invalid} of {n} patterns are constant or have values that are not finite. They are "
        "not indexed."
    )


class LazyCrystalMap:
    """A crystal map that is computed later.

    Dask computes what the model says; the map is made of it in the process that asks for it, since
    those of orix cannot be sent from one to another. To compute several at once, give their
    ``prediction`` to :func:`dask.compute`, and what comes back to ``crystal_map()``.

    Parameters
    ----------
    prediction
        A :class:`~kikuchipy_cnn.inference.Prediction`, lazily.
    outcome
        What makes a map of it.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> s = kp.data.nickel_ebsd_small()
    >>> lazy = s.classify_space_group("fast_fewshot", compute=False)
    Space group classification information:
    ...
    >>> xmap = lazy.compute()
      Patterns: ...
    >>> xmap.shape
    (3, 3)
    """

    def __init__(self, prediction: Delayed, outcome: Outcome) -> None:
        self.prediction = prediction
        self.crystal_map = outcome.crystal_map

    def compute(self, **settings) -> CrystalMap:
        """Classify the patterns.

        Parameters
        ----------
        **settings
            Arguments of :func:`dask.compute`, such as the scheduler.

        Returns
        -------
        xmap
            Crystal map.
        """
        return self.crystal_map(self.prediction.compute(**settings))


def _counts(reasons: np.ndarray) -> str:
    """How many patterns got an answer, and why others did not."""
    counts = Counter(reasons.tolist())
    parts = [f"{counts[reason]} {reason.meaning}" for reason in RejectReason if counts[reason]]
    return f"  Patterns: {', '.join(parts)}"
