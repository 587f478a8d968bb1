# SPDX-License-Identifier: GPL-3.0-or-later

"""What more training patterns are worth."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kikuchipy_cnn._files import replacing
from kikuchipy_cnn._progress import is_progress_shown
from kikuchipy_cnn.evaluation._run import evaluate
from kikuchipy_cnn.models import ModelBundle
from kikuchipy_cnn.training.checkpoint import fingerprint_of, remove_state
from kikuchipy_cnn.training.few_shot import FewShotTrainer
from kikuchipy_cnn.training.labelled import LabelledPatterns
from kikuchipy_cnn.training.splits import CLAIMS, Split, split_patterns
from kikuchipy_cnn.training.starts import model_of_start

__all__ = ["ShotsCurve", "shots_curve"]

# Training patterns for each validation pattern where their number is not given: the papers' 400 to
# 100.
_TRAINING_PER_VALIDATION = 4
# Of the trainer, besides start, protocol and seed. Its name decides nothing.
_OF_THE_NETWORK = ("level", "architecture", "size", "channels", "new_head")


@dataclass(frozen=True, eq=False)
class ShotsCurve:
    """Accuracy against the number of training patterns.

    Parameters
    ----------
    shots
        Numbers of training patterns of each class, ascending. 0 is the model before training.
    accuracies
        Accuracies on the test patterns, from 0 to 1, of shape (shots, trials).
    level
        What was told apart.
    chance
        Accuracy of guessing.

    Examples
    --------
    >>> import numpy as np
    >>> from kikuchipy_cnn.evaluation import ShotsCurve
    >>> accuracies = np.array([[0.5, 0.54], [0.7, 0.74], [0.8, 0.82]])
    >>> curve = ShotsCurve((1, 10, 100), accuracies, "phase", 0.5)
    >>> curve.mean
    array([0.52, 0.72, 0.81])
    >>> curve.deviation.round(3)
    array([0.028, 0.028, 0.014])
    """

    shots: tuple[int, ...]
    accuracies: np.ndarray
    level: str
    chance: float

    @property
    def mean(self) -> np.ndarray:
        """Mean over the trials, of shape (shots,)."""
        return self.accuracies.mean(axis=1)

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation over the trials, of shape (shots,). 0 for one trial."""
        n_trials = self.accuracies.shape[1]
        return self.accuracies.std(axis=1, ddof=min(1, n_trials - 1))


