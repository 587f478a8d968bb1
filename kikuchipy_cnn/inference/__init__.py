# SPDX-License-Identifier: GPL-3.0-or-later

"""From a signal's patterns to probabilities, with bounded memory."""

from kikuchipy_cnn.inference.batches import in_batches, preprocessed_batches
from kikuchipy_cnn.inference.cluster import client_to_use, describe_client
from kikuchipy_cnn.inference.engines import check_engine
from kikuchipy_cnn.inference.parts import lazy_prediction
from kikuchipy_cnn.inference.results import Prediction
from kikuchipy_cnn.inference.run import predict
from kikuchipy_cnn.inference.runner import Runner
from kikuchipy_cnn.inference.sampling import (
    carries_background,
    find_signal_mask,
    sample_patterns,
)

__all__ = [
    "Prediction",
    "Runner",
    "carries_background",
    "check_engine",
    "client_to_use",
    "describe_client",
    "find_signal_mask",
    "in_batches",
    "lazy_prediction",
    "predict",
    "preprocessed_batches",
    "sample_patterns",
]
