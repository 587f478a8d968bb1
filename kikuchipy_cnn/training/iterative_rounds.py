# SPDX-License-Identifier: GPL-3.0-or-later

"""One round of iterative training after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from kikuchipy_cnn.models import Ensemble, ModelBundle
from kikuchipy_cnn.training.class_level import phases_of_classes
from kikuchipy_cnn.training.few_shot import FewShotTrainer
from kikuchipy_cnn.training.iterative_data import IterativeData, member_probabilities, seeded
from kikuchipy_cnn.training.iterative_settings import IterativeSettings
from kikuchipy_cnn.training.labelled import PatternSource
from kikuchipy_cnn.training.preprocessed import PreprocessedPatterns
from kikuchipy_cnn.training.protocol import FewShotProtocol
from kikuchipy_cnn.training.round_decision import START, compared, decide, refusal
from kikuchipy_cnn.training.self_labelling import (
    agreed_classes,
    agreement_beyond_chance,
    choose_members,
    folds_of,
    member_agreements,
    select_self_labels,
)

_RECORD = "self_training"
_BY_HAND = (
    "Label some patterns by hand and train with FewShotTrainer, or give them as known=..., or "
    "lower the confidence if you can judge the result."
)


class Rounds:
    """Makes one round after the other.

    Parameters
    ----------
    start
        The members as they were given.
    data
        All patterns.
    settings, protocol, seed, show_progressbar
        As for :func:`~kikuchipy_cnn.training.iterative_training`.
    """

    def __init__(
        self,
        start: Ensemble,
        data: IterativeData,
        settings: IterativeSettings,
        protocol: FewShotProtocol,
        seed: int,
        show_progressbar: bool | None,
    ) -> None:
        self._start, self._data = start, data
        self._settings, self._protocol, self._seed = settings, protocol, seed
        self._show_progressbar = show_progressbar
        self._labels = start.classes.labels

    def first(self) -> dict:
        """Row of the members as they were given."""
        return {
            **self._described(0, range(len(self._start.members)), np.empty(0, int)),
            "agreement_before": None,
            **self._measured(self._start),
            **dict.fromkeys(("gain", "shift_before", "shift_first")),
            "decision": START,
            "reason": "The models as they were given.",
        }

    def next(self, ensemble: Ensemble, rows: Sequence[dict]) -> tuple[dict, Ensemble | None]:
        """Make the next round.

        Parameters
        ----------
        ensemble
            What the last round has made.
        rows
            Rows of all rounds so far.

        Returns
        -------
        row
            What is recorded of the round.
        ensemble
            What it has made. None if there was nothing to learn from.

        Raises
        ------
        ValueError
            If there is nothing to learn from in the first round.
        """
        number, data = len(rows), self._data
        probabilities = member_probabilities(ensemble, data.sample.images)
        chosen = choose_members(member_agreements(probabilities), self._settings.margin)
        before = replace(ensemble, members=[ensemble.members[i] for i in chosen])
        numbers = [self._numbers(ensemble)[i] for i in chosen]
        selected, classes, n_agreed = self._self_labels(probabilities[chosen], number)

        row = self._described(number, numbers, classes)
        predicted = probabilities[chosen].argmax(axis=2)[:, data.held_out]
        row["agreement_before"] = agreement_beyond_chance(predicted, len(self._labels))
        refused = refusal(
            [self._labels[i] for i in classes],
            n_agreed,
            int((~data.held_out).sum()),
            self._settings,
            data.known is not None,
        )
        if refused is not None:
            if number == 1:
                raise ValueError(f"{refused[1]} {_BY_HAND}")
            row["decision"], row["reason"] = refused
            # The columns of all rounds are the same.
            return dict.fromkeys(rows[0]) | row, None
        after = self._trained(before, numbers, selected, classes, number)
        row |= self._measured(after)
        row |= compared(row, rows, self._labels)
        row["decision"], row["reason"] = decide(row, rows, self._labels, self._settings)
        record = self._record(numbers, [*rows, row])
        return row, replace(after, card=self._card(after, row), training={_RECORD: record})

    def _self_labels(
        self, probabilities: np.ndarray, number: int
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Indices and classes of the patterns to learn from, and how many were agreed on."""
        data, settings = self._data, self._settings
        winners, agreed = agreed_classes(probabilities, settings.confidence)
        agreed &= data.admitted & ~data.held_out
        selected = select_self_labels(
            winners,
            agreed,
            data.sample.positions,
            settings.per_class,
            settings.least,
            seeded(self._seed, "self-labels", number),
        )
        return selected, winners[selected], int(agreed.sum())

    def _trained(
        self,
        ensemble: Ensemble,
        numbers: Sequence[int],
        selected: np.ndarray,
        classes: np.ndarray,
        number: int,
    ) -> Ensemble:
        """Train all members on, on self-labels and what else there is."""
        data = self._data
        own = self._self_labelled(selected, classes)
        folds = folds_of(data.blocks[selected], len(numbers), seeded(self._seed, "folds", number))
        others = [data.replay[0], *([] if data.known is None else [data.known[0]])]
        members = []
        for fold, (member, of_member) in enumerate(zip(ensemble.members, numbers, strict=True)):
            training = PreprocessedPatterns.concatenate([own.take(folds != fold), *others])
            validation = PreprocessedPatterns.concatenate([own.take(folds == fold), data.replay[1]])
            seed = np.random.SeedSequence([self._seed, number, of_member]).generate_state(1)[0]
            members.append(self._trained_member(member, training, validation, int(seed), number))
        return Ensemble("adapted", members, ensemble.temperature)

    def _trained_member(
        self,
        member: ModelBundle,
        training: PreprocessedPatterns,
        validation: PreprocessedPatterns,
        seed: int,
        number: int,
    ) -> ModelBundle:
        trainer = FewShotTrainer(
            member, self._protocol, level=self._data.level, name=member.name, seed=seed
        )
        result = trainer.fit(
            training,
            validation,
            classes=member.classes,
            show_progressbar=self._show_progressbar,
        )
        if result.stopped == "interrupted":
            raise KeyboardInterrupt
        return replace(
            result.bundle,
            temperature=member.temperature,
            card=_member_card(member, number),
            training=result.bundle.training | {"self_labelled_round": number},
        )

    def _self_labelled(self, selected: np.ndarray, classes: np.ndarray) -> PreprocessedPatterns:
        """Patterns of the maps with the labels that the members gave them."""
        phases = phases_of_classes(self._start.classes, self._data.level, "self-labelled")
        n = len(selected)
        return PreprocessedPatterns(
            (PatternSource(self._data.sample.images[..., 0]),),
            np.zeros(n, int),
            selected,
            np.array([phases[i][0] for i in classes], int),
            np.array([phases[i][1] for i in classes], object),
            np.full(n, "new conditions", object),
            transform=self._start.transform,
        )

    def _numbers(self, ensemble: Ensemble) -> list[int]:
        """Numbers of the members among those that were given."""
        if ensemble is self._start:
            return list(range(len(ensemble.members)))
        return ensemble.training[_RECORD]["members"]

    def _described(self, number: int, members: Sequence[int], classes: np.ndarray) -> dict:
        counts = np.bincount(classes, minlength=len(self._labels)).tolist()
        return {
            "round": number,
            "members": "; ".join(f"{i}: {self._start.members[i].name}" for i in members),
            "self_labels": len(classes),
            **{f"self_labels_{i}": n for i, n in zip(self._labels, counts, strict=True)},
        }

    def _measured(self, ensemble: Ensemble) -> dict:
        """What the members say of patterns that they have not learned from."""
        data, n_classes = self._data, len(self._labels)
        probabilities = member_probabilities(ensemble, data.sample.images[data.held_out])
        mean = probabilities.mean(axis=0)
        shares = np.bincount(mean.argmax(axis=1), minlength=n_classes) / len(mean)
        return {
            "agreement": agreement_beyond_chance(probabilities.argmax(axis=2), n_classes),
            "confidence": float(mean.max(axis=1).mean()),
            "known_accuracy": None
            if data.known is None
            else self._accuracy(ensemble, data.known[-1]),
            "replay_accuracy": self._accuracy(ensemble, data.replay[-1]),
            **{f"predicted_{i}": p for i, p in zip(self._labels, shares.tolist(), strict=True)},
        }

    def _accuracy(self, ensemble: Ensemble, patterns: PreprocessedPatterns) -> float:
        images, _ = patterns.images(ensemble.transform)
        winners = member_probabilities(ensemble, images).mean(axis=0).argmax(axis=1)
        true = patterns.labels(self._data.level).tolist()
        return float(np.mean([self._labels[i] == j for i, j in zip(winners, true, strict=True)]))

    def _record(self, numbers: Sequence[int], rows: Sequence[dict]) -> dict:
        return {
            "members": list(numbers),
            "start": [member.name for member in self._start.members],
            "settings": asdict(self._settings),
            "protocol": self._protocol.to_dict(),
            "seed": self._seed,
            "level": self._data.level,
            "rounds": list(rows),
        }

    def _card(self, ensemble: Ensemble, row: dict) -> str:
        accuracy = ""
        if self._data.known is not None:
            accuracy = f" Accuracy on known patterns {row['known_accuracy']:.3f}."
        members = "\n".join(f"- {member.name}" for member in ensemble.members)
        return f"""# {ensemble.name}

Self-labelled: an ensemble that was trained on with labels that its members agreed on, in
{row["round"]} round(s). Nobody has checked these labels.

{members}

## Last round

{row["self_labels"]} self-labels. On held-out patterns, agreement beyond chance
{row["agreement"]:.3f} and mean confidence {row["confidence"]:.3f}.{accuracy} Accuracy on
replayed patterns {row["replay_accuracy"]:.3f}. Decision: {row["decision"]}. {row["reason"]}

Temperatures of this round are those that the members were given with: self-labels are what the
members were sure of, and would make them too sure. Nothing is rejected: what tells unknown phases
would have to be fitted anew. Agreement is not accuracy: judge the model on labelled patterns of the
new conditions, with `kikuchipy-cnn evaluate`.
"""


def _member_card(member: ModelBundle, number: int) -> str:
    return f"""# {member.name}

Member of a self-labelled ensemble, trained on in round {number} from its weights before. The card
of the ensemble says how it is calibrated. What it was before:

{member.card}"""
