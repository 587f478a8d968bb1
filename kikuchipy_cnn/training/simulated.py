"""Training on simulated patterns, every one of them new."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from kikuchipy_cnn._background import in_background
from kikuchipy_cnn.models.acceleration import jit_compile
from kikuchipy_cnn.preprocessing import PatternTransform
from kikuchipy_cnn.simulation.sampler import PatternSampler
from kikuchipy_cnn.training.crystal_geometry import band_and_zone_targets, with_geometry_head

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class SimulatedTraining:
    """Protocol of a training run on simulated patterns.

    The optimiser is AdamW (Loshchilov and Hutter, ICLR 2019). Its learning rate rises linearly,
    then falls as a cosine. The patterns are clean at first, with the projection center in its
    middle; imperfections and geometry then grow to their full range. Beside the space group the
    network learns which bands and zone axes are where (see
    :mod:`~kikuchipy_cnn.training.crystal_geometry`).

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
    severities
        Fraction of the range of imperfections and geometry at the start and at the end.
    easy
        Fraction of the steps with the first severity.
    ramp
        Fraction of the steps, after these, in which the severity grows to the last one.
    geometry_weight
        Weight of the loss of bands and zone axes. 0 leaves this task out, which is right where not
        all phases are of point group m-3m, whose bands are asked for.

    Raises
    ------
    ValueError
        If there are no steps or patterns, a severity is not in [0, 1], or there is no ramp.
    """

    n_steps: int
    batch_size: int = 128
    learning_rate: float = 2e-3
    warm_up: float = 0.05
    weight_decay: float = 1e-4
    label_smoothing: float = 0.05
    severities: tuple[float, float] = (0.02, 1.0)
    easy: float = 0.1
    ramp: float = 0.6
    geometry_weight: float = 4.0

    def __post_init__(self) -> None:
        if self.n_steps < 1 or self.batch_size < 1:
            raise ValueError(
                f"{self.n_steps} steps of {self.batch_size} patterns; give at least 1 of each."
            )
        if not all(0 <= severity <= 1 for severity in self.severities):
            raise ValueError(f"severities={self.severities} must be in [0, 1].")
        if not self.ramp > 0:
            raise ValueError(f"ramp={self.ramp} must be above 0.")

    def to_dict(self) -> dict:
        """Return the parameters, ready for JSON."""
        return asdict(self)

    def severity(self, step: int) -> float:
        """Fraction of the imperfections' range at a step."""
        progress = np.clip((step / self.n_steps - self.easy) / self.ramp, 0, 1)
        first, last = self.severities
        return float(first + (last - first) * progress)


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
    rows, columns = sampler.shape
    if not rows == columns == transform.size == network.input_shape[1]:
        raise ValueError(
            f"The sampler gives {rows} x {columns}, the transform {transform.size} and the network "
            f"takes {network.input_shape[1]} pixels; all must be the same."
        )
    outside = labels.min() < 0 or labels.max() >= n_classes
    if labels.shape != sampler.probabilities.shape or outside:
        raise ValueError(
            f"{labels.size} labels from {labels.min()} to {labels.max()} do not fit "
            f"{sampler.probabilities.size} master patterns and {n_classes} classes."
        )
    warm_up = max(1, int(protocol.warm_up * protocol.n_steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, protocol.n_steps - warm_up),
        alpha=0.005,
        warmup_target=protocol.learning_rate,
        warmup_steps=warm_up,
    )
    losses_of_heads = [
        keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=protocol.label_smoothing
        )
    ]
    trained, n_cells, weights_of_heads = network, None, [1.0]
    if protocol.geometry_weight > 0:
        trained, n_cells = with_geometry_head(network)
        losses_of_heads.append(keras.losses.BinaryCrossentropy(from_logits=True))
        weights_of_heads.append(protocol.geometry_weight)
    trained.compile(
        optimizer=keras.optimizers.AdamW(
            schedule, weight_decay=protocol.weight_decay, global_clipnorm=2.0
        ),
        loss=losses_of_heads,
        loss_weights=weights_of_heads,
        jit_compile=jit_compile(),
    )
    targets = np.eye(n_classes, dtype=np.float32)[labels]
    losses = np.zeros(protocol.n_steps)
    with tqdm(total=protocol.n_steps, unit="step", disable=not show_progressbar) as progressbar:
        batches = in_background(_batches(sampler, transform, protocol, n_cells))
        for step, (images, phases, geometry) in enumerate(batches):
            images = np.repeat(images[..., None], network.input_shape[-1], axis=-1)
            expected = targets[phases] if geometry is None else [targets[phases], geometry]
            loss = float(np.ravel(trained.train_on_batch(images, expected))[0])
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
    sampler: PatternSampler,
    transform: PatternTransform,
    protocol: SimulatedTraining,
    n_cells: int | None,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Yield preprocessed patterns, the indices of their phases, and their bands and zone axes."""
    full = sampler.disturbances
    try:
        for step in range(protocol.n_steps):
            sampler.disturbances = full.scaled(protocol.severity(step))
            sample = sampler.sample(protocol.batch_size)
            geometry = None
            if n_cells is not None:
                geometry = band_and_zone_targets(sample.rotations, sample.geometry, n_cells)
            yield transform.standardise(sample.patterns, sample.weights), sample.phases, geometry
    finally:
        sampler.disturbances = full
