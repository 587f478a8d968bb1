# SPDX-License-Identifier: GPL-3.0-or-later

"""What networks make of labelled patterns, read once for all that is fitted to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kikuchipy_cnn.models import Ensemble, ModelBundle
from kikuchipy_cnn.models.ensemble import members_of, probabilities_of
from kikuchipy_cnn.space_groups import Classes
from kikuchipy_cnn.training.class_level import level_of
from kikuchipy_cnn.training.labelled import LabelledPatterns

_BATCH_SIZE = 256


@dataclass(frozen=True, eq=False)
class NetworkOutputs:
    """Features and logits of all networks of a model.

    Parameters
    ----------
    patterns
        Patterns that are valid.
    valid
        Which of those given are, of shape (n given,).
    features
        Input of the last layer for each network, of shape (n, features) each.
    logits
        Its output for each network, of shape (n, classes) each.
    """

    patterns: LabelledPatterns | None
    valid: np.ndarray
    features: list[np.ndarray]
    logits: list[np.ndarray]

    @classmethod
    def of_patterns(
        cls,
        model: ModelBundle | Ensemble,
        patterns: LabelledPatterns,
        show_progressbar: bool | None = None,
    ) -> NetworkOutputs:
        """Read, preprocess and classify labelled patterns.

        Parameters
        ----------
        model
            Model.
        patterns
            Patterns.
        show_progressbar
            Whether to show a progress bar.
        """
        images, valid = patterns.images(model.transform, show_progressbar=show_progressbar)
        return cls._of_images(model, images[valid], patterns.take(valid), valid)

    @classmethod
    def of_images(cls, model: ModelBundle | Ensemble, recorded: np.ndarray) -> NetworkOutputs:
        """Preprocess and classify images that have no label.

        Parameters
        ----------
        model
            Model.
        recorded
            Images of shape (n, rows, columns), as a camera records them.
        """
        images, valid = model.transform(recorded)
        return cls._of_images(model, images[valid], None, valid)

    @classmethod
    def _of_images(cls, model, images, patterns, valid) -> NetworkOutputs:
        if not len(images):
            raise ValueError(
                f"None of the {len(valid)} patterns is valid: they are constant or not finite."
            )
        features, logits = [], []
        for member in members_of(model):
            parts = [
                member.features_and_logits(images[i : i + _BATCH_SIZE])
                for i in range(0, len(images), _BATCH_SIZE)
            ]
            for into, of_parts in zip((features, logits), zip(*parts, strict=True), strict=True):
                into.append(np.concatenate(of_parts))
        return cls(patterns, valid, features, logits)

    def __len__(self) -> int:
        return int(self.valid.sum())

    def take(self, chosen: np.ndarray) -> NetworkOutputs:
        """Take some of the labelled patterns, given by a boolean array of shape (n,)."""
        return NetworkOutputs(
            self.patterns.take(chosen),
            np.ones(np.count_nonzero(chosen), bool),
            [features[chosen] for features in self.features],
            [logits[chosen] for logits in self.logits],
        )

    def labels(self, classes: Classes) -> np.ndarray:
        """Index of each pattern's class.

        Parameters
        ----------
        classes
            Classes of the model.

        Returns
        -------
        labels
            Indices of shape (n,).

        Raises
        ------
        ValueError
            If a pattern is of none of the classes.
        """
        found = self.patterns.labels(level_of(classes, self.patterns, None)).tolist()
        others = sorted(set(found) - set(classes.labels), key=str)
        if others:
            raise ValueError(
                f"There are patterns of {', '.join(map(str, others))}, but the model tells apart "
                f"{', '.join(map(str, classes.labels))}. Give patterns of these only."
            )
        index = {label: i for i, label in enumerate(classes.labels)}
        return np.array([index[label] for label in found])

    def probabilities(self, model: ModelBundle | Ensemble) -> np.ndarray:
        """Calibrated probabilities of a model that these outputs are of, of shape (n, classes)."""
        return probabilities_of(model, self.logits)
