# SPDX-License-Identifier: GPL-3.0-or-later

"""Few-shot transfer learning: a model for new materials or a new microscope from few patterns."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from kikuchipy_cnn._files import write_csv
from kikuchipy_cnn._prefetching import in_background
from kikuchipy_cnn._progress import is_progress_shown
from kikuchipy_cnn.models import ModelBundle
from kikuchipy_cnn.models.acceleration import (
    in_precision,
    jit_compile,
    with_fused_normalisation,
)
from kikuchipy_cnn.models.statistics import BatchStatistics
from kikuchipy_cnn.space_groups import Classes
from kikuchipy_cnn.training._card import write_card
from kikuchipy_cnn.training.calibration import cross_entropy, fit_temperature
from kikuchipy_cnn.training.checkpoint import Checkpoint, arrays_of, fingerprint_of, restore
from kikuchipy_cnn.training.labelled import LEVELS, LabelledPatterns
from kikuchipy_cnn.training.protocol import FewShotProtocol
from kikuchipy_cnn.training.starts import Start, build_seeded, prepare_start

if TYPE_CHECKING:
    import keras


# Fewer patterns say less of the batch statistics than those that a network was pretrained on.
_PATTERNS_FOR_STATISTICS = 300
_VALIDATION_BATCH = 256
# Patterns that statistics are retaken from.
_STATISTICS_PATTERNS = 1024
_STATISTICS_BATCH = 128


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What a training has made.

    Parameters
    ----------
    bundle
        Model with the weights of the epoch of the lowest validation loss, where gains below
        *min_delta* of the protocol do not count.
    history
        For each epoch its number, from 1, the losses and accuracies on training patterns (as
        augmented, while the weights change) and validation patterns, the learning rate, and the
        seconds that it took.
    stopped
        Why it ended: ``"converged"``, ``"max_epochs"``, ``"interrupted"`` or ``"diverged"``.

    Examples
    --------
    A small network and two epochs keep the example short; it learns
    next to nothing:

    >>> from kikuchipy_cnn.training import FewShotProtocol, FewShotTrainer
    >>> from kikuchipy_cnn.training import LabelledPatterns, split_patterns
    >>> patterns = LabelledPatterns.from_simulation(
    ...     ["Ni", "W"], 20, show_progressbar=False
    ... )
    >>> split = split_patterns(patterns, n_training=12, n_validation=4)
    >>> trainer = FewShotTrainer(
    ...     "scratch",
    ...     FewShotProtocol(max_epochs=2),
    ...     architecture="tiny",
    ...     size=40,
    ... )
    >>> result = trainer.fit(
    ...     split.training, split.validation, show_progressbar=False
    ... )
    >>> result.stopped, [row["epoch"] for row in result.history]
    ('max_epochs', [1, 2])
    >>> result.best_epoch in (1, 2)
    True
    >>> result.save_history("history.csv")
    """

    bundle: ModelBundle
    history: list[dict]
    stopped: str

    @property
    def best_epoch(self) -> int:
        """Number of the epoch that the model is of, from 1."""
        return int(self.bundle.training["best_epoch"])

    def save_history(self, path: str | os.PathLike) -> None:
        """Write the history as CSV.

        Parameters
        ----------
        path
            File to write. An existing one is replaced.
        """
        write_csv(path, self.history[0], (row.values() for row in self.history))


