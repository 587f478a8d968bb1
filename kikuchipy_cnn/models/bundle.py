# SPDX-License-Identifier: GPL-3.0-or-later

"""Model bundles: a folder of data, never code.

A bundle holds ``bundle.json`` (architecture, classes, preprocessing, calibration), ``weights.npz``
(arrays in the order of the network's weights, floating point numbers of 16 bits), ``card.md``
(data, protocol, figures, limits) and, where the model knows other phases from its own,
``detector.npz``. The JSON file holds the SHA-256 of the others.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import softmax

from kikuchipy_cnn.label_classes import LabelClasses, classes_from_dict
from kikuchipy_cnn.models._folder import (
    CARD,
    BundleError,
    with_description,
    write_folder,
)
from kikuchipy_cnn.models.acceleration import in_precision
from kikuchipy_cnn.models.architectures import build_network
from kikuchipy_cnn.models.folding import with_features
from kikuchipy_cnn.preprocessing import PatternTransform
from kikuchipy_cnn.space_groups import SpaceGroupClasses
from kikuchipy_cnn.uncertainty.rejection import Detector, Rejection

if TYPE_CHECKING:
    import keras

    from kikuchipy_cnn.models.ensemble import Ensemble

_WEIGHTS, _DETECTOR = "weights.npz", "detector.npz"


class Outputs(NamedTuple):
    """What a model says of patterns.

    Parameters
    ----------
    probabilities
        Calibrated probabilities of shape (n, classes) and data type float32.
    kinds
        Probabilities of a known phase, another phase and no pattern, of shape (n, 3). None if the
        model does not tell.
    mutual_information
        What the members of an ensemble do not agree on, of shape (n,), see
        :func:`~kikuchipy_cnn.uncertainty.mutual_information`. None if there is one network only.
    spread
        Standard deviation of the winner's probability over the members, of shape (n,), or None.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> model = kikuchipy_cnn.load_model("fast_fewshot")
    >>> patterns = kp.data.nickel_ebsd_small().data.reshape(-1, 60, 60)
    >>> outputs = model.outputs(model.transform(patterns)[0])
    >>> outputs.probabilities.shape, outputs.kinds.shape
    ((9, 6), (9, 3))
    >>> outputs.spread is None
    True
    """

    probabilities: np.ndarray
    kinds: np.ndarray | None = None
    mutual_information: np.ndarray | None = None
    spread: np.ndarray | None = None


@dataclass
class ModelBundle:
    """A network with everything that is needed to use it.

    Parameters
    ----------
    name
        Name of the model.
    architecture
        Name of the network's architecture, see
        :func:`~kikuchipy_cnn.models.architectures.build_network`.
    network
        Keras model from preprocessed patterns to logits.
    classes
        Space groups, or classes of other names, in the order of the logits.
    transform
        Preprocessing of the patterns.
    temperature
        Number by which logits are divided before they become probabilities (Guo et al., ICML 2017).
    card
        What a user should know of the model, in Markdown.
    training
        How the network was trained, ready for JSON.
    detector
        What tells patterns of known phases from others. If not given, it does not.
    rejection
        When no answer is given. If not given, there is always one.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> model = kikuchipy_cnn.load_model("fast_fewshot")
    >>> model.classes.hermann_mauguin
    ('Pm-3m', 'Pm-3n', 'Fm-3m', 'Fd-3m', 'Im-3m', 'Ia-3d')
    >>> patterns = kp.data.nickel_ebsd_small().data.reshape(-1, 60, 60)
    >>> images, valid = model.transform(patterns)
    >>> outputs = model.outputs(images)
    >>> outputs.probabilities.shape, outputs.kinds.shape
    ((9, 6), (9, 3))
    """

    name: str
    architecture: str
    network: keras.Model
    classes: SpaceGroupClasses | LabelClasses
    transform: PatternTransform
    temperature: float = 1.0
    card: str = ""
    training: dict = field(default_factory=dict)
    detector: Detector | None = None
    rejection: Rejection | None = None

    def __post_init__(self) -> None:
        size, n_classes = self.transform.size, len(self.classes)
        if self.network.input_shape[1:3] != (size, size):
            raise ValueError(
                f"The network takes {self.network.input_shape[1:3]} pixels, but the preprocessing "
                f"gives {(size, size)}."
            )
        if self.network.output_shape[-1] != n_classes:
            raise ValueError(
                f"The network has {self.network.output_shape[-1]} outputs for {n_classes} classes."
            )
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature={self.temperature}, but it must be positive and finite.")

    def __repr__(self) -> str:
        size = self.transform.size
        return (
            f"ModelBundle({self.name!r}, {self.architecture}, {size} x {size} pixels, "
            f"{len(self.classes)} {self.classes.plural}: {', '.join(self.classes.names)})"
        )

    @property
    def trained_materials(self) -> frozenset[tuple[int, str]] | None:
        """Space group and name of the materials that the network has learned from.

        Those of the network that it began with are among them. None if they are not all known.
        """
        if "stages" in self.training:
            from kikuchipy_cnn.simulation.phases import load_phase_table

            table = load_phase_table()
            names = {name for stage in self.training["stages"] for name in stage["phases"]}
            return frozenset((table[name].space_group, name) for name in names)
        if self.training.get("start_materials", ...) in (None, ...):
            return None
        both = [*self.training["materials"], *self.training["start_materials"]]
        return frozenset((int(number), str(name)) for number, name in both)

    def outputs(self, images: np.ndarray) -> Outputs:
        """Classify preprocessed patterns.

        Parameters
        ----------
        images
            Output of :attr:`transform`, of shape (n, size, size, 1) and data type float32.

        Returns
        -------
        outputs
            Probabilities, and the kinds of the images if there is a detector.
        """
        if self.detector is None:
            return self.outputs_of(None, self.logits(images))
        return self.outputs_of(*self.features_and_logits(images))

    def outputs_of(self, features: np.ndarray | None, logits: np.ndarray) -> Outputs:
        """Say what the network's values mean.

        Parameters
        ----------
        features, logits
            As :meth:`features_and_logits` returns them. Features are needed only if there is a
            detector.

        Returns
        -------
        outputs
            As :meth:`outputs` returns them.
        """
        kinds = None
        if self.detector is not None:
            kinds = self.detector(features, logits).astype(np.float32)
        return Outputs(self.calibrated(logits).astype(np.float32), kinds)

    def predict_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities of :meth:`outputs`.

        Parameters
        ----------
        images
            As for :meth:`outputs`.

        Returns
        -------
        probabilities
            Calibrated probabilities of shape (n, classes) and data type float32.
        """
        return self.calibrated(self.logits(images)).astype(np.float32)

    def calibrated(self, logits: np.ndarray) -> np.ndarray:
        """Turn logits into probabilities.

        Parameters
        ----------
        logits
            Values of shape (n, classes).

        Returns
        -------
        probabilities
            Calibrated probabilities of shape (n, classes).
        """
        return softmax(logits / self.temperature, axis=1)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return the network's outputs.

        Parameters
        ----------
        images
            As for :meth:`outputs`.

        Returns
        -------
        logits
            Values before calibration, of shape (n, classes) and data type float64.
        """
        return np.asarray(self.network.predict_on_batch(self.network_input(images)), np.float64)

    def features_and_logits(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the last layer sees, and what it makes of that.

        Parameters
        ----------
        images
            As for :meth:`outputs`.

        Returns
        -------
        features
            Values of shape (n, features) and data type float64.
        logits
            Values of shape (n, classes) and data type float64.
        """
        features, logits = self._with_features.predict_on_batch(self.network_input(images))
        return np.asarray(features, np.float64), np.asarray(logits, np.float64)

    @cached_property
    def _with_features(self) -> keras.Model:
        return with_features(self.network)

    def network_input(self, images: np.ndarray) -> np.ndarray:
        """Give preprocessed patterns as many equal channels as the network takes.

        Parameters
        ----------
        images
            As for :meth:`outputs`.

        Returns
        -------
        images
            Of shape (n, size, size, channels).
        """
        n_channels = self.network.input_shape[-1]
        return images if n_channels == 1 else np.repeat(images, n_channels, axis=-1)

    def save(self, folder: str | os.PathLike, overwrite: bool = False) -> Path:
        """Write the bundle to a folder.

        Parameters
        ----------
        folder
            Folder to make.
        overwrite
            Whether to replace a bundle of this name.

        Returns
        -------
        folder
            Where the bundle lies.

        Raises
        ------
        FileExistsError
            If the folder exists and is not to be replaced, or is something else than a bundle.
        """
        return write_folder(folder, self.contents(), overwrite)

    def contents(self) -> dict[str, bytes]:
        """Return the files of the bundle by name.

        Returns
        -------
        contents
            What is to be written to each file.
        """
        contents = {_WEIGHTS: _pack_weights(self.network), CARD: self.card.encode()}
        if self.detector is not None:
            contents[_DETECTOR] = _pack(self.detector.to_arrays())
        return with_description(description_of(self, self.network.input_shape[1:]), contents)