def shots_curve(
    trainer: FewShotTrainer,
    patterns: LabelledPatterns,
    test: LabelledPatterns,
    *,
    shots: Sequence[int] = (1, 5, 10, 50, 100, 400),
    n_trials: int = 3,
    n_validation: int | None = None,
    seed: int = 0,
    work: str | os.PathLike | None = None,
    show_progressbar: bool | None = None,
) -> ShotsCurve:
    """Train on more and more patterns and see what each number is worth.

    Parameters
    ----------
    trainer
        How to train, and what to tell apart. Each trial has a seed of its own instead of the
        trainer's.
    patterns
        Patterns to draw those for training and validation from, anew in each trial.
    test
        Other patterns, the same for all trainings.
    shots
        Numbers of training patterns of each class.
    n_trials
        Number of trainings for each of them.
    n_validation
        Validation patterns of each class. If not given, one for each four training patterns, but at
        least one, so that a curve counts all patterns that are used.
    seed
        Seed of the draws and trainings.
    work
        Folder for what is done. Called again with the same arguments, or with more shots or trials,
        this goes on from there.
    show_progressbar
        Whether to show a progress bar. If not given, the value of
        :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

    Returns
    -------
    curve
        Accuracies. If the trainer begins with a model that has a class for all patterns, and keeps
        what it knows of them, the accuracy of this model comes first, for 0 shots.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C. What was done until then is in *work*.
    TypeError
        If *trainer* is something else.
    ValueError
        If there are no shots or trials, too few patterns, there is no such model to begin with, or
        *work* is of another curve.

    Warns
    -----
    UserWarning
        If patterns are in both sets, or the loss of a training became no number. Of such a training
        the model of the best epoch before counts: without them, the accuracy of an unstable
        protocol would look better than it is.

    Examples
    --------
    A small network and one epoch keep the example short: it learns nothing
    by them.

    >>> from kikuchipy_cnn.evaluation import shots_curve
    >>> from kikuchipy_cnn.training import (
    ...     FewShotProtocol, FewShotTrainer, LabelledPatterns
    ... )
    >>> names, quiet = ["Ni", "W"], {"show_progressbar": False}
    >>> patterns = LabelledPatterns.from_simulation(names, 4, seed=1, **quiet)
    >>> test = LabelledPatterns.from_simulation(names, 4, seed=2, **quiet)
    >>> protocol = FewShotProtocol(max_epochs=1)
    >>> trainer = FewShotTrainer(
    ...     "scratch", protocol, architecture="tiny", size=40
    ... )
    >>> curve = shots_curve(
    ...     trainer, patterns, test, shots=(1, 2), n_trials=1, **quiet
    ... )
    >>> curve.shots, curve.accuracies.shape, curve.chance
    ((1, 2), (2, 1), 0.5)
    """
    if not isinstance(trainer, FewShotTrainer):
        raise TypeError(
            f"trainer={trainer!r} must be a FewShotTrainer, for example "
            "FewShotTrainer('xception_fewshot')."
        )
    shots = tuple(sorted(set(shots)))
    if not shots or not all(isinstance(n, int | np.integer) and n > 0 for n in (*shots, n_trials)):
        raise ValueError(
            f"shots={shots} and n_trials={n_trials} must be integers of at least 1, and one number "
            "of shots at least."
        )
    level, model = trainer.level, model_of_start(trainer.start)
    if model is not None:
        # Otherwise it would be read anew for each training.
        trainer = replace(trainer, start=model)

    def split(n: int, trial_seed: int) -> Split:
        n_stopping = n_validation
        if n_stopping is None:
            n_stopping = max(1, n // _TRAINING_PER_VALIDATION)
        return split_patterns(patterns, n, n_stopping, level=level, seed=trial_seed)

    def train(n: int, trial: int, folder: Path | None) -> dict:
        # The same for all numbers of shots, so that the fewer are among the more.
        trial_seed = int(np.random.SeedSequence([seed, trial]).generate_state(1)[0])
        drawn = split(n, trial_seed)
        result = replace(trainer, seed=trial_seed).fit(
            drawn.training, drawn.validation, work=folder, show_progressbar=False
        )
        if result.stopped == "interrupted":
            # Its accuracy is not that of the protocol.
            raise KeyboardInterrupt
        return judge(result.bundle) | {"stopped": result.stopped}

    def judge(bundle: ModelBundle) -> dict:
        evaluation = evaluate(bundle, test, level=level, with_quality=False, show_progressbar=False)
        return {"accuracy": evaluation.accuracy}

    # Too few patterns, or the same ones in the test, are noticed before the first training.
    split(shots[-1], seed)
    Split(patterns, patterns, test, CLAIMS["pattern"])
    settings = {
        "start": os.fspath(trainer.start) if model is None else _fingerprint_of_model(model),
        **{name: getattr(trainer, name) for name in _OF_THE_NETWORK},
        "protocol": trainer.protocol.to_dict(),
        "n_validation": n_validation,
        "seed": seed,
        "patterns": _fingerprint_of_patterns(patterns),
        "test": _fingerprint_of_patterns(test),
    }
    trials = _Trials(work, settings)
    accuracies, diverged = [], []
    has_before = _knows(model, patterns + test, level) and not trainer.new_head
    if has_before:
        accuracies.append([trials.get("before", lambda _: judge(model))["accuracy"]] * n_trials)
    with tqdm(
        total=len(shots) * n_trials,
        unit="training",
        disable=not is_progress_shown(show_progressbar),
    ) as progressbar:
        for n in shots:
            row = []
            for trial in range(n_trials):
                progressbar.set_postfix(shots=n)
                name = f"{n}_shots_trial_{trial + 1}"
                done = trials.get(name, lambda folder, n=n, i=trial: train(n, i, folder))
                row.append(done["accuracy"])
                if done["stopped"] == "diverged":
                    diverged.append(name)
                progressbar.update()
            accuracies.append(row)
    if diverged:
        warnings.warn(
            f"The loss of {len(diverged)} of {len(shots) * n_trials} trainings became no number: "
            f"{', '.join(diverged)}. Their models are those of the best epochs before. Try a lower "
            f"learning rate than {trainer.protocol.learning_rate}.",
            stacklevel=2,
        )
    return ShotsCurve(
        (0, *shots) if has_before else shots,
        np.array(accuracies, float),
        level,
        1 / len(patterns.classes(level)),
    )


class _Trials:
    """What came out of trials, in a folder, each computed once."""

    def __init__(self, folder: str | os.PathLike | None, settings: dict) -> None:
        self._folder = None if folder is None else Path(folder)
        # As it will be read back, with numbers of NumPy as those of Python.
        self._settings = json.loads(json.dumps(settings, default=np.generic.item))

    def get(self, name: str, compute: Callable[[Path | None], dict]) -> dict:
        """Read what came out of a trial, or compute it with a folder for what is not finished."""
        if self._folder is None:
            return compute(None)
        path = self._folder / f"{name}.json"
        # Of its own: another trial may be broken off before this one is finished.
        unfinished = self._folder / "unfinished" / name
        if path.exists():
            trial = json.loads(path.read_text())
            self._check(path, trial["settings"])
        else:
            trial = compute(unfinished) | {"settings": self._settings}
            self._folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(trial))
        # A state takes hundreds of megabytes. A kill may have left it beside the result.
        if unfinished.exists():
            remove_state(unfinished)
            if not any(unfinished.parent.iterdir()):
                unfinished.parent.rmdir()
        return trial

    def _check(self, path: Path, settings: dict) -> None:
        changed = [key for key in self._settings if settings.get(key, ...) != self._settings[key]]
        if changed:
            raise ValueError(
                f"'{path}' is of a curve with another {' and '.join(changed)}. Give another "
                "folder, or delete this one."
            )


def _knows(model: ModelBundle | None, patterns: LabelledPatterns, level: str) -> bool:
    """Whether a model already tells the patterns apart."""
    return model is not None and set(patterns.labels(level).tolist()) <= set(model.classes.labels)


def _fingerprint_of_model(model: ModelBundle) -> str:
    """What tells a model from another of the same name."""
    description = {"labels": model.classes.labels, "transform": model.transform.to_dict()}
    return fingerprint_of([description, *model.network.get_weights()])


def _fingerprint_of_patterns(patterns: LabelledPatterns) -> str:
    """What tells patterns from others of the same number and phases.

    Of their pixels only the first pattern of each source: all may be gigabytes.
    """
    numbers, first = np.unique(patterns.source, return_index=True)
    return fingerprint_of(
        [
            *(patterns.space_group, patterns.material.astype(str)),
            *(patterns.map_name.astype(str), patterns.grain.astype(str)),
            *(patterns.source, patterns.index),
            *(
                np.asarray(patterns.sources[number].data[patterns.index[i]])
                for number, i in zip(numbers, first, strict=True)
            ),
        ]
    )
