# SPDX-License-Identifier: GPL-3.0-or-later

from . import (
    comparison,
    evaluation,
    explanation,
    io,
    models,
    plotting,
    simulation,
    training,
    uncertainty,
    watching,
)
from .hierarchy import coarser_map, resolved_map
from .label_classes import LabelClasses
from .models import Ensemble, ModelBundle, describe_model, list_models, load_model
from .preprocessing import PatternTransform
from .prior import composition_prior
from .signal import classify_space_group
from .space_groups import SpaceGroupClasses

__version__: str
__all__ = [
    "Ensemble",
    "LabelClasses",
    "ModelBundle",
    "PatternTransform",
    "SpaceGroupClasses",
    "classify_space_group",
    "coarser_map",
    "comparison",
    "composition_prior",
    "describe_model",
    "evaluation",
    "explanation",
    "io",
    "list_models",
    "load_model",
    "models",
    "plotting",
    "resolved_map",
    "simulation",
    "training",
    "uncertainty",
    "watching",
]
