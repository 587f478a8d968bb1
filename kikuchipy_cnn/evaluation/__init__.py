# SPDX-License-Identifier: GPL-3.0-or-later

"""How well a model does on patterns of known phase."""

from kikuchipy_cnn.evaluation._run import evaluate
from kikuchipy_cnn.evaluation.comparisons import (
    Directions,
    OrientationComparison,
    QualityComparison,
)
from kikuchipy_cnn.evaluation.detection import Detection, detect
from kikuchipy_cnn.evaluation.reliability import (
    Reliability,
    expected_calibration_error,
    reliability,
    reliability_by_class,
)
from kikuchipy_cnn.evaluation.results import Evaluation
from kikuchipy_cnn.evaluation.scores import (
    ClassScore,
    Confusion,
    MaterialScore,
    MeanScore,
    wilson_interval,
)
from kikuchipy_cnn.evaluation.shots import ShotsCurve, shots_curve

__all__ = [
    "ClassScore",
    "Confusion",
    "Detection",
    "Directions",
    "Evaluation",
    "MaterialScore",
    "MeanScore",
    "OrientationComparison",
    "QualityComparison",
    "Reliability",
    "ShotsCurve",
    "detect",
    "evaluate",
    "expected_calibration_error",
    "reliability",
    "reliability_by_class",
    "shots_curve",
    "wilson_interval",
]
