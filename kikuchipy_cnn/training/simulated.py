"""Training on simulated patterns, every one of them new."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from kikuchipy_cnn._background import in_background
from kikuchipy_cnn.preprocessing import PatternTransform
from kikuchipy_cnn.simulation.sampler import PatternSampler

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class SimulatedTraining:
    """Protocol of a training run on simulated patterns.

    The optimiser is AdamW (Loshchilov and Hutter, ICLR 2019). Its learning rate rises linearly,
    then falls as a cosine. The imperfections of the patterns grow from a fraction to their full range.

    Parameters
    ----------
    n_steps
        Number of batches.
    batch_size
        Patterns in a batch.
    learning_rate
        Highest learning rate.
    warm_up
        Fraction of the steps in which the learning rate rises.
    weight_decay
        Decoupled weight decay.
    label_smoothing
        Probability spread evenly over all classes in the targets.
    first_severity
        Fraction of the imperfections' range at the start.
    ramp
        Fraction of the steps in which imperfections grow to their full range.
    """

    n_steps: int
    batch_size: int = 128
    learning_rate: float = 2e-3
    warm_up: float = 0.05
    weight_decay: float = 1e-4
    label_smoothing: float = 0.05
    first_severity: float = 0.3
    ramp: float = 0.4

    def to_dict(self) -> dict:
        """Return the parameters, ready for JSON."""
        return asdict(self)

    def severity(self, step: int) -> float:
        """Fraction of the imperfections' range at a step."""
        progress = min(1.0, step / max(1.0, self.ramp * self.n_steps))
        return self.first_severity + (1 - self.first_severity) * progress


def train_on_simulations(
    network: keras.Model,
    sampler: PatternSampler,
    labels: Sequence[int],
    transform: PatternTransform,
    protocol: SimulatedTraining,
    *,
    after_step: Callable[[int, float], None] | None = None,
    show_progressbar: bool = True,
) -> np.ndarray:
    """Train a network on simulated patterns.

    Patterns are simulated in a second thread while the network learns.

    Parameters
    ----------
    network
        Keras model from preprocessed patterns to logits. It is trained in place.
    sampler
        Source of patterns, of the size of the transform.
    labels
        Class of each of the sampler's master patterns, of shape (phases,).
    transform
        Preprocessing.
    protocol
        Length and settings of the training.
    after_step
        Called with the number of steps done and the last loss, to log, evaluate or save.
    show_progressbar
        Whether to show a progress bar with the loss.

    Returns
    -------
    losses
        Loss of each batch, of shape (n_steps,).

    Raises
    ------
    ValueError
        If sampler, transform and network do not fit together, or a loss is not finite.
    """
    import keras

    n_classes = network.output_shape[-1]
    labels = np.asarray(labels)
    if sampler.size != transform.size or network.input_shape[1] != transform.size:
        raise ValueError(
            f"The sampler gives {sampler.size}, the transform {transform.size} and the network "
            f"takes {network.input_shape[1]} pixels; all must be the same."
        )
    if labels.shape != sampler.probabilities.shape or labels.max() >= n_classes:
        raise ValueError(
            f"{labels.size} labels up to {labels.max()} do not fit {sampler.probabilities.size} "
            f"master patterns and {n_classes} classes."
        )
    warm_up = max(1, int(protocol.warm_up * protocol.n_steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, protocol.n_steps - warm_up),
        alpha=0.005,
        warmup_target=protocol.learning_rate,
        warmup_steps=warm_up,
    )
    network.compile(
        optimizer=keras.optimizers.AdamW(
            schedule, weight_decay=protocol.weight_decay, global_clipnorm=2.0
        ),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=protocol.label_smoothing
        ),
        jit_compile=False,
    )
    targets = np.eye(n_classes, dtype=np.float32)[labels]
    losses = np.zeros(protocol.n_steps)
    with tqdm(total=protocol.n_steps, unit="step", disable=not show_progressbar) as progressbar:
        batches = in_background(_batches(sampler, transform, protocol))
        for step, (images, phases) in enumerate(batches):
            images = np.repeat(images[..., None], network.input_shape[-1], axis=-1)
            loss = float(network.train_on_batch(images, targets[phases]))
            if not np.isfinite(loss):
                raise ValueError(
                    f"The loss is {loss} after {step + 1} steps. Lower the learning rate, now "
                    f"{protocol.learning_rate}."
                )
            losses[step] = loss
            progressbar.update()
            progressbar.set_postfix(loss=f"{losses[max(0, step - 99) : step + 1].mean():.3f}")
            if after_step is not None:
                after_step(step + 1, loss)
    return losses


def _batches(
    sampler: PatternSampler, transform: PatternTransform, protocol: SimulatedTraining
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield preprocessed patterns and the indices of their phases."""
    full = sampler.disturbances
    for step in range(protocol.n_steps):
        sampler.disturbances = full.scaled(protocol.severity(step))
        patterns, weights, phases = sampler.sample(protocol.batch_size)
        yield transform.standardise(patterns, weights), phases
    sampler.disturbances = full
