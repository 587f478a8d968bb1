# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks, model bundles and the packaged models."""

from kikuchipy_cnn.models._folder import BundleError
from kikuchipy_cnn.models.architectures import build_network
from kikuchipy_cnn.models.bundle import ModelBundle
from kikuchipy_cnn.models.ensemble import Ensemble, load_bundle
from kikuchipy_cnn.models.registry import as_model, describe_model, list_models, load_model
from kikuchipy_cnn.models.selection import select_space_groups

__all__ = [
    "BundleError",
    "Ensemble",
    "ModelBundle",
    "as_model",
    "build_network",
    "describe_model",
    "list_models",
    "load_bundle",
    "load_model",
    "select_space_groups",
]
