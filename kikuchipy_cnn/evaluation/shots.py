"""What more training patterns are worth."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kikuchipy_cnn._files import replacing
from kikuchipy_cnn.evaluation._run import evaluate
from kikuchipy_cnn.models import ModelBundle, list_models, load_model
from kikuchipy_cnn.training.few_shot import FewShotProtocol, FewShotTrainer
from kikuchipy_cnn.training.labelled import LabelledPatterns
from kikuchipy_cnn.training.splits import CLAIMS, Split, split_patterns

__all__ = ["ShotsCurve", "shots_curve"]

# Training patterns for each validation pattern where their number is not given: the papers' 400 to
# 100.
_TRAINING_PER_VALIDATION = 4


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
    start: str | os.PathLike | ModelBundle,
    patterns: LabelledPatterns,
    test: LabelledPatterns,
    *,
    level: str = "space group",
    shots: Sequence[int] = (1, 5, 10, 50, 100, 400),
    n_trials: int = 3,
    n_validation: int | None = None,
    protocol: FewShotProtocol | None = None,
    seed: int = 0,
    work: str | os.PathLike | None = None,
    show_progressbar: bool = True,
) -> ShotsCurve:
    """Train on more and more patterns and see what each number is worth.

    Parameters
    ----------
    start
        What each training begins with, as for
        :class:`~kikuchipy_cnn.training.few_shot.FewShotTrainer`.
    patterns
        Patterns to draw those for training and validation from, anew in each trial.
    test
        Other patterns, the same for all trainings.
    level
        What to tell apart, as for the trainer.
    shots
        Numbers of training patterns of each class.
    n_trials
        Number of trainings for each of them.
    n_validation
        Validation patterns of each class. If not given, one for each four training patterns, but at
        least one, so that a curve counts all patterns that are used.
    protocol
        Settings of the trainings. If not given, the trainer's.
    seed
        Seed of the draws and trainings.
    work
        Folder for what is done. Called again with the same arguments, or with more shots or trials,
        this goes on from there.
    show_progressbar
        Whether to show a progress bar.

    Returns
    -------
    curve
        Accuracies. If *start* is a model that has a class for all test patterns, its accuracy
        before any training comes first, for 0 shots.

    Raises
    ------
    ValueError
        If there are no shots or trials, too few patterns, or *work* is of another curve.

    Warns
    -----
    UserWarning
        If patterns are in both sets.
    """
    shots = tuple(sorted(set(shots)))
    if n_trials < 1 or not shots or shots[0] < 1:
        raise ValueError(
            f"shots={shots} and n_trials={n_trials} must be at least one number, of at least 1."
        )
    protocol = FewShotProtocol() if protocol is None else protocol

    def split(n: int, trial_seed: int) -> Split:
        n_stopping = n_validation
        if n_stopping is None:
            n_stopping = max(1, n // _TRAINING_PER_VALIDATION)
        return split_patterns(patterns, n, n_stopping, level=level, seed=trial_seed)

    def train(n: int, trial: int, folder: Path | None) -> float:
        # The same for all numbers of shots, so that the fewer are among the more.
        trial_seed = int(np.random.SeedSequence([seed, trial]).generate_state(1)[0])
        drawn = split(n, trial_seed)
        trainer = FewShotTrainer(start, protocol, level=level, seed=trial_seed)
        result = trainer.fit(drawn.training, drawn.validation, work=folder, show_progressbar=False)
        return judge(result.bundle)

    def judge(bundle: ModelBundle) -> float:
        return evaluate(
            bundle, test, level=level, with_quality=False, show_progressbar=False
        ).accuracy

    # Too few patterns, or the same ones in the test, are noticed before the first training.
    split(shots[-1], seed)
    Split(patterns, patterns, test, CLAIMS["pattern"])
    settings = {
        "start": start.name if isinstance(start, ModelBundle) else os.fspath(start),
        "level": level,
        "n_validation": n_validation,
        "protocol": protocol.to_dict(),
        "seed": seed,
        "patterns": [[*key, n] for key, n in patterns.counts().items()],
        "test": [[*key, n] for key, n in test.counts().items()],
    }
    trials = _Trials(work, settings)
    accuracies = []
    bundle = _model_before(start, test, level)
    if bundle is not None:
        accuracies.append([trials.get("before", lambda _: judge(bundle))] * n_trials)
    with tqdm(
        total=len(shots) * n_trials, unit="training", disable=not show_progressbar
    ) as progressbar:
        for n in shots:
            row = []
            for trial in range(n_trials):
                progressbar.set_postfix(shots=n)
                name = f"{n}_shots_trial_{trial + 1}"
                row.append(trials.get(name, lambda folder, n=n, i=trial: train(n, i, folder)))
                progressbar.update()
            accuracies.append(row)
    return ShotsCurve(
        shots if bundle is None else (0, *shots),
        np.array(accuracies, float),
        level,
        1 / len(patterns.classes(level)),
    )


class _Trials:
    """Accuracies of trials in a folder, each computed once."""

    def __init__(self, folder: str | os.PathLike | None, settings: dict) -> None:
        self._folder = None if folder is None else Path(folder)
        # As it will be read back.
        self._settings = json.loads(json.dumps(settings))

    def get(self, name: str, compute: Callable[[Path | None], float]) -> float:
        """Read the accuracy of a trial, or compute it with a folder for what is not finished."""
        if self._folder is None:
            return compute(None)
        path = self._folder / f"{name}.json"
        if path.exists():
            trial = json.loads(path.read_text())
            if trial["settings"] != self._settings:
                changed = [
                    key
                    for key in self._settings
                    if trial["settings"].get(key) != self._settings[key]
                ]
                raise ValueError(
                    f"'{path}' is of a curve with another {' and '.join(changed)}. Give another "
                    "folder, or delete this one."
                )
            return trial["accuracy"]
        unfinished = self._folder / "unfinished"
        unfinished.mkdir(parents=True, exist_ok=True)
        accuracy = compute(unfinished)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({"accuracy": accuracy, "settings": self._settings}))
        # The state of a training takes hundreds of megabytes.
        shutil.rmtree(unfinished)
        return accuracy


def _model_before(
    start: str | os.PathLike | ModelBundle, test: LabelledPatterns, level: str
) -> ModelBundle | None:
    """The model that a training begins with, where it already tells the test patterns apart."""
    if not isinstance(start, ModelBundle):
        if start not in list_models() and not Path(start).is_dir():
            # Random weights or those of ImageNet.
            return None
        start = load_model(start)
    known = set(test.labels(level).tolist()) <= set(start.classes.labels)
    return start if known else None
