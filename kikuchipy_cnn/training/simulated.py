# SPDX-License-Identifier: GPL-3.0-or-later

"""Training on simulated patterns, every one of them new."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from kikuchipy_cnn._prefetching import in_background
from kikuchipy_cnn._progress import is_progress_shown
from kikuchipy_cnn.models.acceleration import jit_compile
from kikuchipy_cnn.preprocessing import PatternTransform
from kikuchipy_cnn.simulation.sampler import PatternSampler, SimulatedPatterns
from kikuchipy_cnn.training.band_profiles import band_profiles, profile_targets
from kikuchipy_cnn.training.checkpoint import Checkpoint, arrays_of, fingerprint_of, restore
from kikuchipy_cnn.training.crystal_geometry import band_and_zone_targets, with_training_heads

if TYPE_CHECKING:
    import keras

_SAVE_EVERY = 250
_N_PROFILE = 12


@dataclass(frozen=True)
class SimulatedTraining:
    """Protocol of a training run on simulated patterns.

    The optimiser is AdamW (Loshchilov and Hutter, ICLR 2019). Its learning rate rises linearly,
    then falls as a cosine. The patterns are clean at first, with the projection center in its
    middle; imperfections and geometry then grow to their full range. A batch consists of parts from
    cameras of different quality, each without some of the imperfections. Beside the space group
    the network learns which bands and zone axes are where (see
    :mod:`~kikuchipy_cnn.training.crystal_geometry`) and what the phase's bands look like (see
    :mod:`~kikuchipy_cnn.training.band_profiles`).

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
    parts
        Number of parts of a batch. The severity of the imperfections of each is drawn evenly
        between the first one and the present one.
    thinning
        Probability with which each imperfection is left out of a part, see
        :meth:`Disturbances.thinned() <kikuchipy_cnn.simulation.Disturbances.thinned>`.
    geometry_weight
        Weight of the loss of bands and zone axes. 0 leaves this task out, which is right where not
        all phases are of point group m-3m, whose bands are asked for.
    profile_weight
        Weight of the loss of the phase's profile, which is of point group m-3m, too; without effect
        where *geometry_weight* is 0.
    seed
        Seed of the patterns.

    Raises
    ------
    ValueError
        If there are no steps or patterns, parts do not divide a batch, a severity is not in [0,
        1], or there is no ramp.
    """

    n_steps: int
    batch_size: int = 128
    learning_rate: float = 2e-3
    warm_up: float = 0.05
    weight_decay: float = 1e-4
    label_smoothing: float = 0.05
    severities: tuple[float, float] = (0.02, 1.0)
    easy: float = 0.1
    ramp: float = 0.4
    parts: int = 4
    thinning: float = 0.4
    geometry_weight: float = 4.0
    profile_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_steps < 1 or self.batch_size < 1:
            raise ValueError(
                f"{self.n_steps} steps of {self.batch_size} patterns; give at least 1 of each."
            )
        if self.parts < 1 or self.batch_size % self.parts:
            raise ValueError(f"{self.parts} parts do not divide {self.batch_size} patterns.")
        if not all(0 <= severity <= 1 for severity in self.severities):
            raise ValueError(f"severities={self.severities} must be in [0, 1].")
        if not 0 <= self.thinning <= 1:
            raise ValueError(f"thinning={self.thinning} must be in [0, 1].")
        if not self.ramp > 0:
            raise ValueError(f"ramp={self.ramp} must be above 0.")

    def to_dict(self) -> dict:
        """Return the parameters, ready for JSON."""
        return asdict(self)

    def severity(self, step: int) -> float:
        """Largest fraction of the imperfections' range at a step."""
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
    state_folder: str | os.PathLike | None = None,
    after_step: Callable[[int, float], None] | None = None,
    show_progressbar: bool | None = None,
) -> np.ndarray:
    """Train a network on simulated patterns.

    Patterns are simulated in a second thread while the network learns.

    Parameters
    ----------
    network
        Keras model from preprocessed patterns to logits. It is trained in place.
    sampler
        Source of patterns, of the size of the transform. Their seed is that of the protocol, and
        the sampler's random numbers are started anew.
    labels
        Class of each of the sampler's master patterns, of shape (phases,).
    transform
        Preprocessing.
    protocol
        Length and settings of the training.
    state_folder
        Folder for the state of the training, written every 250 steps. Where there is one of the
        same training, that training goes on. If not given, a kill loses everything.
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
        If sampler, transform and network do not fit together, a loss is not finite, or the folder
        holds the state of another training.
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
    trained, n_cells, profiles, weights_of_heads = network, None, None, [1.0]
    if protocol.geometry_weight > 0:
        if protocol.profile_weight > 0:
            profiles = profile_targets(
                band_profiles(sampler.master_patterns), sampler.probabilities, _N_PROFILE
            )
            losses_of_heads.append(keras.losses.MeanSquaredError())
            weights_of_heads.append(protocol.profile_weight)
        trained, n_cells = with_training_heads(
            network, 0 if profiles is None else profiles.shape[1]
        )
        losses_of_heads.insert(1, keras.losses.BinaryCrossentropy(from_logits=True))
        weights_of_heads.insert(1, protocol.geometry_weight)
    trained.compile(
        optimizer=keras.optimizers.AdamW(
            schedule, weight_decay=protocol.weight_decay, global_clipnorm=2.0
        ),
        loss=losses_of_heads,
        loss_weights=weights_of_heads,
        jit_compile=jit_compile(),
    )
    targets = np.eye(n_classes, dtype=np.float32)[labels]
    settings = {
        "protocol": protocol.to_dict(),
        "transform": transform.to_dict(),
        "disturbances": asdict(sampler.disturbances),
    }
    data = [labels, sampler.probabilities, sampler.master_patterns, *network.get_weights()]
    state = _State(trained, state_folder, protocol.n_steps, [settings, *data])
    losses = state.losses
    with (
        tqdm(
            total=protocol.n_steps,
            initial=state.step,
            unit="step",
            disable=not is_progress_shown(show_progressbar),
        ) as progressbar,
        # After an error, too, the sampler gets its own disturbances back.
        closing(
            in_background(_batches(sampler, transform, protocol, n_cells, state.step))
        ) as batches,
    ):
        for images, phases, geometry in batches:
            images = np.repeat(images[..., None], network.input_shape[-1], axis=-1)
            expected = [targets[phases]]
            if geometry is not None:
                expected.append(geometry)
            if profiles is not None:
                expected.append(profiles[phases])
            expected = expected if len(expected) > 1 else expected[0]
            loss = float(np.ravel(trained.train_on_batch(images, expected))[0])
            if not np.isfinite(loss):
                raise ValueError(
                    f"The loss is {loss} after {state.step + 1} steps. Lower the learning rate, "
                    f"now {protocol.learning_rate}."
                )
            state.add(loss)
            progressbar.update()
            progressbar.set_postfix(
                loss=f"{losses[max(0, state.step - 100) : state.step].mean():.3f}"
            )
            if after_step is not None:
                after_step(state.step, loss)
    return losses


class _State:
    """How far a training is, on disk as well where there is a folder.

    Parameters
    ----------
    trained
        Compiled model, brought to where the training was left.
    folder
        Folder of the state, or None.
    n_steps
        Number of batches in all.
    identity
        What decides on the course of the training.
    """

    def __init__(
        self,
        trained: keras.Model,
        folder: str | os.PathLike | None,
        n_steps: int,
        identity: list[dict | np.ndarray],
    ) -> None:
        self._trained, self.step = trained, 0
        self.losses = np.zeros(n_steps)
        self._checkpoint = None
        trained.optimizer.build(trained.trainable_variables)
        if folder is None:
            return
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._checkpoint = Checkpoint(folder, fingerprint_of(identity))
        found = self._checkpoint.load()
        if found is not None:
            description, arrays = found
            restore(trained, arrays)
            self.step = description["step"]
            self.losses[: self.step] = description["losses"]

    def add(self, loss: float) -> None:
        """Note a step, and save now and then and at the end."""
        self.losses[self.step] = loss
        self.step += 1
        if self._checkpoint is None:
            return
        if self.step % _SAVE_EVERY == 0 or self.step == len(self.losses):
            description = {"step": self.step, "losses": self.losses[: self.step].tolist()}
            self._checkpoint.save(description, arrays_of(self._trained))


def _batches(
    sampler: PatternSampler,
    transform: PatternTransform,
    protocol: SimulatedTraining,
    n_cells: int | None,
    first_step: int,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Yield preprocessed patterns, the indices of their phases, and their bands and zone axes."""
    full = sampler.disturbances
    try:
        for step in range(first_step, protocol.n_steps):
            # A training that goes on after a pause sees the same patterns.
            rng = np.random.default_rng([protocol.seed, step])
            sampler.reseed([protocol.seed, step, 1])
            samples, worst = [], full.scaled(protocol.severity(step))
            least = min(1.0, protocol.severities[0] / max(protocol.severity(step), 1e-9))
            for _ in range(protocol.parts):
                # All parts have the same range of geometry.
                part = worst.scaled(rng.uniform(least, 1), geometry=False)
                sampler.disturbances = part.thinned(protocol.thinning, rng)
                samples.append(sampler.sample(protocol.batch_size // protocol.parts))
            joined = (np.concatenate(parts) for parts in zip(*samples, strict=True))
            sample = SimulatedPatterns(*joined)
            geometry = None
            if n_cells is not None:
                geometry = band_and_zone_targets(sample.rotations, sample.geometry, n_cells)
            yield transform.standardise(sample.patterns, sample.weights), sample.phases, geometry
    finally:
        sampler.disturbances = full
