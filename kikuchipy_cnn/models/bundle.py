"""Model bundles: a folder of data, never code.

A bundle holds ``bundle.json`` (architecture, classes, preprocessing, calibration), ``weights.npz``
(arrays in the order of the network's weights, floating point numbers of 16 bits) and ``card.md``
(data, protocol, figures, limits). The JSON file holds the SHA-256 of the two others.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kikuchipy_cnn.label_classes import LabelClasses, classes_from_dict
from kikuchipy_cnn.models.acceleration import in_precision
from kikuchipy_cnn.models.architectures import build_network
from kikuchipy_cnn.preprocessing import PatternTransform
from kikuchipy_cnn.space_groups import SpaceGroupClasses

if TYPE_CHECKING:
    import keras

BUNDLE_FORMAT = 1
_JSON, _WEIGHTS, _CARD = "bundle.json", "weights.npz", "card.md"


class BundleError(ValueError):
    """A model bundle is missing, incomplete, altered or of an unknown format."""


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
    """

    name: str
    architecture: str
    network: keras.Model
    classes: SpaceGroupClasses | LabelClasses
    transform: PatternTransform
    temperature: float = 1.0
    card: str = ""
    training: dict = field(default_factory=dict)

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

    def predict_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Classify preprocessed patterns.

        Parameters
        ----------
        images
            Output of :attr:`transform`, of shape (n, size, size, 1) and data type float32.

        Returns
        -------
        probabilities
            Calibrated probabilities of shape (n, classes) and data type float32.
        """
        channels = self.network.input_shape[-1]
        images = np.repeat(images, channels, axis=-1)
        logits = np.asarray(self.network.predict_on_batch(images), dtype=np.float64)
        logits = (logits - logits.max(axis=1, keepdims=True)) / self.temperature
        exponentials = np.exp(logits)
        return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)

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
        folder = Path(folder)
        check_bundle_folder(folder, overwrite)
        folder.parent.mkdir(parents=True, exist_ok=True)
        contents = {_WEIGHTS: _pack_weights(self.network), _CARD: self.card.encode()}
        description = {
            "format": BUNDLE_FORMAT,
            "name": self.name,
            "architecture": self.architecture,
            "input_shape": list(self.network.input_shape[1:]),
            **self.classes.to_dict(),
            "transform": self.transform.to_dict(),
            "temperature": self.temperature,
            "training": self.training,
            "sha256": {file: _sha256(content) for file, content in contents.items()},
        }
        description["sha256"][_JSON] = _sha256_of_description(description)
        contents[_JSON] = (json.dumps(description, indent=2) + "\n").encode()
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for file, content in contents.items():
                (temporary / file).write_bytes(content)
            temporary.chmod(0o755)
            if folder.exists():
                # The old bundle goes only when the new one is in its place.
                folder.rename(temporary.with_suffix(".old"))
            temporary.rename(folder)
            shutil.rmtree(temporary.with_suffix(".old"), ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return folder


def check_bundle_folder(folder: str | os.PathLike, overwrite: bool) -> None:
    """Raise FileExistsError if a bundle may not be saved to a folder.

    Parameters
    ----------
    folder
        Folder to make.
    overwrite
        Whether to replace a bundle of this name.
    """
    folder = Path(folder)
    if folder.exists() and not (overwrite and (folder / _JSON).is_file()):
        raise FileExistsError(
            f"{folder} exists. Give another name, or overwrite=True if it is a model bundle."
        )


def load_bundle(folder: str | os.PathLike, sha256: str | None = None) -> ModelBundle:
    """Read a bundle from a folder.

    Parameters
    ----------
    folder
        Folder that :meth:`ModelBundle.save` wrote.
    sha256
        Expected SHA-256 of its ``bundle.json``. If not given, only the other files are checked,
        against the sums in ``bundle.json``.

    Returns
    -------
    bundle
        Network and all that belongs to it. No code of the bundle is run.

    Raises
    ------
    BundleError
        If the folder is no bundle, was altered, or needs a newer version of this package.
    """
    description = read_description(folder, sha256)
    contents = {file: _read(Path(folder) / file) for file in (_WEIGHTS, _CARD)}
    for file, content in contents.items():
        if _sha256(content) != description["sha256"].get(file):
            raise BundleError(
                f"{Path(folder) / file} is not the file that was saved: its SHA-256 is "
                f"{_sha256(content)}, not {description['sha256'].get(file)}. Fetch the model again."
            )
    try:
        classes = classes_from_dict(description)
        network = _build_in_single_precision(
            description["architecture"], tuple(description["input_shape"]), len(classes)
        )
        bundle = ModelBundle(
            name=description["name"],
            architecture=description["architecture"],
            network=network,
            classes=classes,
            transform=PatternTransform.from_dict(description["transform"]),
            temperature=float(description["temperature"]),
            card=contents[_CARD].decode(),
            training=description["training"],
        )
        _unpack_weights(network, contents[_WEIGHTS])
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise BundleError(f"{folder} is no usable model bundle: {error}") from error
    return bundle


def read_description(folder: str | os.PathLike, sha256: str | None = None) -> dict:
    """Read what a bundle says of itself, without its weights.

    Parameters
    ----------
    folder
        Folder that :meth:`ModelBundle.save` wrote.
    sha256
        Expected SHA-256 of its ``bundle.json``.

    Returns
    -------
    description
        Content of ``bundle.json``.

    Raises
    ------
    BundleError
        If there is no such file, or it is not as expected.
    """
    path = Path(folder) / _JSON
    content = _read(path)
    if sha256 is not None and _sha256(content) != sha256:
        raise BundleError(
            f"{path} was altered: its SHA-256 is {_sha256(content)}, not {sha256}. Install the "
            "package again."
        )
    try:
        description = json.loads(content)
        found = description["format"]
        complete = isinstance(description["sha256"], dict)
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} does not describe a model bundle: {error!r}.") from error
    if complete and description["sha256"].get(_JSON) != _sha256_of_description(description):
        raise BundleError(f"{path} is not the file that was saved. Fetch the model again.")
    if found != BUNDLE_FORMAT or not complete:
        raise BundleError(
            f"{path} has bundle format {found!r}; this version of kikuchipy_cnn reads format "
            f"{BUNDLE_FORMAT}."
        )
    return description


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path.parent} is no model bundle: it needs the files {_JSON}, {_WEIGHTS} and {_CARD}"
            f", but {path.name} cannot be read ({error.strerror})."
        ) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sha256_of_description(description: dict) -> str:
    """Sum over all of a description but the sum itself."""
    sums = {file: value for file, value in description["sha256"].items() if file != _JSON}
    return _sha256(json.dumps(description | {"sha256": sums}, sort_keys=True).encode())


def _build_in_single_precision(*arguments) -> keras.Model:
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
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _unpack_weights(network: keras.Model, content: bytes) -> None:
    with np.load(io.BytesIO(content), allow_pickle=False) as data:
        network.set_weights([data[key].astype(np.float32) for key in sorted(data.files)])
