# SPDX-License-Identifier: GPL-3.0-or-later

"""From what a model says to what a map says: pooled, with what the user knows, or refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kikuchipy_cnn.inference import Prediction
from kikuchipy_cnn.models.bundle import ModelBundle
from kikuchipy_cnn.models.ensemble import Ensemble
from kikuchipy_cnn.prior import apply_prior
from kikuchipy_cnn.spatial_pooling import pool_probabilities
from kikuchipy_cnn.uncertainty.rejection import KINDS, Limits, reject_reasons

# Name of the values by which patterns of one grain are told, among those of the images.
FINGERPRINTS = "fingerprints"


@dataclass(frozen=True)
class Judgement:
    """What is said of each of the patterns used.

    Parameters
    ----------
    probabilities
        Final probabilities of shape (n, classes), not a number where a pattern is not valid.
    reasons
        Values of :class:`~kikuchipy_cnn.uncertainty.RejectReason`, of shape (n,).
    properties
        Further values of shape (n,) by name.
    """

    probabilities: np.ndarray
    reasons: np.ndarray
    properties: dict[str, np.ndarray]

    @property
    def indexed(self) -> np.ndarray:
        """Which patterns get an answer, of shape (n,)."""
        return self.reasons == 0


def answer_limits(model: ModelBundle | Ensemble, max_risk: float | None) -> Limits | None:
    """Return what a pattern must reach to get an answer.

    Parameters
    ----------
    model
        Model. The limits of an ensemble without any of its own are the means of its members'.
    max_risk
        Part of the answers that may be wrong, or None for the model's default.

    Returns
    -------
    limits
        Limits, or None if the model knows none and no risk is given.

    Raises
    ------
    ValueError
        If a risk is given and the model knows none, or it cannot be had.
    """
    if model.rejection is not None:
        return model.rejection.limits_for(max_risk)
    members = model.members if isinstance(model, Ensemble) else ()
    if members and all(member.rejection is not None for member in members):
        of_members = [member.rejection.limits_for(max_risk) for member in members]
        return Limits(*np.mean(of_members, axis=0).tolist())
    if max_risk is not None:
        raise ValueError(
            f"max_risk={max_risk}, but {model.name!r} does not know its risk. Fit it with "
            "kikuchipy_cnn.training.fit_rejection(), or leave max_risk away."
        )
    return None


def judge(
    prediction: Prediction,
    used: np.ndarray,
    *,
    limits: Limits | None,
    prior: np.ndarray | None = None,
    pooling_radius: int = 0,
) -> Judgement:
    """Combine what is known of each pattern, and refuse those of too little confidence.

    Probabilities are first pooled over neighbours, then weighted with the prior. The confidence is
    that of the final winner, times the probability that the pattern is of a known phase, where the
    model tells.

    Parameters
    ----------
    prediction
        What the model says, with the ``fingerprints`` of the images if there is to be pooling.
    used
        Boolean array of the navigation shape, True for the patterns that were classified.
    limits
        What a pattern must reach to get an answer, or None to answer all valid patterns.
    prior
        Prior probabilities of shape (1 or n used patterns, classes).
    pooling_radius
        Distance to the farthest neighbours to pool over, in steps of the map. 0 is for none.

    Returns
    -------
    judgement
        What is said of each pattern. Properties are the ``confidence`` and the ``reject_reason``;
        ``known_phase`` and ``no_pattern``, if the model tells the kind of an image;
        ``mutual_information`` and ``spread`` of an ensemble; ``n_pooled``, the number of patterns
        pooled over; and ``evidence_ratio`` of the prior.
    """
    outputs, valid = prediction.outputs, prediction.valid[used]
    probabilities = outputs.probabilities[used]
    kinds = None if outputs.kinds is None else outputs.kinds[used]
    properties = {}
    if pooling_radius > 0:
        probabilities, n_pooled = pool_probabilities(
            probabilities,
            prediction.of_images[FINGERPRINTS][used],
            used.shape,
            used,
            radius=pooling_radius,
            valid=valid,
        )
        properties["n_pooled"] = n_pooled
    if prior is not None:
        probabilities, ratio = apply_prior(probabilities, prior)
        properties["evidence_ratio"] = np.where(valid, ratio, 0).astype(np.float32)
    winner = np.nan_to_num(probabilities.max(axis=1))
    if kinds is not None:
        kinds = np.nan_to_num(kinds)
        properties["known_phase"] = kinds[:, 0]
        properties["no_pattern"] = kinds[:, KINDS.index("no pattern")]
    for name in ("mutual_information", "spread"):
        values = getattr(outputs, name)
        if values is not None:
            properties[name] = np.nan_to_num(values[used])
    confidence, reasons = reject_reasons(winner, kinds, valid, limits or Limits())
    first = {"confidence": confidence.astype(np.float32), "reject_reason": reasons.astype(int)}
    return Judgement(probabilities, reasons, first | properties)