@dataclass(frozen=True)
class FewShotTrainer:
    """Train a model on labelled patterns.

    Parameters
    ----------
    start
        What to begin with: name of a packaged model, path of a model bundle, a bundle,
        ``"scratch"``, ``"imagenet"``, or the path of a file of Keras' ImageNet weights of Xception.
    protocol
        Settings. If not given, the papers'.
    level
        What the model shall tell apart: ``"space group"``, finer, ``"phase"``, or coarser,
        ``"centring"`` or ``"Laue group"``.
    architecture, size, channels, new_head
        Network, see :func:`~kikuchipy_cnn.training.starts.prepare_start`.
    name
        Name of the new model.
    seed
        Seed of new weights, of the order of the patterns and of their augmentation. The same seed
        gives the same model on the same CPU.

    Raises
    ------
    ValueError
        If there is no such level.

    Examples
    --------
    A small network and two epochs keep the example short; it learns
    next to nothing. Begin with a packaged model instead, such as
    ``"xception_fewshot"``, and the default protocol:

    >>> from kikuchipy_cnn.training import FewShotProtocol, FewShotTrainer
    >>> from kikuchipy_cnn.training import LabelledPatterns, split_patterns
    >>> patterns = LabelledPatterns.from_simulation(
    ...     ["Ni", "W"], 20, show_progressbar=False
    ... )
    >>> split = split_patterns(patterns, n_training=12, n_validation=4)
    >>> trainer = FewShotTrainer(
    ...     "scratch",
    ...     FewShotProtocol(max_epochs=2),
    ...     architecture="tiny",
    ...     size=40,
    ... )
    >>> result = trainer.fit(
    ...     split.training, split.validation, show_progressbar=False
    ... )
    >>> result.bundle
    ModelBundle('few_shot', tiny, 40 x 40 pixels, 2 space groups: ...)
    >>> folder = result.bundle.save("my_model")

    The folder is what ``s.classify_space_group(model="my_model")`` takes.
    """

    start: str | os.PathLike | ModelBundle = "xception_fewshot"
    protocol: FewShotProtocol = field(default_factory=FewShotProtocol)
    level: str = "space group"
    architecture: str | None = None
    size: int | None = None
    channels: int | None = None
    new_head: bool = False
    name: str = "few_shot"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"level={self.level!r} must be one of {', '.join(map(repr, LEVELS))}.")

    def fit(
        self,
        training: LabelledPatterns,
        validation: LabelledPatterns,
        *,
        classes: Classes | None = None,
        work: str | os.PathLike | None = None,
        tensorboard: str | os.PathLike | None = None,
        show_progressbar: bool | None = None,
    ) -> TrainingResult:
        """Train until the validation loss falls no more.

        Parameters
        ----------
        training
            Patterns to learn from.
        validation
            Patterns that tell when to stop and which weights are best.
        classes
            Classes of the model, in their order, all of which need training patterns. If not given,
            all those of the training patterns, in ascending order.
        work
            Folder for the state after each epoch. If it holds the state of the same training, this
            goes on from there, and ends as if it had not been broken off.
        tensorboard
            Folder for logs that TensorBoard shows.
        show_progressbar
            Whether to show a progress bar with the losses. If not given, the value of
            :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

        Returns
        -------
        result
            The model and the course of the training. After Ctrl-C, or if the loss is no number any
            more, the best so far, with a warning.

        Raises
        ------
        ImportError
            If *tensorboard* is given, but the package is not installed.
        NotADirectoryError
            If *work* or *tensorboard* is a file.
        TypeError
            If patterns or classes are something else.
        ValueError
            If there are fewer than two classes, a class has no pattern, the validation set is empty
            or has other classes, *work* is of another training, or the loss is no number in the
            first epoch.
        KeyboardInterrupt
            After Ctrl-C in the first epoch, when there is nothing to return.
        """
        show_progressbar = is_progress_shown(show_progressbar)
        _check_kinds(training, validation, classes)
        _check_folders(work, tensorboard)
        if classes is None:
            classes = training.classes(self.level)
        _check_sets(training, validation, classes, self.level)
        with in_precision(self.protocol.precision):
            start = prepare_start(
                self.start,
                classes,
                architecture=self.architecture,
                size=self.size,
                channels=self.channels,
                new_head=self.new_head,
                seed=self.seed,
            )
            sets = [
                _Set.read(patterns, classes, self.level, start, show_progressbar)
                for patterns in (training, validation)
            ]
            _check_classes(*sets, classes)
            run = _Run(self.protocol, start, *sets, len(classes), self.seed, work)
            stopped = run.train(tensorboard, show_progressbar)
        return self._result(run, start, classes, stopped)

    def _result(
        self,
        run: _Run,
        start: Start,
        classes: Classes,
        stopped: str,
    ) -> TrainingResult:
        # Mixed precision is for training only.
        with in_precision("float32"):
            _, size, _, channels = start.network.input_shape
            network = build_seeded(start.architecture, size, channels, len(classes), self.seed)
        network.set_weights(run.best_weights)
        counts = run.training.patterns.counts()
        earlier = None if start.materials is None else sorted(map(list, start.materials))
        record = {
            "start": start.description,
            "start_materials": earlier,
            "protocol": self.protocol.to_dict() | {"statistics": run.statistics},
            "level": self.level,
            "seed": self.seed,
            "epochs": len(run.history),
            "best_epoch": run.best_epoch,
            "stopped": stopped,
            "validation_loss": run.best_loss,
            "materials": [list(key) for key in counts],
            "training_patterns": list(counts.values()),
            "validation_patterns": len(run.validation.labels),
        }
        logits = _logits(network, run.validation.images)
        bundle = ModelBundle(
            self.name,
            start.architecture,
            network,
            classes,
            start.transform,
            temperature=fit_temperature(logits, run.validation.labels),
            training=record,
        )
        bundle.card = write_card(bundle, run.history)
        return TrainingResult(bundle, run.history, stopped)


