# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of few-shot training."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field

import numpy as np

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn.training.augmentation import Augmentation

SCHEDULES = ("constant", "cosine")
TRAINABLE = ("all", "head")
STATISTICS = ("moving", "retaken", "frozen")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# Of the learning rate at the end of the cosine schedule.
_LAST_RATE = 0.01


@dataclass(frozen=True)
class FewShotProtocol:
    """How to train on a few hundred patterns.

    The optimiser is Adam (Kingma and Ba, ICLR 2015), and the defaults are those of Kaufmann et al.,
    Sci. Rep. 11 (2021) 8172, but for the *statistics*.

    Parameters
    ----------
    learning_rate
        Learning rate, at first.
    schedule
        ``"constant"``, or ``"cosine"``, which falls to a hundredth over *max_epochs*.
    weight_decay
        Decoupled weight decay.
    batch_size
        Patterns in a batch.
    max_epochs
        Most passes over the training patterns.
    patience
        Epochs without a better validation loss after which the training stops.
    min_delta
        Decrease of the validation loss that counts as better.
    balanced
        Whether each class counts the same, however many patterns it has.
    trainable
        ``"all"`` weights, or only those of the last layer, ``"head"``.
    statistics
        What normalisations take for mean and variance when the network is used: ``"moving"``
        averages, as Keras does and the papers did; ``"retaken"`` after each epoch (see
        :class:`~kikuchipy_cnn.models.statistics.BatchStatistics`), so that validation losses show
        what was learned; or ``"frozen"``, those of the pretrained network, whose normalisations
        then stay as they are. If not given, they are frozen if a pretrained network has fewer than
        300 patterns to train on, and retaken otherwise.
    augmentation
        Random changes of the training patterns.
    precision
        Keras' data type policy: ``"float32"``, ``"mixed_bfloat16"``, which is faster on GPUs and on
        recent processors, or ``"mixed_float16"``.

    Raises
    ------
    ValueError
        If a value makes no sense.

    Examples
    --------
    >>> from kikuchipy_cnn.training import Augmentation, FewShotProtocol
    >>> protocol = FewShotProtocol(
    ...     learning_rate=3e-4,
    ...     schedule="cosine",
    ...     max_epochs=8,
    ...     augmentation=Augmentation(mirror=True),
    ... )
    >>> protocol.batch_size, protocol.patience
    (32, 15)
    >>> [round(1e4 * protocol.rate(epoch), 2) for epoch in (0, 8)]
    [3.0, 0.03]
    """

    learning_rate: float = 1e-3
    schedule: str = "constant"
    weight_decay: float = 1e-5
    batch_size: int = 32
    max_epochs: int = 200
    patience: int = 15
    min_delta: float = 1e-3
    balanced: bool = True
    trainable: str = "all"
    statistics: str | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    precision: str = "float32"

    def __post_init__(self) -> None:
        choices = {
            "schedule": SCHEDULES,
            "precision": PRECISIONS,
            "trainable": TRAINABLE,
            "statistics": (None, *STATISTICS),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} must be one of {', '.join(map(repr, known))}."
                )
        for name in ("batch_size", "max_epochs", "patience"):
            check_integer(name, getattr(self, name), 1)
        for name in ("weight_decay", "min_delta"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative.")
        if not 0 < self.learning_rate < np.inf:
            raise ValueError(f"learning_rate={self.learning_rate} must be positive.")

    def to_dict(self) -> dict:
        """Return the parameters, ready for JSON.

        Returns
        -------
        parameters
            Values by name, those of the augmentation as a dictionary.
        """
        return asdict(self)

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch.

        Parameters
        ----------
        epoch
            Number of the epoch, from 0.

        Returns
        -------
        rate
            Learning rate by the schedule.
        """
        if self.schedule == "constant":
            return self.learning_rate
        cosine = 0.5 * (1 + math.cos(math.pi * epoch / self.max_epochs))
        return self.learning_rate * (_LAST_RATE + (1 - _LAST_RATE) * cosine)