def description_of(model: ModelBundle | Ensemble, input_shape: Sequence[int]) -> dict:
    """What is written of any model, be it one network or several.

    Parameters
    ----------
    model
        Model.
    input_shape
        Rows, columns and channels that its networks take.
    """
    return {
        "name": model.name,
        "architecture": model.architecture,
        "input_shape": list(input_shape),
        **model.classes.to_dict(),
        "transform": model.transform.to_dict(),
        "temperature": model.temperature,
        "rejection": None if model.rejection is None else model.rejection.to_dict(),
        "training": model.training,
    }


def bundle_of(
    description: Mapping, contents: Mapping[str, bytes], folder: str | os.PathLike
) -> ModelBundle:
    """Make the bundle of a single network from its files.

    Parameters
    ----------
    description
        Content of its ``bundle.json``.
    contents
        Its other files by name, whose sums were checked.
    folder
        Where they were read from.

    Returns
    -------
    bundle
        Network and all that belongs to it. No code of the bundle is run.

    Raises
    ------
    BundleError
        If the files are no bundle of a network.
    """
    try:
        classes = classes_from_dict(description)
        network = build_in_single_precision(
            description["architecture"], tuple(description["input_shape"]), len(classes)
        )
        rejection = description["rejection"]
        detector = contents.get(_DETECTOR)
        bundle = ModelBundle(
            name=description["name"],
            architecture=description["architecture"],
            network=network,
            classes=classes,
            transform=PatternTransform.from_dict(description["transform"]),
            temperature=float(description["temperature"]),
            card=contents[CARD].decode(),
            training=description["training"],
            detector=None if detector is None else Detector.from_arrays(_unpack(detector)),
            rejection=None if rejection is None else Rejection.from_dict(rejection),
        )
        _unpack_weights(network, contents[_WEIGHTS])
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise BundleError(f"{folder} is no usable model bundle: {error}") from error
    return bundle


def build_in_single_precision(*arguments) -> keras.Model:
    """Build a network whatever precision the user's own networks have."""
    import keras

    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "Keras is set to 'channels_first'. Call "
            "keras.config.set_image_data_format('channels_last')."
        )
    with in_precision("float32"):
        return build_network(*arguments)


def _pack_weights(network: keras.Model) -> bytes:
    arrays = {
        f"{i:04d}": np.asarray(weight, dtype=np.float16)
        for i, weight in enumerate(network.get_weights())
    }
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("The network has weights that are not finite in 16 bits.")
    return _pack(arrays)


def _unpack_weights(network: keras.Model, content: bytes) -> None:
    arrays = _unpack(content)
    network.set_weights([arrays[key].astype(np.float32) for key in sorted(arrays)])


def _pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _unpack(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as data:
        return dict(data)