@dataclass(frozen=True, eq=False)
class _Set:
    """Patterns, as the network takes them, and the indices of their classes."""

    patterns: LabelledPatterns
    images: np.ndarray
    labels: np.ndarray

    @classmethod
    def read(
        cls,
        patterns: LabelledPatterns,
        classes: Classes,
        level: str,
        start: Start,
        show_progressbar: bool,
    ) -> _Set:
        images, valid = patterns.images(start.transform, show_progressbar=show_progressbar)
        indices = {label: i for i, label in enumerate(classes.labels)}
        labels = np.array([indices[label] for label in patterns.labels(level).tolist()])
        if not valid.all():
            # Only here: it copies the images.
            patterns, images, labels = patterns.take(valid), images[valid], labels[valid]
        return cls(patterns, images, labels)


class _Run:
    """One training: network, data and where it stands."""

    def __init__(
        self,
        protocol: FewShotProtocol,
        start: Start,
        training: _Set,
        validation: _Set,
        n_classes: int,
        seed: int,
        work: str | os.PathLike | None,
    ) -> None:
        self.protocol, self.training, self.validation = protocol, training, validation
        self.seed, self.transform = seed, start.transform
        self.history: list[dict] = []
        self.best_loss, self.best_epoch, self.best_weights = np.inf, 0, None
        self._epoch_on_disk = 0
        self.checkpoint, self._has_warned = None, False
        if work is not None:
            self.checkpoint = Checkpoint(work, self._fingerprint(start))
        self.targets = np.eye(n_classes, dtype=np.float32)
        counts = np.bincount(training.labels, minlength=n_classes)
        self.class_weights = np.ones(n_classes, np.float32)
        if protocol.balanced:
            self.class_weights = (len(training.labels) / n_classes / counts).astype(np.float32)
        self.statistics = protocol.statistics
        if self.statistics is None:
            few = start.knows_patterns and len(training.labels) < _PATTERNS_FOR_STATISTICS
            self.statistics = "frozen" if few else "retaken"
        self.network = self._compiled(start)
        self._batch_statistics = BatchStatistics(self.network)

    def train(self, tensorboard: str | os.PathLike | None, show_progressbar: bool) -> str:
        """Go on until the end, and return why it ended."""
        self._resume()
        logger = _tensorboard(tensorboard, self.network)
        with tqdm(
            total=self.protocol.max_epochs,
            initial=len(self.history),
            unit="epoch",
            disable=not show_progressbar,
        ) as progressbar:
            try:
                while not self._is_finished():
                    row = self._train_epoch()
                    if not (np.isfinite(row["loss"]) and np.isfinite(row["val_loss"])):
                        return self._diverged(row)
                    self._record(row)
                    if logger is not None:
                        logger.on_epoch_end(row["epoch"], row)
                    progressbar.update()
                    progressbar.set_postfix(
                        {key: f"{row[key]:.3f}" for key in ("loss", "val_loss", "val_accuracy")}
                    )
            except KeyboardInterrupt:
                if self.best_weights is None:
                    raise
                warnings.warn(
                    f"Interrupted after epoch {len(self.history)}. The model is that of epoch "
                    f"{self.best_epoch}, the best so far.",
                    stacklevel=3,
                )
                return "interrupted"
            finally:
                if logger is not None:
                    logger.on_train_end()
        return "converged" if self._has_converged() else "max_epochs"

    def _compiled(self, start: Start) -> keras.Model:
        import keras

        protocol = self.protocol
        network = with_fused_normalisation(start.network)
        if self.statistics == "frozen" and not start.knows_patterns:
            raise ValueError(
                "statistics='frozen' needs a network that has learned from patterns; that of "
                f"{start.description['weights']!r} has no statistics of them. Give 'retaken'."
            )
        for layer in network.layers[:-1]:
            is_normalisation = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = protocol.trainable == "all" and not (
                is_normalisation and self.statistics == "frozen"
            )
        network.compile(
            optimizer=keras.optimizers.Adam(
                protocol.learning_rate, weight_decay=protocol.weight_decay
            ),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            weighted_metrics=["accuracy"],
            jit_compile=jit_compile(),
        )
        network.optimizer.build(network.trainable_variables)
        return network

    def _train_epoch(self) -> dict:
        started = time.perf_counter()
        epoch = len(self.history)
        rate = self.protocol.rate(epoch)
        self.network.optimizer.learning_rate = rate
        # Loss and accuracy of the batches, weighted by their sizes.
        total, n = np.zeros(2), 0
        for images, labels in in_background(self._batches(epoch, self.protocol.batch_size)):
            # Older versions of Keras return means since the last reset.
            self.network.reset_metrics()
            values = self.network.train_on_batch(
                _as_input(self.network, images),
                self.targets[labels],
                self.class_weights[labels],
            )
            total += np.array(values, float) * len(labels)
            n += len(labels)
            if not np.isfinite(total[0]):
                break
        if self.statistics == "retaken" and np.isfinite(total[0]):
            large = self._batches(epoch, _STATISTICS_BATCH, _STATISTICS_PATTERNS)
            self._batch_statistics.retake(_as_input(self.network, images) for images, _ in large)
        logits = _logits(self.network, self.validation.images)
        labels = self.validation.labels
        finite = np.isfinite(logits).all()
        return {
            "epoch": epoch + 1,
            "loss": float(total[0] / n),
            "accuracy": float(total[1] / n),
            "val_loss": cross_entropy(logits, labels) if finite else float("nan"),
            "val_accuracy": float((logits.argmax(axis=1) == labels).mean()),
            "learning_rate": rate,
            "seconds": time.perf_counter() - started,
        }

    def _batches(
        self, epoch: int, size: int, most: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches in an order that follows from seed and epoch alone, of the first patterns."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.training.labels))[:most]
        # Of nearly the same size: batch statistics of a small rest would be wild.
        for chosen in np.array_split(order, math.ceil(len(order) / size)):
            images = self.training.images[chosen]
            yield (
                self.protocol.augmentation(images, self.transform, rng),
                self.training.labels[chosen],
            )

    def _record(self, row: dict) -> None:
        self.history.append(row)
        if row["val_loss"] < self.best_loss - self.protocol.min_delta:
            # First: Ctrl-C may come in between.
            self.best_weights = self.network.get_weights()
            self.best_loss, self.best_epoch = row["val_loss"], row["epoch"]
        self._save()

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        description = {
            "history": self.history,
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
        }
        try:
            # Not only in its own epoch, in which the disk may have been full.
            if self.best_epoch != self._epoch_on_disk:
                self.checkpoint.save_best(self.best_weights)
                self._epoch_on_disk = self.best_epoch
            self.checkpoint.save(description, arrays_of(self.network))
        except OSError as error:
            if not self._has_warned:
                warnings.warn(
                    f"The state of epoch {len(self.history)} cannot be written to "
                    f"'{self.checkpoint.folder}' ({error}). The training goes on; an earlier "
                    "state is kept. Make room on the disk.",
                    stacklevel=5,
                )
            self._has_warned = True

    def _resume(self) -> None:
        state = None if self.checkpoint is None else self.checkpoint.load()
        if state is None:
            return
        description, arrays = state
        restore(self.network, arrays)
        self.history = description["history"]
        self.best_loss, self.best_epoch = description["best_loss"], description["best_epoch"]
        self.best_weights = self.checkpoint.load_best()
        self._epoch_on_disk = self.best_epoch

    def _has_converged(self) -> bool:
        return len(self.history) - self.best_epoch >= self.protocol.patience

    def _is_finished(self) -> bool:
        return self._has_converged() or len(self.history) >= self.protocol.max_epochs

    def _diverged(self, row: dict) -> str:
        advice = (
            f"The loss is {row['loss']} and the validation loss {row['val_loss']} in epoch "
            f"{row['epoch']}. Try a lower learning rate than {self.protocol.learning_rate}, or "
            f"precision 'float32' if it is another (it is {self.protocol.precision!r})."
        )
        if self.best_weights is None:
            raise ValueError(advice)
        warnings.warn(
            f"{advice} The model is that of epoch {self.best_epoch}, the best before.", stacklevel=4
        )
        return "diverged"

    def _fingerprint(self, start: Start) -> str:
        settings = {
            "protocol": self.protocol.to_dict(),
            "architecture": start.architecture,
            "transform": start.transform.to_dict(),
            "seed": self.seed,
        }
        data = [
            *(self.training.images, self.training.labels),
            *(self.validation.images, self.validation.labels),
        ]
        return fingerprint_of([settings, *start.network.get_weights(), *data])


def _check_sets(
    training: LabelledPatterns,
    validation: LabelledPatterns,
    classes: Classes,
    level: str,
) -> None:
    if len(validation) == 0:
        raise ValueError(
            "The validation set is empty, but it tells when to stop. Keep some patterns of each "
            "class for it."
        )
    known = set(classes.labels)
    for name, patterns in (("training", training), ("validation", validation)):
        found = set(patterns.labels(level).tolist())
        if found - known:
            raise ValueError(
                f"The {name} patterns are of the {level}s {sorted(found - known)}, which are not "
                f"among the classes {sorted(known)}."
            )
        if name == "training" and known - found:
            raise ValueError(
                f"There is no training pattern of {sorted(known - found)}. Add some, or leave the "
                "class away."
            )


def _as_input(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Grey patterns in as many equal channels as a network takes."""
    return np.repeat(images, network.input_shape[-1], axis=-1)


def _logits(network: keras.Model, images: np.ndarray) -> np.ndarray:
    parts = [
        np.asarray(
            network.predict_on_batch(_as_input(network, images[i : i + _VALIDATION_BATCH])),
            np.float64,
        )
        for i in range(0, len(images), _VALIDATION_BATCH)
    ]
    return np.concatenate(parts)


def _check_kinds(training: object, validation: object, classes: object) -> None:
    for name, patterns in (("training", training), ("validation", validation)):
        if not isinstance(patterns, LabelledPatterns):
            raise TypeError(
                f"The {name} patterns are {type(patterns).__name__}, not LabelledPatterns. "
                "LabelledPatterns.from_signals() makes them from signals."
            )
    if classes is not None and not isinstance(classes, Classes):
        raise TypeError(f"classes={classes!r} must be SpaceGroupClasses or LabelClasses.")


def _check_folders(work: str | os.PathLike | None, tensorboard: str | os.PathLike | None) -> None:
    """What would fail after all patterns are read fails before."""
    if tensorboard is not None and find_spec("tensorboard") is None:
        raise ImportError(
            "Logs for TensorBoard need the package tensorboard: pip install tensorboard."
        )
    for folder in (work, tensorboard):
        if folder is None:
            continue
        if Path(folder).exists() and not Path(folder).is_dir():
            raise NotADirectoryError(f"'{folder}' is a file. Give a folder.")
        Path(folder).mkdir(parents=True, exist_ok=True)


def _check_classes(training: _Set, validation: _Set, classes: Classes) -> None:
    """Some patterns may have been constant."""
    for name, part in (("training", training), ("validation", validation)):
        missing = [label for i, label in enumerate(classes.labels) if not (part.labels == i).any()]
        if len(missing) == len(classes) or (missing and name == "training"):
            raise ValueError(
                f"No {name} pattern of {missing} is left: all are constant or not finite. Add some."
            )
        if missing:
            warnings.warn(
                f"There is no validation pattern of {missing}: nothing tells how well the model "
                "does there. Add some.",
                stacklevel=3,
            )


def _tensorboard(folder: str | os.PathLike | None, network: keras.Model):
    """Keras' own writer of logs, or None."""
    if folder is None:
        return None
    import keras

    logger = keras.callbacks.TensorBoard(str(Path(folder)), write_graph=False)
    logger.set_model(network)
    logger.on_train_begin()
    return logger
