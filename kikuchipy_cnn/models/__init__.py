"""Networks, model bundles and the packaged models."""

from kikuchipy_cnn.models.architectures import build_network
from kikuchipy_cnn.models.bundle import BundleError, ModelBundle, load_bundle
from kikuchipy_cnn.models.registry import describe_model, list_models, load_model
from kikuchipy_cnn.models.selection import select_space_groups

__all__ = [
    "BundleError",
    "ModelBundle",
    "build_network",
    "describe_model",
    "list_models",
    "load_bundle",
    "load_model",
    "select_space_groups",
]
