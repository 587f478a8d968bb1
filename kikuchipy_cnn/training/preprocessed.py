# SPDX-License-Identifier: GPL-3.0-or-later

"""Patterns that are read and preprocessed once, for several trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kikuchipy_cnn.preprocessing import PatternTransform
from kikuchipy_cnn.training.labelled import LabelledPatterns, PatternSource


@dataclass(frozen=True, eq=False)
class PreprocessedPatterns(LabelledPatterns):
    """Labelled patterns in memory as a network takes them. Make them with :meth:`read`.

    Parameters
    ----------
    sources, source, index, space_group, material, map_name, grain, rotation
        As for :class:`~kikuchipy_cnn.training.LabelledPatterns`. The data of the sources are
        network input of shape (n, size, size) and data type float32.
    transform
        The preprocessing that they went through.
    """

    transform: PatternTransform | None = None

    @classmethod
    def read(
        cls,
        patterns: LabelledPatterns,
        transform: PatternTransform,
        *,
        show_progressbar: bool | None = None,
    ) -> PreprocessedPatterns:
        """Read and preprocess patterns.

        Parameters
        ----------
        patterns
            Patterns. Those that are constant or not finite are left out, with a warning.
        transform
            Preprocessing.
        show_progressbar
            Whether to show a progress bar. If not given, the value of
            :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

        Returns
        -------
        patterns
            The same patterns in memory.
        """
        images, valid = patterns.images(transform, show_progressbar=show_progressbar)
        if not valid.all():
            images, patterns = images[valid], patterns.take(valid)
        return cls(
            (PatternSource(images[..., 0]),),
            np.zeros(len(images), int),
            np.arange(len(images)),
            patterns.space_group,
            patterns.material,
            patterns.map_name,
            patterns.grain,
            patterns.rotation,
            transform,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[PreprocessedPatterns]) -> PreprocessedPatterns:
        """Join several sets of patterns that went through the same preprocessing."""
        return replace(super().concatenate(parts), transform=parts[0].transform)

    def images(
        self, transform: PatternTransform, *, show_progressbar: bool | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return all patterns, without reading anything.

        Parameters
        ----------
        transform
            Preprocessing, which must be that of the patterns.
        show_progressbar
            Not used.

        Returns
        -------
        images
            Network input of shape (n, size, size, 1) and data type float32.
        valid
            Boolean array of shape (n,), all True.

        Raises
        ------
        ValueError
            If the preprocessing is another one.
        """
        if transform != self.transform:
            raise ValueError(
                f"The patterns were preprocessed with {self.transform}, but {transform} is asked "
                "for. Read the patterns again."
            )
        images = np.empty((len(self), transform.size, transform.size, 1), np.float32)
        for number in np.unique(self.source):
            places = self.source == number
            images[places, ..., 0] = self.sources[number].data[self.index[places]]
        return images, np.ones(len(self), bool)
