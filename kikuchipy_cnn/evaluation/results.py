# SPDX-License-Identifier: GPL-3.0-or-later

"""What a model makes of patterns of known phase."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from kikuchipy_cnn.evaluation import _reports, comparisons
from kikuchipy_cnn.evaluation.atomic_numbers import mean_atomic_number
from kikuchipy_cnn.evaluation.comparisons import (
    Directions,
    OrientationComparison,
    QualityComparison,
)
from kikuchipy_cnn.evaluation.scores import (
    ClassScore,
    Confusion,
    MaterialScore,
    MeanScore,
    wilson_interval,
)
from kikuchipy_cnn.hierarchy import sum_up
from kikuchipy_cnn.label_classes import LabelClasses
from kikuchipy_cnn.space_groups import SpaceGroupClasses
from kikuchipy_cnn.training.labelled import LabelledPatterns
from kikuchipy_cnn.training.splits import check_claims

__all__ = ["Evaluation"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model makes of patterns of known phase.

    Parameters
    ----------
    patterns
        The patterns.
    classes
        Classes of the model.
    level
        What the classes are: one of :data:`~kikuchipy_cnn.training.labelled.LEVELS`.
    probabilities
        Probabilities of shape (n patterns, n classes), not a number for patterns that cannot be
        classified.
    quality
        Quality of the patterns, of shape (n patterns,). None if it was not computed.
    model
        Name of the model.
    trained_materials
        Space group and name of all materials that the model, or the one that it began with, was
        trained on. None if not known.
    claims
        What the patterns are claimed to be new in, as in :class:`~kikuchipy_cnn.training.Split`.
        Reports say so. "" if nothing is claimed.

    Raises
    ------
    ValueError
        If the arrays do not fit the patterns and classes, or there is no such claim.

    Examples
    --------
    :func:`~kikuchipy_cnn.evaluation.evaluate` makes one with a model.
    Here the probabilities are made up.

    >>> import kikuchipy as kp
    >>> import numpy as np
    >>> from kikuchipy_cnn import SpaceGroupClasses
    >>> from kikuchipy_cnn.evaluation import Evaluation
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> s = kp.data.nickel_ebsd_small()
    >>> patterns = LabelledPatterns.from_signals({225: {"Ni": s}})
    >>> probabilities = np.full((9, 2), [0.1, 0.9])
    >>> probabilities[0] = [0.7, 0.3]
    >>> evaluation = Evaluation(
    ...     patterns,
    ...     SpaceGroupClasses((221, 225)),
    ...     "space group",
    ...     probabilities,
    ... )
    >>> evaluation
    Evaluation('', space group, 0.889 of 9 patterns right)
    >>> evaluation.predicted
    array([221, 225, 225, 225, 225, 225, 225, 225, 225])
    >>> evaluation.confusion().counts
    array([[0, 0],
           [1, 8]])
    """

    patterns: LabelledPatterns
    classes: SpaceGroupClasses | LabelClasses
    level: str
    probabilities: np.ndarray
    quality: np.ndarray | None = None
    model: str = ""
    trained_materials: frozenset[tuple[int, str]] | None = None
    claims: str = ""

    def __post_init__(self) -> None:
        self.classes.check_probabilities(self.probabilities)
        for name in ("probabilities", "quality"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self):
                raise ValueError(f"{name} has {len(values)} values for {len(self)} patterns.")
        if self.claims:
            check_claims(self.claims)

    def __len__(self) -> int:
        return len(self.patterns)

    def __repr__(self) -> str:
        return (
            f"Evaluation({self.model!r}, {self.level}, {self.accuracy:.3f} of {len(self)} patterns "
            "right)"
        )

    @property
    def labels(self) -> tuple[int, ...] | tuple[str, ...]:
        """Labels of the classes: numbers of space groups, or names."""
        return self.classes.labels

    @cached_property
    def other_labels(self) -> tuple:
        """Labels of patterns that the model has no class for."""
        return tuple(sorted(set(self.true.tolist()) - set(self.labels)))

    @cached_property
    def true(self) -> np.ndarray:
        """What each pattern is, of shape (n,)."""
        return self.patterns.labels(self.level)

    @cached_property
    def predicted(self) -> np.ndarray:
        """Most probable class of each pattern, of shape (n,), -1 or "" if it has none."""
        labels = np.array([*self.labels, self._no_label])
        # Text of any length is to compare as Python's.
        labels = labels if labels.dtype.kind == "i" else labels.astype(object)
        return labels[self._winners]

    @property
    def valid(self) -> np.ndarray:
        """Whether each pattern could be classified, of shape (n,)."""
        return np.isfinite(self.probabilities).all(axis=1)

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each pattern was given what it is, of shape (n,)."""
        return np.asarray(self.true == self.predicted, bool)

    @property
    def accuracy(self) -> float:
        """Part of the patterns that are right, from 0 to 1."""
        return float(self.right.mean())

    @property
    def scores(self) -> np.ndarray:
        """Probability of each pattern's most probable class, of shape (n,)."""
        return self.probabilities.max(axis=1)

    def take(self, chosen: np.ndarray) -> Evaluation:
        """Look at some of the patterns only.

        Parameters
        ----------
        chosen
            Indices, or a boolean array, for example
            ``evaluation.patterns.material == "Al"``.

        Returns
        -------
        evaluation
            That of these patterns.
        """
        return replace(
            self,
            patterns=self.patterns.take(chosen),
            probabilities=self.probabilities[chosen],
            quality=None if self.quality is None else self.quality[chosen],
        )

    def coarser(self, level: str) -> Evaluation:
        """Sum the probabilities of space groups that share a centring or a Laue group.

        A model that takes Ni3Al for nickel still tells that both are cubic.

        Parameters
        ----------
        level
            ``"centring"`` or ``"Laue group"``.

        Returns
        -------
        evaluation
            That of the coarser classes.

        Raises
        ------
        ValueError
            If there is no such level, the classes are no space groups, or all of them share it.
        """
        classes, probabilities = sum_up(self.classes, self.probabilities, level)
        return replace(self, classes=classes, level=level, probabilities=probabilities)

    def by_class(self) -> list[ClassScore]:
        """Precision, recall and F1 of each class.

        Computed by scikit-learn's ``precision_recall_fscore_support``, where what is undefined is
        0.

        Returns
        -------
        scores
            Those of the model's classes, then of other labels of patterns, whose recall is 0.
        """
        labels = (*self.labels, *self.other_labels)
        values = self._precision_recall_f1(range(len(labels)))
        right = np.bincount(self._true_codes[self.right], minlength=len(labels))
        return [
            ClassScore(
                label, float(p), float(r), float(f1), int(n), *wilson_interval(int(k), int(n))
            )
            for label, p, r, f1, n, k in zip(labels, *values, right, strict=True)
        ]

    def weighted(self) -> MeanScore:
        """Mean of the classes, each weighted by its number of patterns.

        This is what the papers report. The weighted recall is the accuracy.

        Returns
        -------
        score
            Means of precision, recall and F1.
        """
        return self._mean("weighted")

    def macro(self) -> MeanScore:
        """Mean of the classes that there are patterns of, all with the same weight.

        Returns
        -------
        score
            Means of precision, recall and F1.
        """
        return self._mean("macro")

    def by_material(self, atomic_numbers: Mapping[str, float] | None = None) -> list[MaterialScore]:
        """Part of each material's patterns that are right.

        This is the recall of its class among its patterns. A precision is not defined for a
        material: several share a class, and a wrong pattern of the class is no more one's than the
        other's.

        Parameters
        ----------
        atomic_numbers
            Mean atomic numbers that are not as in :meth:`atomic_numbers`.

        Returns
        -------
        scores
            Ordered by space group and name.
        """
        means = self.atomic_numbers(atomic_numbers)
        materials = self._materials
        n_right = np.bincount(self._material_codes[self.right], minlength=len(materials))
        n_all = np.bincount(self._material_codes, minlength=len(materials))
        return [
            MaterialScore(number, name, k / n, n, *wilson_interval(k, n), atomic_number=means[name])
            for (number, name), k, n in zip(
                materials, n_right.tolist(), n_all.tolist(), strict=True
            )
        ]

    def atomic_numbers(self, known: Mapping[str, float] | None = None) -> dict[str, float]:
        """Mean atomic number of each material.

        Parameters
        ----------
        known
            Mean atomic numbers by the names of materials, which go first.

        Returns
        -------
        atomic_numbers
            Means over all atoms, by name: those of the catalogue's phase of that name, or of the
            formula that the name begins with, as in "Ni3Al" or "Fe (austenite)". Not a number if
            the name tells nothing.
        """
        known = known or {}
        return {
            name: float(known[name]) if name in known else mean_atomic_number(name)
            for name in sorted({name for _, name in self._materials})
        }

    def accuracy_by_atomic_number(
        self, atomic_numbers: Mapping[str, float] | None = None
    ) -> list[MaterialScore]:
        """Accuracy of the materials from light to heavy.

        Parameters
        ----------
        atomic_numbers
            Mean atomic numbers that are not as in :meth:`atomic_numbers`.

        Returns
        -------
        scores
            Those of the materials whose mean atomic number is known.
        """
        scores = [s for s in self.by_material(atomic_numbers) if np.isfinite(s.atomic_number)]
        return sorted(scores, key=lambda score: score.atomic_number)

    def confusion(self) -> Confusion:
        """How often each class was taken for each.

        Returns
        -------
        confusion
            Counts, with the labels of the model's classes, then other labels of patterns, as rows.
        """
        n_rows = len(self.labels) + len(self.other_labels)
        columns = self._columns
        counts = confusion_matrix(self._true_codes, self._predicted_codes, labels=range(n_rows + 1))
        # Nothing is predicted to be another label.
        kept = [*range(len(self.labels)), n_rows][: len(columns)]
        return Confusion(counts[:n_rows, kept], (*self.labels, *self.other_labels), columns)

    def confusion_by_material(self) -> Confusion:
        """How often each material was given each class.

        Returns
        -------
        confusion
            Counts, with space group and name of each material as rows.
        """
        columns = self._columns
        counts = np.zeros((len(self._materials), len(columns)), int)
        np.add.at(counts, (self._material_codes, self._winners), 1)
        return Confusion(counts, self._materials, columns)

    def compare_quality(self) -> QualityComparison:
        """Compare the quality of right and wrong patterns.

        Materials differ in both quality and accuracy. For what quality does to one of them, see
        :meth:`take`.

        Returns
        -------
        comparison
            Medians, and whether the difference is one.

        Raises
        ------
        ValueError
            If the quality was not computed.
        """
        if self.quality is None:
            raise ValueError(
                "The quality of the patterns was not computed. Evaluate with_quality=True."
            )
        return comparisons.compare_quality(self.right, self.quality)

    def crystal_directions(self) -> dict[str, Directions]:
        """Crystal directions along the sample's normal of all patterns of known orientation.

        Returns
        -------
        directions
            Directions by Laue group, whose inverse pole figure they are for.
        """
        return comparisons.crystal_directions(self.patterns)

    def compare_orientations(self, seed: int = 0) -> list[OrientationComparison]:
        """Compare the orientations of right and wrong patterns.

        Of each pattern the crystal direction along the sample's normal is looked at. Distances
        between directions are the chords between points on the sphere. Of many patterns, 1000
        right and 1000 wrong ones are drawn, and there are 999 shufflings. As right and wrong are
        shuffled within each material, textures of materials of different accuracy are no bias.

        Parameters
        ----------
        seed
            Seed of the draws.

        Returns
        -------
        comparisons
            One for each Laue group, as directions of different ones cannot be compared. None
            without known orientations.
        """
        return comparisons.compare_orientations(
            self.crystal_directions(), self.right, self._material_codes, seed
        )

    def report(self) -> str:
        """Return tables of the classes and the materials.

        Returns
        -------
        report
            Lines of aligned text without a line break at the end.
        """
        return _reports.report(self)

    def save_report(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Write the scores of classes and materials as CSV.

        Parameters
        ----------
        path
            File to write. The last column is what the patterns are claimed to be new in.
        overwrite
            Whether to replace an existing file.

        Raises
        ------
        FileExistsError
            If the file exists and is not to be replaced.
        """
        _reports.save_report(self, path, overwrite)

    def save_predictions(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Write what was predicted for each pattern as CSV.

        Parameters
        ----------
        path
            File to write. There is one line per pattern: where it is from, what it is, what it was
            called, the score and quality, the probability of each class (columns such as
            ``p_225``), and Euler angles in degrees (Bunge) where the orientation is known. What is
            not known is left empty.
        overwrite
            Whether to replace an existing file.

        Raises
        ------
        FileExistsError
            If the file exists and is not to be replaced.
        """
        _reports.save_predictions(self, path, overwrite)

    @property
    def _no_label(self) -> int | str:
        return -1 if isinstance(self.classes, SpaceGroupClasses) else ""

    @property
    def _columns(self) -> tuple:
        """Labels that were predicted or could have been."""
        return self.labels if self.valid.all() else (*self.labels, self._no_label)

    @cached_property
    def _winners(self) -> np.ndarray:
        """Index of the most probable class, the number of classes if there is none."""
        winners = np.full(len(self), len(self.classes))
        winners[self.valid] = self.probabilities[self.valid].argmax(axis=1)
        return winners

    @cached_property
    def _true_codes(self) -> np.ndarray:
        """Indices into the model's labels and the others."""
        codes = {label: i for i, label in enumerate((*self.labels, *self.other_labels))}
        return np.array([codes[label] for label in self.true.tolist()], int)

    @property
    def _predicted_codes(self) -> np.ndarray:
        """Indices into the same, and one more if there is no prediction."""
        return np.where(self.valid, self._winners, len(self.labels) + len(self.other_labels))

    @cached_property
    def _materials(self) -> tuple[tuple[int, str], ...]:
        return tuple(self.patterns.counts())

    @cached_property
    def _material_codes(self) -> np.ndarray:
        codes = {key: i for i, key in enumerate(self._materials)}
        keys = zip(self.patterns.space_group.tolist(), self.patterns.material, strict=True)
        return np.array([codes[key] for key in keys], int)

    def _precision_recall_f1(self, codes: Iterable[int], average: str | None = None) -> tuple:
        return precision_recall_fscore_support(
            self._true_codes,
            self._predicted_codes,
            labels=list(codes),
            average=average,
            zero_division=0,
        )

    def _mean(self, average: str) -> MeanScore:
        values = self._precision_recall_f1(np.unique(self._true_codes), average)
        return MeanScore(*map(float, values[:3]))
