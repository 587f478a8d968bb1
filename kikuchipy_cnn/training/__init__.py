# SPDX-License-Identifier: GPL-3.0-or-later

"""Training of networks, on labelled patterns and on endless simulated ones."""

from kikuchipy_cnn.training.augmentation import Augmentation
from kikuchipy_cnn.training.calibration import calibrate
from kikuchipy_cnn.training.few_shot import FewShotTrainer, TrainingResult
from kikuchipy_cnn.training.iterative import IterativeResult, iterative_training
from kikuchipy_cnn.training.iterative_settings import IterativeSettings
from kikuchipy_cnn.training.labelled import LabelledPatterns, PatternSource
from kikuchipy_cnn.training.manifest import read_manifest
from kikuchipy_cnn.training.protocol import FewShotProtocol
from kikuchipy_cnn.training.rejection import fit_rejection
from kikuchipy_cnn.training.splits import Split, leave_material_out, split_patterns

__all__ = [
    "Augmentation",
    "FewShotProtocol",
    "FewShotTrainer",
    "IterativeResult",
    "IterativeSettings",
    "LabelledPatterns",
    "PatternSource",
    "Split",
    "TrainingResult",
    "calibrate",
    "fit_rejection",
    "iterative_training",
    "leave_material_out",
    "read_manifest",
    "split_patterns",
]
