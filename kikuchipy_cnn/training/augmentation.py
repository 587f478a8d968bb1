# SPDX-License-Identifier: GPL-3.0-or-later

"""More patterns out of few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kikuchipy_cnn.preprocessing import PatternTransform


@dataclass(frozen=True)
class Augmentation:
    """Random changes of patterns that leave the phase as it is.

    Parameters
    ----------
    mirror
        Whether every other pattern is mirrored, left and right. The mirror image of a crystal has
        the same space group, or the enantiomorphic one.
    severity
        Fraction of the ranges of a camera's imperfections (see
        :class:`~kikuchipy_cnn.simulation.Disturbances`) that are added. 0 adds none.

    Raises
    ------
    ValueError
        If *severity* is not in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from kikuchipy_cnn import PatternTransform
    >>> from kikuchipy_cnn.training import Augmentation, LabelledPatterns
    >>> patterns = LabelledPatterns.from_simulation(
    ...     ["Ni"], 4, show_progressbar=False
    ... )
    >>> transform = PatternTransform(size=71)
    >>> images, _ = patterns.images(transform, show_progressbar=False)
    >>> augmentation = Augmentation(mirror=True, severity=0.2)
    >>> augmentation(images, transform, np.random.default_rng(1)).shape
    (4, 71, 71, 1)
    """

    mirror: bool = False
    severity: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.severity <= 1:
            raise ValueError(f"severity={self.severity} of the augmentation must be in [0, 1].")

    def __call__(
        self, images: np.ndarray, transform: PatternTransform, rng: np.random.Generator
    ) -> np.ndarray:
        """Change patterns.

        Parameters
        ----------
        images
            Preprocessed patterns of shape (n, size, size, 1) and data type float32, 0 where there
            is no signal.
        transform
            The preprocessing that they went through.
        rng
            Source of random numbers.

        Returns
        -------
        images
            Patterns of the same shape, preprocessed again where it is needed.
        """
        if self.mirror:
            chosen = rng.random(len(images)) < 0.5
            images = np.where(chosen[:, None, None, None], images[:, :, ::-1], images)
        if self.severity > 0:
            from kikuchipy_cnn.simulation import Disturbances, disturb

            weights = (images[..., 0] != 0).astype(np.float32)
            disturbances = Disturbances().scaled(self.severity)
            disturbed = disturb(images[..., 0], disturbances, rng)
            images = transform.standardise(disturbed, weights)[..., None]
        return images
