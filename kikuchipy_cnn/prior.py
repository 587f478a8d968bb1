# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a specimen beforehand, put into probabilities by Bayes' rule."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import product
from numbers import Number

import numpy as np
from diffpy.structure import Lattice, Structure
from diffpy.structure.spacegroups import SpaceGroup
from orix.crystal_map import Phase, PhaseList

from kikuchipy_cnn._phases import listed
from kikuchipy_cnn.simulation.phases import standard_space_group
from kikuchipy_cnn.space_groups import Classes, SpaceGroupClasses

__all__ = [
    "CONTRADICTION",
    "apply_prior",
    "as_prior",
    "composition_prior",
    "contradiction_warning",
]

# Kass and Raftery (1995) call evidence of more than ten to one strong.
CONTRADICTION = 0.1
# Fraction of points that may contradict a prior that is right: some phases are rare, and some
# patterns poor.
_TOLERATED = 0.05

# Such as "Ni", "Ni2+", "O2-" and "13-C".
_ELEMENT = re.compile(r"(?:\d+-)?([A-Za-z]{1,2})(?![A-Za-z])")
_LATTICE_PARAMETERS = ("a", "b", "c", "alpha", "beta", "gamma")
# Distance in fractions of the cell's edges below which positions are one: coordinates such as 1/3
# are often written with three digits only.
_SAME_POSITION = 2e-3


def as_prior(
    prior: Iterable[int | str] | Mapping[int | str, float] | np.ndarray,
    classes: Classes,
    n_points: int,
) -> np.ndarray:
    """Return prior probabilities of the classes.

    Parameters
    ----------
    prior
        One of

        - labels of the classes that are possible, all of them equally likely: space-group numbers,
          or names where the classes are not space groups. An array of labels is of integers.
        - mapping of labels to weights of any scale, such as area fractions. Classes left out are
          impossible.
        - array of weights with a column for each class: of floats and shape (n classes,), or of
          shape (1, n classes), (n points, n classes) or (map shape, n classes).
    classes
        Classes in the order of the columns.
    n_points
        Number of points that the prior is for.

    Returns
    -------
    weights
        Prior probabilities of shape (1, n classes) if these are the same in all points, otherwise
        (n points, n classes), of data type float64, each row summing to one.

    Raises
    ------
    ValueError
        If a label is not one of the classes', a weight is negative or not finite, all classes are
        impossible, or an array's shape does not fit.

    Examples
    --------
    >>> from kikuchipy_cnn import SpaceGroupClasses
    >>> from kikuchipy_cnn.prior import as_prior
    >>> classes = SpaceGroupClasses((221, 225, 229))
    >>> as_prior({225: 3, 229: 1}, classes, n_points=6)
    array([[0.  , 0.75, 0.25]])
    """
    if isinstance(prior, str | Number):
        raise ValueError(
            f"prior={prior!r} is one label: give a list of what is possible, [{prior!r}]."
        )
    if _is_array_of_weights(prior):
        weights = _reshaped(np.asarray(prior, dtype=np.float64), classes, n_points)
    else:
        weights = _weights_of_labels(prior, classes)
    # Written so that NaN is found too.
    valid = (weights >= 0) & (weights < np.inf)
    if not valid.all():
        row, column = np.argwhere(~valid)[0]
        raise ValueError(
            f"The prior has the weight {weights[row, column]} of {classes.names[column]} in row "
            f"{row}: give weights of at least 0, and 0 for what is impossible."
        )
    total = weights.sum(axis=1, keepdims=True)
    if not total.all():
        row = int(np.argmin(total))
        raise ValueError(
            f"The prior makes all {classes.plural} {', '.join(classes.names)} impossible in row "
            f"{row} of {len(weights)}: give at least one of them a positive weight."
        )
    return weights / total


