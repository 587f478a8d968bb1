# SPDX-License-Identifier: GPL-3.0-or-later

"""Teach models when to give no answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kikuchipy_cnn.models import Ensemble, ModelBundle
from kikuchipy_cnn.models.ensemble import members_of
from kikuchipy_cnn.simulation.disturbances import NOISE_LEVELS, Disturbances
from kikuchipy_cnn.simulation.library import MasterPatternLibrary, load_library
from kikuchipy_cnn.simulation.non_patterns import sample_non_patterns
from kikuchipy_cnn.simulation.sampler import PatternSampler
from kikuchipy_cnn.space_groups import SpaceGroupClasses
from kikuchipy_cnn.training.labelled import LabelledPatterns
from kikuchipy_cnn.training.network_outputs import NetworkOutputs
from kikuchipy_cnn.uncertainty.rejection import KINDS, SHARES, Detector, Limits, Rejection
from kikuchipy_cnn.uncertainty.risk_coverage import RiskCoverage

# Shares of the known patterns that are refused by default: as not of a known phase, and as too
# doubtful. Real patterns are more doubtful than simulated ones.
_REFUSED_AS_STRANGE, _REFUSED_AS_DOUBTFUL = 0.04, 0.01
# Kinds of images that detectors are shown. Real patterns are too like overlaps: what they have and
# simulated ones lack has the power spectrum of bands.
REFUSED_KINDS = ("noise", "featureless", "blocked")
# Side of simulated patterns; any that is not below the network's input will do.
_SIDE = 96
_N_OF_OTHER_PHASE = 12
_N_NON_PATTERNS = 300


def fit_rejection(
    model: ModelBundle | Ensemble,
    known: LabelledPatterns,
    others: LabelledPatterns | None = None,
    non_patterns: np.ndarray | None = None,
    *,
    weights: np.ndarray | None = None,
    description: str = "",
    seed: int = 0,
    show_progressbar: bool | None = None,
) -> ModelBundle | Ensemble:
    """Fit what tells known phases from others, and measure the risk of answers.

    Examples are halved twice: all that the risk-coverage curve is made of was judged by detectors
    that have not seen it, nor any other pattern of the same phase where that is outside the
    classes. The detector of the result has seen all.

    Parameters
    ----------
    model
        Calibrated model, see :func:`~kikuchipy_cnn.training.calibrate`.
    known
        Patterns of the model's classes that it has not learned from, of all qualities that are to
        be expected.
    others
        Patterns of at least two phases outside the classes. If not given, 12 of each such phase of
        the packaged library are simulated for each level of noise, which is possible for models of
        space groups only.
    non_patterns
        Images without a pattern of one crystal, of shape (n, rows, columns). If not given, 300 of
        noise, without features and blocked are simulated for each level of noise, see
        :func:`~kikuchipy_cnn.simulation.sample_non_patterns`.
    weights
        How much each of the known patterns counts in the curve, of shape (n,). If not given, all
        count the same.
    description
        What the known patterns are, for the record.
    seed
        Seed of the simulation and of the halves.
    show_progressbar
        Whether to show a progress bar. If not given, the value of
        :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

    Returns
    -------
    model
        The same model with detectors and a rejection. The curve is of known patterns (0.9),
        other phases (0.05) and images without a pattern (0.05). Of the known patterns, the default
        limits refuse 4 % as not of a known phase and 1 % as too doubtful, some of them as both.

    Raises
    ------
    ValueError
        If there are fewer than two other phases, or known patterns of other classes.

    Examples
    --------
    With few examples, so that it is quick:

    >>> import kikuchipy_cnn
    >>> import numpy as np
    >>> from kikuchipy_cnn.training import LabelledPatterns, fit_rejection
    >>> model = kikuchipy_cnn.load_model("fast_fewshot")
    >>> known, others = (
    ...     LabelledPatterns.from_simulation(
    ...         names, 12, show_progressbar=False
    ...     )
    ...     for names in (["Ni", "W"], ["Mg", "Zn"])
    ... )
    >>> rng = np.random.default_rng(1)
    >>> noise = rng.normal(size=(24, 60, 60)).astype(np.float32)
    >>> fitted = fit_rejection(
    ...     model, known, others, noise, show_progressbar=False
    ... )
    >>> fitted.rejection is None
    False
    """
    if others is None:
        others = simulate_other_phases(model, seed=seed, show_progressbar=show_progressbar)
    if non_patterns is None:
        non_patterns = simulate_non_patterns(model, seed=seed)
    phases = np.unique(others.material)
    if len(phases) < 2:
        raise ValueError(
            f"There are other patterns of {', '.join(phases)} only. Give patterns of at least two "
            "phases outside the classes, so that one can be held against the other."
        )
    of_kinds = [
        NetworkOutputs.of_patterns(model, known, show_progressbar),
        NetworkOutputs.of_patterns(model, others, show_progressbar),
        NetworkOutputs.of_images(model, non_patterns),
    ]
    labels = of_kinds[0].labels(model.classes)
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(len(KINDS)), [len(outputs) for outputs in of_kinds])
    phase_half = dict(zip(phases, rng.permutation(len(phases)) % 2, strict=True))
    half = rng.integers(0, 2, len(kinds))
    half[kinds == 1] = [phase_half[name] for name in of_kinds[1].patterns.material]

    members, judged = [], []
    for i, member in enumerate(members_of(model)):
        features = np.concatenate([outputs.features[i] for outputs in of_kinds])
        logits = np.concatenate([outputs.logits[i] for outputs in of_kinds])
        of_member = np.empty(len(kinds))
        for number in (0, 1):
            own, rest = half == number, half != number
            detector = Detector.fit(features[rest], logits[rest], kinds[rest])
            of_member[own] = detector(features[own], logits[own])[:, 0]
        judged.append(of_member)
        members.append(replace(member, detector=Detector.fit(features, logits, kinds)))

    probabilities = np.concatenate([outputs.probabilities(model) for outputs in of_kinds])
    known_phase = np.mean(judged, axis=0)
    confidence = probabilities.max(axis=1) * known_phase
    is_known = kinds == 0
    wrong = ~is_known
    wrong[is_known] = probabilities[is_known].argmax(axis=1) != labels
    shares = _weights(kinds, weights, of_kinds[0].valid)
    limits = Limits(
        _quantile(confidence[is_known], shares[is_known], _REFUSED_AS_DOUBTFUL),
        _quantile(known_phase[is_known], shares[is_known], _REFUSED_AS_STRANGE),
    )
    confidence[known_phase < limits.known_phase] = 0
    rejection = Rejection(
        RiskCoverage.from_scores(confidence, wrong, shares),
        limits,
        f"{SHARES[0]:.0%} known phases{description and f' ({description})'}, {SHARES[1]:.0%} of "
        f"{len(phases)} phases outside the classes, {SHARES[2]:.0%} images without a pattern",
    )
    if isinstance(model, Ensemble):
        return replace(model, members=tuple(members), rejection=rejection)
    return replace(members[0], rejection=rejection)


def simulate_other_phases(
    model: ModelBundle | Ensemble,
    names: list[str] | None = None,
    n: int = _N_OF_OTHER_PHASE,
    *,
    library: MasterPatternLibrary | None = None,
    seed: int = 0,
    show_progressbar: bool | None = None,
) -> LabelledPatterns:
    """Simulate patterns of phases outside the classes of a model, at all levels of noise.

    Parameters
    ----------
    model
        Model of space groups.
    names
        Phases of the library. If not given, all that are outside the classes.
    n
        Number of patterns of each phase and level.
    library
        Master patterns. If not given, the packaged ones.
    seed
        Seed of the simulation.
    show_progressbar
        Whether to show a progress bar. If not given, the value of
        :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

    Returns
    -------
    patterns
        Patterns of known phase.

    Raises
    ------
    ValueError
        If the classes are no space groups and no names are given.
    """
    library = load_library() if library is None else library
    if names is None:
        if not isinstance(model.classes, SpaceGroupClasses):
            raise ValueError(
                f"Which phases are outside the classes {', '.join(model.classes.names)} is not "
                "known, as these are no space groups. Give patterns of others."
            )
        names = [name for name in library.names if library.space_groups[name] not in model.classes]
    side = max(_SIDE, model.transform.size)
    return LabelledPatterns.concatenate(
        [
            LabelledPatterns.from_simulation(
                names,
                n,
                shape=(side, side),
                disturbances=Disturbances.of_level(level).of_whole_detector(),
                library=library,
                seed=seed + i,
                show_progressbar=show_progressbar,
            )
            for i, level in enumerate(NOISE_LEVELS)
        ]
    )


def simulate_non_patterns(
    model: ModelBundle | Ensemble,
    kinds: tuple[str, ...] = REFUSED_KINDS,
    n: int = _N_NON_PATTERNS,
    *,
    library: MasterPatternLibrary | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Simulate images without a pattern of one crystal, at all levels of noise.

    Parameters
    ----------
    model
        Model, whose space groups patterns that are blocked or overlap are of.
    kinds
        Kinds of images, see :func:`~kikuchipy_cnn.simulation.sample_non_patterns`.
    n
        Number of images of each kind and level.
    library
        Master patterns. If not given, the packaged ones.
    seed
        Seed of the simulation.

    Returns
    -------
    images
        Images of shape (levels * kinds * n, side, side) and data type float32.
    """
    library = load_library() if library is None else library
    groups = {number for number in model.classes.space_groups if number is not None}
    names = [name for name in library.names if library.space_groups[name] in groups]
    master_patterns = np.stack([library[name] for name in names or library.names])
    side = max(_SIDE, model.transform.size)
    images = []
    for i, level in enumerate(NOISE_LEVELS):
        sampler = PatternSampler(
            master_patterns,
            np.ones(len(master_patterns)),
            side,
            Disturbances.of_level(level).of_whole_detector(),
            seed + i,
        )
        images += [sample_non_patterns(kind, sampler, n, seed + i) for kind in kinds]
    return np.concatenate(images)


def _weights(kinds: np.ndarray, of_known: np.ndarray | None, valid: np.ndarray) -> np.ndarray:
    """Weights with which each kind has its share."""
    weights = np.ones(len(kinds))
    if of_known is not None:
        weights[kinds == 0] = np.asarray(of_known, float)[valid]
    for i, share in enumerate(SHARES):
        weights[kinds == i] *= share / weights[kinds == i].sum()
    return weights


def _quantile(values: np.ndarray, weights: np.ndarray, fraction: float) -> float:
    order = np.argsort(values)
    below = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(below, fraction)])
