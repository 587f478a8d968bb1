# SPDX-License-Identifier: GPL-3.0-or-later

"""Evaluations as text and as files of comma-separated values."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from orix.quaternion import Rotation

from kikuchipy_cnn._files import write_csv
from kikuchipy_cnn._tables import aligned
from kikuchipy_cnn.evaluation.scores import wilson_interval
from kikuchipy_cnn.space_groups import label_text
from kikuchipy_cnn.training.splits import CLAIMS

if TYPE_CHECKING:
    from kikuchipy_cnn.evaluation.results import Evaluation

__all__ = ["doubt", "report", "save_predictions", "save_report"]


def report(evaluation: Evaluation) -> str:
    """Return tables of the classes and the materials.

    Parameters
    ----------
    evaluation
        Evaluation of a model.

    Returns
    -------
    report
        Lines of aligned text without a line break at the end.
    """
    n_right, n = int(evaluation.right.sum()), len(evaluation)
    low, high = wilson_interval(n_right, n)
    claim = f", claimed to be of {evaluation.claims}," if evaluation.claims else ""
    lines = [
        f"{n_right} of {n} patterns{claim} are right: {evaluation.accuracy:.3f} "
        f"({low:.3f}-{high:.3f}), by chance {1 / len(evaluation.classes):.3f}"
    ]
    if doubt(evaluation):
        lines.append(doubt(evaluation))
    if not evaluation.valid.all():
        lines.append(f"{(~evaluation.valid).sum()} patterns could not be classified")
    if evaluation.other_labels:
        others = ", ".join(label_text(label) for label in evaluation.other_labels)
        lines.append(f"The model has no class for: {others}")
    rows = [(evaluation.level.capitalize(), "Precision", "Recall", "95 %", "F1", "Patterns")]
    rows += [
        (
            label_text(score.label),
            *(f"{value:.3f}" for value in (score.precision, score.recall)),
            f"{score.low:.3f}-{score.high:.3f}",
            f"{score.f1:.3f}",
            str(score.n),
        )
        for score in evaluation.by_class()
    ]
    for name, mean in (("Weighted mean", evaluation.weighted()), ("Mean", evaluation.macro())):
        precision, recall, f1 = (f"{value:.3f}" for value in mean)
        rows.append((name, precision, recall, "", f1, str(n)))
    lines += ["", aligned(rows)]
    rows = [("Material", "Space group", "Mean Z", "Accuracy", "95 %", "Patterns")]
    rows += [
        (
            score.material,
            str(score.space_group),
            f"{score.atomic_number:.1f}" if np.isfinite(score.atomic_number) else "-",
            f"{score.accuracy:.3f}",
            f"{score.low:.3f}-{score.high:.3f}",
            str(score.n),
        )
        for score in evaluation.by_material()
    ]
    return "\n".join([*lines, "", aligned(rows)])


def save_report(evaluation: Evaluation, path: str | os.PathLike, overwrite: bool) -> None:
    """Write the scores of classes and materials as CSV.

    Parameters
    ----------
    evaluation
        Evaluation of a model.
    path
        File to write.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    FileExistsError
        If the file exists and is not to be replaced.
    """
    rows = [
        ("class", s.label, "", s.precision, s.recall, s.low, s.high, s.f1, s.n, "")
        for s in evaluation.by_class()
    ]
    n = len(evaluation)
    for kind, mean in (("weighted mean", evaluation.weighted()), ("mean", evaluation.macro())):
        rows.append((kind, "", "", mean.precision, mean.recall, "", "", mean.f1, n, ""))
    for s in evaluation.by_material():
        atomic_number = s.atomic_number if np.isfinite(s.atomic_number) else ""
        values = (s.accuracy, s.low, s.high, "", s.n, atomic_number)
        rows.append(("material", s.material, s.space_group, "", *values))
    header = ("kind", "name", "space group", "precision", "recall", "recall low")
    header += ("recall high", "F1", "patterns", "mean atomic number", "claims")
    write_csv(path, header, ((*row, evaluation.claims) for row in rows), overwrite)


def save_predictions(evaluation: Evaluation, path: str | os.PathLike, overwrite: bool) -> None:
    """Write what was predicted for each pattern as CSV.

    Parameters
    ----------
    evaluation
        Evaluation of a model.
    path
        File to write.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    FileExistsError
        If the file exists and is not to be replaced.
    """
    patterns = evaluation.patterns
    header = ("file", "map", "grain", "index", "material", "space group", "true", "predicted")
    header += ("score", "quality", *evaluation.classes.properties, "phi1", "Phi", "phi2")
    quality = np.full(len(evaluation), np.nan) if evaluation.quality is None else evaluation.quality
    angles = np.full((len(evaluation), 3), np.nan)
    known = np.isfinite(patterns.rotation).all(axis=1)
    angles[known] = Rotation(patterns.rotation[known]).to_euler(degrees=True)
    numbers = np.column_stack([evaluation.scores, quality, evaluation.probabilities, angles])
    texts = zip(
        (patterns.sources[i].file for i in patterns.source),
        *(patterns.map_name, patterns.grain, patterns.index, patterns.material),
        *(patterns.space_group, evaluation.true, evaluation.predicted),
        strict=True,
    )
    rows = (
        (*text, *(f"{value:.6g}" if np.isfinite(value) else "" for value in row))
        for text, row in zip(texts, numbers, strict=True)
    )
    write_csv(path, header, rows, overwrite)


def doubt(evaluation: Evaluation) -> str:
    """Say why the materials of an evaluation may not be as new as they are claimed to be.

    Parameters
    ----------
    evaluation
        Evaluation of a model.

    Returns
    -------
    doubt
        A message, "" if new materials are not claimed or there is no doubt.
    """
    if evaluation.claims != CLAIMS["material"]:
        return ""
    trained = evaluation.trained_materials
    if trained is None:
        return (
            "It is not known which materials the model, or the one that it began with, was trained "
            "on, so it cannot be checked that the test materials are new."
        )
    common = sorted(trained & evaluation.patterns.counts().keys())
    if not common:
        return ""
    names = ", ".join(f"{name} ({number})" for number, name in common)
    return (
        f"The model, or the one that it began with, was trained on {names}. Patterns of one "
        "material must not be on both sides of a test with new materials: leave them out."
    )
