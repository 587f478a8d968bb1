# SPDX-License-Identifier: GPL-3.0-or-later

"""How far an answer is to be trusted, and when to give none."""

from kikuchipy_cnn.uncertainty.measures import (
    FeatureDistance,
    energy,
    mutual_information,
    spread,
)
from kikuchipy_cnn.uncertainty.rejection import Detector, Limits, Rejection, RejectReason
from kikuchipy_cnn.uncertainty.risk_coverage import RiskCoverage

__all__ = [
    "Detector",
    "FeatureDistance",
    "Limits",
    "RejectReason",
    "Rejection",
    "RiskCoverage",
    "energy",
    "mutual_information",
    "spread",
]
