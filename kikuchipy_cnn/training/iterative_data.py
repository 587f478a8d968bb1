# SPDX-License-Identifier: GPL-3.0-or-later

"""All patterns of an iterative training, read and preprocessed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from kikuchipy.signals import EBSD

from kikuchipy_cnn.inference import in_batches
from kikuchipy_cnn.models import Ensemble
from kikuchipy_cnn.training.class_level import level_of_classes
from kikuchipy_cnn.training.iterative_settings import (
    LEAST_PATTERNS,
    LEAST_REPLAY,
    IterativeSettings,
)
from kikuchipy_cnn.training.labelled import LabelledPatterns
from kikuchipy_cnn.training.map_sample import MapSample, cells_of, hold_out
from kikuchipy_cnn.training.preprocessed import PreprocessedPatterns
from kikuchipy_cnn.training.replay import divide, simulate_replay

_BATCH_SIZE = 64
# Parts of the maps that are held out, or learned from, as a whole.
_BLOCKS = 64
# Of the replay, to tell when to stop and to tell what is forgotten. The rest is learned from.
_REPLAY_SHARES = (0.25, 0.25)
_KNOWN_SHARE = 0.5
# Least probability that a pattern is of a known phase.
_KNOWN_PHASE = 0.5


@dataclass(frozen=True, eq=False)
class IterativeData:
    """Patterns to label, patterns of known label, and how they are divided.

    Parameters
    ----------
    sample
        n patterns of the maps.
    blocks
        Number of the part of a map that each is in, of shape (n,).
    held_out
        Boolean array of shape (n,), True where a pattern is never learned from.
    admitted
        Boolean array of shape (n,), False where the members that were given take a pattern for one
        of another phase or for none.
    known
        Patterns to learn from and to tell the gain, or None.
    replay
        Patterns to learn from, to tell when to stop, and to tell what is forgotten.
    level
        Level of the members' classes.
    """

    sample: MapSample
    blocks: np.ndarray
    held_out: np.ndarray
    admitted: np.ndarray
    known: tuple[PreprocessedPatterns, PreprocessedPatterns] | None
    replay: tuple[PreprocessedPatterns, PreprocessedPatterns, PreprocessedPatterns]
    level: str

    @classmethod
    def read(
        cls,
        ensemble: Ensemble,
        signals: Sequence[EBSD],
        navigation_masks: Sequence[np.ndarray | None],
        known: LabelledPatterns | None,
        replay: LabelledPatterns | None,
        settings: IterativeSettings,
        seed: int,
        show_progressbar: bool | None,
    ) -> IterativeData:
        """Read, preprocess and divide all patterns.

        Parameters
        ----------
        ensemble
            The members as they were given.
        signals, navigation_masks
            Maps and their masks, one each.
        known, replay, settings, seed, show_progressbar
            As for :func:`~kikuchipy_cnn.training.iterative_training`.

        Raises
        ------
        ValueError
            If there are too few patterns, or some of classes that the members do not know.
        """
        classes, transform = ensemble.classes, ensemble.transform
        level = level_of_classes(classes)

        def prepared(name: str, patterns: LabelledPatterns) -> PreprocessedPatterns:
            _check_labels(name, patterns.labels(level), classes.labels)
            return PreprocessedPatterns.read(patterns, transform, show_progressbar=show_progressbar)

        if known is not None:
            known = _divided_known(prepared("known", known), level, seed)
        if replay is None:
            replay = simulate_replay(
                classes,
                level,
                settings.replay_per_class,
                transform.size,
                seed=seed,
                show_progressbar=show_progressbar,
            )
        replay = _divided_replay(prepared("replay", replay), classes.labels, level, seed)
        sample = MapSample.read(
            signals,
            navigation_masks,
            transform,
            settings.n_patterns,
            seeded(seed, "sample"),
            show_progressbar=show_progressbar,
        )
        if len(sample) < LEAST_PATTERNS:
            raise ValueError(
                f"There are {len(sample)} usable patterns; at least {LEAST_PATTERNS} are needed. "
                "Give a larger map, or several."
            )
        blocks = cells_of(sample.positions, _BLOCKS)
        held_out = hold_out(blocks, settings.held_out, seeded(seed, "held out"))
        admitted = _is_known_phase(ensemble, sample.images)
        return cls(sample, blocks, held_out, admitted, known, replay, level)

    def arrays(self) -> Iterator[np.ndarray]:
        """All arrays that decide the course of a training."""
        yield from (self.sample.images, self.sample.positions, self.admitted)
        for part in (*(self.known or ()), *self.replay):
            yield part.images(part.transform)[0]
            yield part.space_group
            yield part.material.astype(str)


def member_probabilities(ensemble: Ensemble, images: np.ndarray) -> np.ndarray:
    """Classify preprocessed patterns with each member.

    Parameters
    ----------
    ensemble
        Ensemble.
    images
        Network input of shape (n, size, size, 1) and data type float32.

    Returns
    -------
    probabilities
        Array of shape (members, n, classes) and data type float32.
    """
    return np.stack(
        [in_batches(m.predict_probabilities, images, _BATCH_SIZE) for m in ensemble.members]
    )


def seeded(seed: int, *key: object) -> np.random.Generator:
    """Source of random numbers for one purpose.

    Parameters
    ----------
    seed
        Seed of the training.
    key
        What it is for.
    """
    return np.random.default_rng([seed, *repr(key).encode()])


def _check_labels(name: str, found: np.ndarray, labels: Sequence[int | str]) -> None:
    others = sorted(set(found.tolist()) - set(labels), key=str)
    if others:
        raise ValueError(
            f"The {name} patterns are of {', '.join(map(str, others))}, but the members tell apart "
            f"{', '.join(map(str, labels))}. Leave these out."
        )


def _divided_known(
    patterns: PreprocessedPatterns, level: str, seed: int
) -> tuple[PreprocessedPatterns, PreprocessedPatterns]:
    labels = patterns.labels(level)
    learned, judged = divide(labels, (_KNOWN_SHARE,), seeded(seed, "known"))
    if len(judged) == 0:
        raise ValueError(
            f"There are {len(patterns)} known patterns, none of which can tell the gain: at least "
            "two of a class are needed. Give more, or none."
        )
    return patterns.take(learned), patterns.take(judged)


def _divided_replay(
    patterns: PreprocessedPatterns, classes: Sequence[int | str], level: str, seed: int
) -> tuple[PreprocessedPatterns, ...]:
    labels = patterns.labels(level)
    found = labels.tolist()
    few = [f"{i} ({found.count(i)})" for i in classes if found.count(i) < LEAST_REPLAY]
    if few:
        raise ValueError(
            f"There are too few replay patterns of {', '.join(few)}; at least {LEAST_REPLAY} of "
            "each class are needed, or it would be forgotten. Add some: "
            "LabelledPatterns.from_simulation() makes them."
        )
    return tuple(
        patterns.take(part) for part in divide(labels, _REPLAY_SHARES, seeded(seed, "replay"))
    )


def _is_known_phase(ensemble: Ensemble, images: np.ndarray) -> np.ndarray:
    """Whether the members that can tell take patterns for those of a known phase."""
    detecting = [member for member in ensemble.members if member.detector is not None]
    if not detecting:
        return np.ones(len(images), bool)
    known = [
        in_batches(lambda x, m=m: m.outputs(x).kinds[:, 0], images, _BATCH_SIZE) for m in detecting
    ]
    return np.mean(known, axis=0) > _KNOWN_PHASE