def apply_prior(probabilities: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Combine probabilities from patterns with what was known before.

    Parameters
    ----------
    probabilities
        Calibrated probabilities of shape (n, n classes), for classes that are equally likely
        beforehand. Those of the packaged models are: they were trained and calibrated with equally
        frequent classes.
    prior
        Prior probabilities of shape (1, n classes) or (n, n classes), from :func:`as_prior`.

    Returns
    -------
    posterior
        Probabilities of shape (n, n classes), proportional to *probabilities* times *prior*. The
        prior where the pattern leaves nothing of what the prior makes possible, and not a number
        where *probabilities* are not.
    evidence_ratio
        How much better the prior foretells each pattern than equally likely classes do, of shape
        (n,), from 0 to the number of classes. Below one, the pattern speaks against the prior.

    Raises
    ------
    ValueError
        If the prior is of another shape.

    Notes
    -----
    With equally likely classes, the probability :math:`p_k` of class :math:`k` is proportional to
    the likelihood of the pattern. The marginal likelihood of the pattern under the prior
    :math:`\\pi`, divided by that under equally likely classes, is hence
    :math:`\\sum_k p_k \\pi_k / (\\sum_k p_k / K)`, with :math:`K` classes. This is a Bayes factor.
    Kass and Raftery (1995), J. Am. Stat. Assoc. 90, 773-795, say how to read it: up to 3 either way
    is hardly worth a mention, beyond 10 it is strong.
    """
    probabilities, prior = np.asarray(probabilities), np.asarray(prior, dtype=np.float64)
    n, n_classes = probabilities.shape
    if prior.shape not in ((1, n_classes), (n, n_classes)):
        raise ValueError(
            f"The prior of shape {prior.shape} must be of shape (1, {n_classes}) or "
            f"({n}, {n_classes}), as the probabilities are: make it with as_prior()."
        )
    dtype = np.result_type(probabilities.dtype, np.float32)
    joint = probabilities * prior
    marginal = joint.sum(axis=1, keepdims=True)
    total = probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    # Numbers below the smallest normal one have lost their digits. Rows of NaN stay.
    vanished = marginal < np.finfo(np.float64).tiny
    posterior = np.where(vanished, prior, joint / np.where(vanished, 1, marginal))
    ratio = np.where(vanished, 0, n_classes * marginal / np.where(vanished, 1, total))
    return posterior.astype(dtype), ratio[:, 0].astype(dtype)


def contradiction_warning(evidence_ratio: np.ndarray) -> str | None:
    """Return a warning if many patterns contradict the prior.

    Parameters
    ----------
    evidence_ratio
        Evidence ratios from :func:`apply_prior`, of any shape. Those that are not finite are not
        counted.

    Returns
    -------
    text
        Text of the warning if the ratio is below 0.1 (:data:`CONTRADICTION`) in more than 5 % of
        the points, otherwise None.
    """
    ratios = np.asarray(evidence_ratio)
    ratios = ratios[np.isfinite(ratios)]
    n_against = np.count_nonzero(ratios < CONTRADICTION)
    if n_against <= _TOLERATED * ratios.size:
        return None
    return (
        f"{n_against} of {ratios.size} patterns contradict the prior (evidence ratio below "
        f"{CONTRADICTION:g}). Their classes follow from the prior rather than from the pattern: "
        "look at them without a prior, and give other classes some weight if they may be there."
    )


def composition_prior(
    composition: Mapping[str, np.ndarray],
    phases: Iterable[Phase] | Mapping[str, Phase] | PhaseList,
    classes: Classes,
    *,
    deviation: float = 0.05,
    unknown: float = 0.01,
) -> np.ndarray:
    """Return prior probabilities from a map of the composition, such as from EDS.

    Parameters
    ----------
    composition
        Atomic fractions by element symbol, arrays of one shape. They are normalised over the
        elements given. Where one is not finite or all are 0, all classes are equally likely.
    phases
        Phases that may be there, with a structure and a space group. The structure holds the
        asymmetric unit, in the setting of the phase's space group, or all atoms of the unit cell.
        Phases that are of no class are left out.
    classes
        Classes, which phases belong to by their space group, or by their name where the classes are
        not space groups.
    deviation
        Standard deviation by which an atomic fraction differs from that of the phase, from errors
        of the measurement and solubility together. Default is 0.05.
    unknown
        Part of the probability that all classes share whatever the composition, so that a wrong one
        rules nothing out. From 0 up to 1, which is excluded. Default is 0.01.

    Returns
    -------
    weights
        Prior probabilities of shape (map shape, n classes) for
        :func:`~kikuchipy_cnn.prior.as_prior`.

    Raises
    ------
    ValueError
        If no phase is of a class, one has no structure or no space group, elements are missing in
        the composition, its arrays differ in shape or are negative, or *deviation* or *unknown* is
        out of range.

    Notes
    -----
    The density of a composition is a Gaussian around that of each phase, summed over the phases of
    a class. Phases are compared with each other only: a composition far from all of them still
    favours the nearest.

    The composition of a point comes from a larger volume than its pattern. Small precipitates are
    seen with the matrix around them, for which *deviation* has to allow.

    Examples
    --------
    Three points of a nickel alloy, the last of them in a precipitate of
    Ni3Al, and four space groups to choose from.

    >>> import kikuchipy_cnn
    >>> from kikuchipy_cnn.simulation import load_phases
    >>> phases = load_phases([221, 225])
    >>> classes = kikuchipy_cnn.SpaceGroupClasses((221, 225, 227, 229))
    >>> composition = {"Ni": [0.98, 1.0, 0.77], "Al": [0.02, 0.0, 0.23]}
    >>> prior = kikuchipy_cnn.composition_prior(
    ...     composition, [phases["Ni"], phases["Ni3Al"]], classes
    ... )
    >>> prior.shape
    (3, 4)
    >>> [classes.ids[i] for i in prior.argmax(axis=1)]
    [225, 225, 221]
    """
    if not deviation > 0 or not np.isfinite(deviation):
        raise ValueError(f"deviation={deviation} must be positive, such as 0.05.")
    if not 0 <= unknown < 1:
        raise ValueError(f"unknown={unknown} must be at least 0 and below 1, such as 0.01.")
    measured, known = _normalised(composition)
    candidates = _candidates(phases, classes)
    log_densities = np.empty((*known.shape, len(candidates)))
    for i, (_, phase) in enumerate(candidates):
        expected = _expected(phase, list(composition))
        log_densities[..., i] = -(((measured - expected) / deviation) ** 2).sum(axis=-1) / 2
    # The likeliest phase has density one, or all might underflow.
    densities = np.exp(log_densities - log_densities.max(axis=-1, keepdims=True))
    weights = np.zeros((*known.shape, len(classes)))
    for i, (column, _) in enumerate(candidates):
        weights[..., column] += densities[..., i]
    weights /= weights.sum(axis=-1, keepdims=True)
    weights = (1 - unknown) * weights + unknown / len(classes)
    weights[~known] = 1 / len(classes)
    return weights


def _is_array_of_weights(prior: object) -> bool:
    is_float = getattr(getattr(prior, "dtype", None), "kind", "") == "f"
    return not isinstance(prior, Mapping) and (is_float or np.ndim(prior) > 1)


def _reshaped(weights: np.ndarray, classes: Classes, n_points: int) -> np.ndarray:
    n_classes = len(classes)
    fits = weights.ndim > 0 and weights.shape[-1] == n_classes
    if not fits or weights.size not in (n_classes, n_points * n_classes):
        raise ValueError(
            f"The prior of shape {weights.shape} must have {n_classes} columns, one for each of "
            f"the {classes.plural} {', '.join(classes.names)}, and one row or {n_points}, one for "
            "each point."
        )
    return weights.reshape(-1, n_classes)


def _weights_of_labels(
    prior: Iterable[int | str] | Mapping[int | str, float], classes: Classes
) -> np.ndarray:
    if not isinstance(prior, Mapping):
        prior = dict.fromkeys(prior, 1)
    unknown = [label for label in prior if label not in classes.labels]
    if unknown:
        raise ValueError(
            f"The prior has {', '.join(map(repr, unknown))}, but the model tells apart the "
            f"{classes.plural} {', '.join(map(repr, classes.labels))}: give some of these, or an "
            "array of floats with a weight of each."
        )
    return np.array([[prior.get(label, 0) for label in classes.labels]], dtype=np.float64)


def _normalised(composition: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Atomic fractions of shape (map shape, n elements), and where they are known."""
    if not composition:
        raise ValueError(f"composition={composition!r} has no elements: give atomic fractions.")
    fractions = {symbol: np.asarray(i, dtype=np.float64) for symbol, i in composition.items()}
    shapes = {symbol: i.shape for symbol, i in fractions.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"The composition has the shapes {shapes}, which must be the same.")
    for symbol, values in fractions.items():
        if (values < 0).any():
            raise ValueError(
                f"The composition has the atomic fraction {np.nanmin(values)} of {symbol}: set "
                "negative ones to 0."
            )
    measured = np.stack(list(fractions.values()), axis=-1)
    known = np.isfinite(measured).all(axis=-1)
    measured[~known] = 0
    total = measured.sum(axis=-1)
    known &= total > 0
    return measured / np.where(known, total, 1)[..., None], known


def _candidates(
    phases: Iterable[Phase] | Mapping[str, Phase] | PhaseList, classes: Classes
) -> list[tuple[int, Phase]]:
    """Phases that are of a class, with its column."""
    candidates, labels = [], []
    for phase in listed(phases).values():
        if phase.space_group is None or len(phase.structure) == 0:
            missing = "space group" if phase.space_group is None else "atoms in its structure"
            raise ValueError(
                f"Phase {phase.name!r} has no {missing}, from which its composition follows: give "
                "Phase(name, space_group=..., structure=...)."
            )
        by_number = isinstance(classes, SpaceGroupClasses)
        labels.append(phase.space_group.number if by_number else phase.name)
        if labels[-1] in classes.labels:
            candidates.append((classes.labels.index(labels[-1]), phase))
    if not candidates:
        raise ValueError(
            f"The phases {labels} are none of the {classes.plural} {', '.join(classes.names)}: "
            "give at least one that is."
        )
    return candidates


def _expected(phase: Phase, elements: list[str]) -> np.ndarray:
    """Atomic fractions of a phase in the order of the elements."""
    content = _cell_content(phase)
    if missing := sorted(set(content) - set(elements)):
        raise ValueError(
            f"The composition has the elements {elements}, but phase {phase.name!r} has "
            f"{', '.join(missing)} too: add these, or take their atoms out of the structure if "
            "they cannot be measured."
        )
    return np.array([content.get(symbol, 0) for symbol in elements]) / sum(content.values())


def _cell_content(phase: Phase) -> dict[str, float]:
    """Number of atoms of each element in the unit cell."""
    # orix turns the lattice and leaves the atoms where they are, so that the operations fit the
    # coordinates in the lattice from before only. Copies of a phase forget that one, but most
    # lattices were in diffpy's orientation.
    parameters = [getattr(phase.structure.lattice, i) for i in _LATTICE_PARAMETERS]
    lattices = (Lattice(base=phase._diffpy_lattice), Lattice(*parameters))
    # A number gives orix the operations of origin choice 1, even if the atoms are in the other.
    groups = (phase.space_group, standard_space_group(phase.space_group.number))
    contents = []
    for lattice, group in product(lattices, groups):
        structure = phase.structure.copy()
        structure.placeInLattice(lattice)
        content, n_positions = _expanded(structure, group, phase.name)
        if n_positions <= len(structure):
            # All atoms of the cell are there, so this is the setting.
            return content
        contents.append(content)
    return contents[0]


def _expanded(structure: Structure, group: SpaceGroup, name: str) -> tuple[dict[str, float], int]:
    """Number of atoms of each element and of distinct positions after applying all operations."""
    rotations = np.array([operation.R for operation in group.symop_list])
    translations = np.array([operation.t for operation in group.symop_list])
    content, positions = Counter(), {}
    for atom in structure:
        symbol = _ELEMENT.match(atom.element)
        if symbol is None:
            raise ValueError(
                f"Phase {name!r} has an atom of element {atom.element!r}: give a symbol like 'Ni'."
            )
        # Ions of one element may share a site, each with its own occupancy.
        found = positions.setdefault(atom.element, np.empty((0, 3)))
        if _are_same(found, atom.xyz).any():
            continue
        images = rotations @ atom.xyz + translations
        same = _are_same(images[:, None], images)
        distinct = images[~np.triu(same, 1).any(axis=0)]
        positions[atom.element] = np.concatenate([found, distinct])
        content[symbol[1].capitalize()] += len(distinct) * atom.occupancy
    return dict(content), sum(map(len, positions.values()))


def _are_same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    difference = a - b
    difference -= difference.round()
    return (np.abs(difference) < _SAME_POSITION).all(axis=-1)
