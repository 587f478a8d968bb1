"""Space groups from single EBSD patterns with convolutional networks.

Importing this package adds
:func:`EBSD.classify_space_group() <kikuchipy_cnn.classify_space_group>`
to kikuchipy's EBSD signals.
"""

from kikuchipy_cnn import comparison, explanation, io, plotting
from kikuchipy_cnn.hierarchy import coarser_map, resolved_map
from kikuchipy_cnn.label_classes import LabelClasses
from kikuchipy_cnn.models import Ensemble, ModelBundle, describe_model, list_models, load_model
from kikuchipy_cnn.preprocessing import PatternTransform
from kikuchipy_cnn.prior import composition_prior
from kikuchipy_cnn.signal import _attach, classify_space_group
from kikuchipy_cnn.space_groups import SpaceGroupClasses

__version__ = "0.1.0"
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
    "explanation",
    "io",
    "list_models",
    "load_model",
    "plotting",
    "resolved_map",
]

_attach()
