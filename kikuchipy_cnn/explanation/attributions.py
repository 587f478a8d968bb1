# SPDX-License-Identifier: GPL-3.0-or-later

"""What parts of patterns speak for and against classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kikuchipy_cnn._tables import aligned
from kikuchipy_cnn.preprocessing import PatternTransform
from kikuchipy_cnn.space_groups import Classes, label_text


@dataclass(frozen=True, eq=False)
class Attributions:
    """Parts of patterns that speak for or against classes, by a network.

    Parameters
    ----------
    method
        How they were found: ``"DeepSHAP"``, ``"integrated gradients"`` or ``"Grad-CAM"``.
    patterns
        Patterns of shape (n, rows, columns), divided by their static background if one was given.
    images
        What the network saw of them, of shape (n, size, size).
    values
        Values at the network's pixels, of shape (n, k, size, size), for k classes of each pattern.
        Contributions to logits, positive ones for the class and negative ones against it; of
        Grad-CAM importance from 0 to 1.
    explained
        Positions among the classes, of shape (n, k).
    classes
        Classes of the model.
    transform
        Its preprocessing.
    logits, probabilities
        What it says of the patterns, of shape (n, classes): the mean logits of an ensemble's
        members, and calibrated probabilities.
    expected_logits
        Mean logits of the background patterns, of shape (classes,), to which contributions add. If
        not given, the values are no contributions.
    details
        Guided Grad-CAM: importance at single pixels, negative where less intensity is more of the
        class, of the shape of *values* and scaled to a largest magnitude of 1, if it was asked for.
    signal_mask
        Boolean mask of shape (rows, columns), False for the pixels that were used. If not given,
        all were.
    places
        Where in a map each pattern is, as its row and column, or its number in a map of one
        dimension, or nothing for a single pattern. If not given, the patterns are from no map.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn import explanation
    >>> s = kp.data.nickel_ebsd_small()
    >>> regions = explanation.explain(
    ...     s,
    ...     [(0, 2), (1, 0)],
    ...     model="fast_fewshot",
    ...     method="gradcam",
    ...     show_progressbar=False,
    ... )
    >>> regions
    Attributions(Grad-CAM, 2 pattern(s), 1 class(es) of each)
    >>> regions.values.shape, regions.on_patterns().shape
    ((2, 1, 71, 71), (2, 1, 60, 60))
    >>> [regions.classes.labels[i] for i in regions.predicted]
    [225, 225]
    >>> regions.place_text(1)
    '1,0'
    """

    method: str
    patterns: np.ndarray
    images: np.ndarray
    values: np.ndarray
    explained: np.ndarray
    classes: Classes
    transform: PatternTransform
    logits: np.ndarray
    probabilities: np.ndarray
    expected_logits: np.ndarray | None = None
    details: np.ndarray | None = None
    signal_mask: np.ndarray | None = None
    places: tuple[tuple[int, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.patterns)

    def __repr__(self) -> str:
        n, k = self.explained.shape
        return f"Attributions({self.method}, {n} pattern(s), {k} class(es) of each)"

    @property
    def predicted(self) -> np.ndarray:
        """Position of the most probable class of each pattern, of shape (n,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def additivity_errors(self) -> np.ndarray:
        """How far contributions are from adding up, of shape (n, k).

        The difference of their sum from that of the pattern's and the expected logit, in units of
        the logit span: the largest less the smallest logit of the pattern.

        Raises
        ------
        ValueError
            If the values are no contributions.
        """
        if self.expected_logits is None:
            raise ValueError(f"Values of {self.method} are no contributions that add up.")
        wanted = np.take_along_axis(self.logits - self.expected_logits, self.explained, axis=1)
        difference = self.values.sum(axis=(2, 3), dtype=np.float64) - wanted
        return np.abs(difference) / np.ptp(self.logits, axis=1)[:, None]

    @property
    def inside(self) -> np.ndarray:
        """Which of the network's pixels the patterns cover, of shape (size, size)."""
        return self.transform.inside(self.patterns.shape[1:], self.signal_mask)

    def chosen(self, details: bool) -> np.ndarray:
        """Return the values, or the details.

        Parameters
        ----------
        details
            Whether to return the details.

        Returns
        -------
        values
            Of shape (n, k, size, size).

        Raises
        ------
        ValueError
            If there are none.
        """
        if not details:
            return self.values
        if self.details is None:
            raise ValueError("There are no details. Ask for them: grad_cam(..., guided=True).")
        return self.details

    def place_text(self, i: int) -> str:
        """Where a pattern is in its map, as it is printed; its number if it is from no map.

        Parameters
        ----------
        i
            Number of the pattern.

        Returns
        -------
        text
            Row and column, such as "3,7".
        """
        return ",".join(map(str, (i,) if self.places is None else self.places[i]))

    def on_patterns(self) -> np.ndarray:
        """Return the values at the pixels of the patterns.

        Returns
        -------
        values
            Of shape (n, k, rows, columns). Contributions have the same sum as before, if background
            patterns are empty beside the patterns, too; importance is averaged.
        """
        return self._on_patterns(self.values)

    def details_on_patterns(self) -> np.ndarray:
        """Return the details at the pixels of the patterns.

        Returns
        -------
        details
            Of shape (n, k, rows, columns).

        Raises
        ------
        ValueError
            If there are none.
        """
        return self._on_patterns(self.chosen(details=True))

    def _on_patterns(self, values: np.ndarray) -> np.ndarray:
        shape = self.patterns.shape[1:]
        return self.transform.to_patterns(values, shape, keep_sum=self.expected_logits is not None)

    def table(self) -> str:
        """Return a table of patterns, probabilities and logits of the classes explained.

        Returns
        -------
        table
            Lines of aligned text, one for each pattern and class, below their headings. Of
            contributions, it also has their sums and how far these are off.
        """
        header = ["pattern", "class", "probability", "logit"]
        if self.expected_logits is not None:
            header += ["expected", "sum of values", "error / span"]
            errors = self.additivity_errors
        rows = []
        for i, explained in enumerate(self.explained):
            for j, position in enumerate(explained):
                row = [
                    self.place_text(i) if j == 0 else "",
                    label_text(self.classes.labels[position]),
                    f"{self.probabilities[i, position]:.3f}",
                    f"{self.logits[i, position]:.2f}",
                ]
                if self.expected_logits is not None:
                    row += [
                        f"{self.expected_logits[position]:.2f}",
                        f"{self.values[i, j].sum(dtype=np.float64):.2f}",
                        f"{errors[i, j]:.0e}",
                    ]
                rows.append(row)
        return aligned([header, *rows], n_left=2)
