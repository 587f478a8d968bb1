# SPDX-License-Identifier: GPL-3.0-or-later

"""Labels that members of an ensemble agree on, and what their agreement says.

Nothing here knows a true label.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from kikuchipy_cnn.training.map_sample import spread_out

_LEAST_MEMBERS = 2


def member_agreements(probabilities: np.ndarray) -> np.ndarray:
    """How much each member agrees with the mean of the others.

    On patterns unlike those of the training, networks that agree more with others are also more
    often right (Baek et al., NeurIPS 2022). Confidence is no criterion: a network that drifted away
    is often wrong and sure of it.

    Parameters
    ----------
    probabilities
        Probabilities of each member, of shape (members, n, classes), with at least two members.

    Returns
    -------
    agreements
        Of shape (members,): from 0 to 1, the part of the patterns where a member gives the class
        that is the most probable for the others, weighted by how probable it is for them. Of two
        members both have nearly the same.
    """
    total = probabilities.sum(axis=0)
    agreements = []
    for own in probabilities:
        others = (total - own) / (len(probabilities) - 1)
        agrees = own.argmax(axis=1) == others.argmax(axis=1)
        agreements.append(np.average(agrees, weights=others.max(axis=1)))
    return np.array(agreements)


def choose_members(agreements: np.ndarray, margin: float) -> np.ndarray:
    """Leave out members that agree clearly less than the best one.

    Parameters
    ----------
    agreements
        From :func:`member_agreements`.
    margin
        How much less is clearly less.

    Returns
    -------
    chosen
        Indices of at least two members, in ascending order.
    """
    order = np.argsort(-agreements, kind="stable")
    n_close = int((agreements >= agreements.max() - margin).sum())
    return np.sort(order[: max(n_close, _LEAST_MEMBERS)])


def agreed_classes(probabilities: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Find the patterns that all members are sure of and agree on.

    Parameters
    ----------
    probabilities
        Probabilities of each member, of shape (members, n, classes).
    confidence
        Least mean probability of the class.

    Returns
    -------
    winners
        Index of the most probable class in the mean, of shape (n,).
    agreed
        Boolean array of shape (n,), True where all members give this class and the mean of their
        probabilities is as high as asked for.
    """
    mean = probabilities.mean(axis=0)
    winners = mean.argmax(axis=1)
    same = (probabilities.argmax(axis=2) == winners).all(axis=0)
    return winners, same & (mean.max(axis=1) >= confidence)


def select_self_labels(
    winners: np.ndarray,
    agreed: np.ndarray,
    positions: np.ndarray,
    per_class: int,
    least: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Choose patterns to learn from: balanced over the classes, and from all over the map.

    Without balance the most frequent class takes all in the end (Zou et al., ECCV 2018).

    Parameters
    ----------
    winners, agreed
        From :func:`agreed_classes`.
    positions
        Rows and columns, integers of shape (n, 2).
    per_class
        Most patterns of each class.
    least
        Classes with fewer patterns that are agreed on get none: so few may well be mistakes, which
        balance would let count as much as a whole class.
    rng
        Source of random numbers.

    Returns
    -------
    chosen
        Indices in ascending order.
    """
    chosen = [np.empty(0, int)]
    for label in np.unique(winners[agreed]):
        candidates = np.flatnonzero(agreed & (winners == label))
        if len(candidates) >= least:
            chosen.append(candidates[spread_out(positions[candidates], per_class, rng)])
    return np.sort(np.concatenate(chosen))


def folds_of(blocks: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Divide blocks at random among folds, as evenly as possible.

    Parameters
    ----------
    blocks
        Number of each pattern's block, of shape (n,).
    n_folds
        How many.
    rng
        Source of random numbers.

    Returns
    -------
    folds
        Number of each pattern's fold, from 0, of shape (n,). A block is in one fold.
    """
    found, inverse = np.unique(blocks, return_inverse=True)
    return rng.permutation(len(found))[inverse] % n_folds


def agreement_beyond_chance(predicted: np.ndarray, n_classes: int) -> float:
    """Mean of Cohen's kappa over all pairs of members.

    Cohen, Educational and Psychological Measurement 20 (1960) 37.

    Parameters
    ----------
    predicted
        Index of the class that each member gives each pattern, of shape (members, n).
    n_classes
        Number of classes.

    Returns
    -------
    kappa
        1 if all agree, 0 if no more than by chance, and below if less. 0 also for two members that
        know one class only: they agree whatever they see.
    """
    shares = [np.bincount(one, minlength=n_classes) / len(one) for one in predicted]
    kappas = []
    for i, j in combinations(range(len(predicted)), 2):
        by_chance = float(shares[i] @ shares[j])
        agreement = float((predicted[i] == predicted[j]).mean())
        kappas.append((agreement - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0)
    return float(np.mean(kappas))


def total_variation(first: np.ndarray, second: np.ndarray) -> float:
    """Largest difference, over all sets of classes, of the probability of the set.

    Parameters
    ----------
    first, second
        Shares of the classes, of shape (classes,), which sum to 1.

    Returns
    -------
    distance
        From 0, the same, to 1, no class in common.
    """
    return float(np.abs(np.asarray(first) - np.asarray(second)).sum() / 2)
