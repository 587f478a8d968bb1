# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks to begin a training with: of a model, of ImageNet, or random."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kikuchipy_cnn.models import Ensemble, ModelBundle, as_model, build_network, list_models
from kikuchipy_cnn.models.architectures import XCEPTION_MINIMUM_SIZE
from kikuchipy_cnn.preprocessing import PatternTransform

if TYPE_CHECKING:
    import keras

    from kikuchipy_cnn.space_groups import Classes

# Of the layer that gives the logits: kernel and bias.
_HEAD_WEIGHTS = 2


@dataclass(frozen=True, eq=False)
class Start:
    """Network to train, with its preprocessing.

    Parameters
    ----------
    network
        Keras model from preprocessed patterns to one logit per class.
    architecture
        Name of its architecture.
    transform
        Preprocessing.
    description
        Where the weights come from, ready for JSON.
    materials
        Space group and name of the materials that the network has learned from. None if they are
        not all known.
    """

    network: keras.Model
    architecture: str
    transform: PatternTransform
    description: dict
    materials: frozenset[tuple[int, str]] | None = frozenset()

    @property
    def knows_patterns(self) -> bool:
        """Whether the network has learned from patterns before."""
        return self.description["weights"] not in ("scratch", "imagenet")


def prepare_start(
    start: str | os.PathLike | ModelBundle,
    classes: Classes,
    *,
    architecture: str | None = None,
    size: int | None = None,
    channels: int | None = None,
    new_head: bool = False,
    seed: int = 0,
) -> Start:
    """Build the network that a training begins with.

    Parameters
    ----------
    start
        A model (name of a packaged one, path of a bundle, or a bundle), ``"scratch"`` for random
        weights, ``"imagenet"`` for those of :mod:`keras.applications`, which are downloaded, or the
        path of the file of these weights (suffix .h5).
    classes
        Classes of the new network.
    architecture
        Architecture for random weights. Default is Xception. A model has its own, and ImageNet
        weights are Xception's.
    size
        Side of the patterns in pixels. If not given, the model's or that of
        :class:`~kikuchipy_cnn.PatternTransform`.
    channels
        1 or 3 channels of the input. If not given, the model's, or 1. The first kernels of ImageNet
        weights are summed over three channels for one: the same network for grey patterns.
    new_head
        Whether the last layer starts at random even where the model knows a class. Otherwise, what
        it knows of a class (of its space group, if the class is a phase) is kept.
    seed
        Seed of the random weights.

    Returns
    -------
    start
        The network, in the current precision of Keras, and what belongs to it.

    Raises
    ------
    ValueError
        If there is no such model or file, the file holds other weights, or options contradict the
        model.
    """
    bundle = model_of_start(start)
    if bundle is not None:
        return _from_bundle(bundle, classes, architecture, size, channels, new_head, seed)
    if start == "scratch":
        architecture = architecture or "xception"
        transform = PatternTransform() if size is None else PatternTransform(size=size)
        network = build_seeded(architecture, transform.size, channels or 1, len(classes), seed)
        return Start(network, architecture, transform, {"weights": "scratch"})
    weights = start if start == "imagenet" else Path(start)
    return _from_imagenet(weights, classes, architecture, size, channels or 1, seed)


def model_of_start(start: str | os.PathLike | ModelBundle) -> ModelBundle | None:
    """Return the model that a training begins with.

    Parameters
    ----------
    start
        As for :func:`prepare_start`.

    Returns
    -------
    model
        Model, or None for random weights and those of ImageNet.

    Raises
    ------
    ValueError
        If there is no such model, or it is an ensemble.
    """
    if isinstance(start, str | os.PathLike) and start not in list_models():
        if start in ("scratch", "imagenet") or Path(start).suffix == ".h5":
            return None
        start = Path(start)
    model = as_model(start)
    if isinstance(model, Ensemble):
        raise ValueError(
            f"{model.name!r} is an ensemble, but a training starts from one network. Give one of "
            "load_model(...).members, or use iterative_training()."
        )
    return model


def _from_bundle(
    bundle: ModelBundle,
    classes: Classes,
    architecture: str | None,
    size: int | None,
    channels: int | None,
    new_head: bool,
    seed: int,
) -> Start:
    if architecture not in (None, bundle.architecture):
        raise ValueError(
            f"Model {bundle.name!r} is of the architecture {bundle.architecture!r}, not "
            f"{architecture!r}. Leave the architecture away, or start from 'scratch'."
        )
    own_channels = bundle.network.input_shape[-1]
    if channels not in (None, own_channels):
        raise ValueError(
            f"Model {bundle.name!r} has {own_channels} channel(s), not {channels}. Leave the "
            "channels away."
        )
    transform = bundle.transform if size is None else replace(bundle.transform, size=size)
    network = build_seeded(bundle.architecture, transform.size, own_channels, len(classes), seed)
    body, head = _split_head(bundle.network.get_weights())
    new = _split_head(network.get_weights())[1]
    kept = {} if new_head else _known_classes(bundle.classes, classes)
    for to, source in kept.items():
        for old_array, new_array in zip(head, new, strict=True):
            new_array[..., to] = old_array[..., source]
    network.set_weights([*body, *new])
    names = [classes.names[i] for i in kept]
    description = {"weights": bundle.name, "classes_kept": names}
    return Start(network, bundle.architecture, transform, description, bundle.trained_materials)


def _known_classes(old: Classes, new: Classes) -> dict[int, int]:
    """Which class of a model to begin with, by the index of the new class."""
    names = {name: i for i, name in enumerate(old.names)}
    numbers = {number: i for i, number in enumerate(old.space_groups) if number is not None}
    known = {}
    for i, (name, number) in enumerate(zip(new.names, new.space_groups, strict=True)):
        if name in names:
            known[i] = names[name]
        elif number in numbers:
            known[i] = numbers[number]
    return known


def _from_imagenet(
    weights: str | os.PathLike,
    classes: Classes,
    architecture: str | None,
    size: int | None,
    channels: int,
    seed: int,
) -> Start:
    if architecture not in (None, "xception"):
        raise ValueError(f"ImageNet weights are Xception's, not those of {architecture!r}.")
    transform = PatternTransform() if size is None else PatternTransform(size=size)
    network = build_seeded("xception", transform.size, channels, len(classes), seed)
    body = _imagenet_body(weights)
    if channels == 1:
        body[0] = body[0].sum(axis=2, keepdims=True)
    network.set_weights([*body, *_split_head(network.get_weights())[1]])
    return Start(network, "xception", transform, {"weights": "imagenet", "classes_kept": []})


def _imagenet_body(weights: str | os.PathLike) -> list[np.ndarray]:
    """Weights of Xception without its last layer."""
    import keras

    def build(given, *, with_head: bool) -> keras.Model:
        size = 299 if with_head else XCEPTION_MINIMUM_SIZE
        return keras.applications.Xception(
            include_top=with_head, weights=given, input_shape=(size, size, 3)
        )

    if weights == "imagenet":
        try:
            return build("imagenet", with_head=False).get_weights()
        except Exception as error:
            raise ValueError(
                f"The ImageNet weights cannot be downloaded: {error}. Fetch "
                "xception_weights_tf_dim_ordering_tf_kernels_notop.h5 from "
                "https://storage.googleapis.com/tensorflow/keras-applications/xception/ and give "
                "its path."
            ) from error
    if not Path(weights).is_file():
        raise ValueError(f"There is no file {os.fspath(weights)!r} of ImageNet weights.")
    problems = []
    for with_head in (False, True):
        try:
            with warnings.catch_warnings():
                # Keras only warns that layers which are not in a file stay random.
                warnings.simplefilter("error", UserWarning)
                loaded = build(os.fspath(weights), with_head=with_head).get_weights()
        except (OSError, ValueError, KeyError, UserWarning) as error:
            problems.append(str(error).splitlines()[0])
            continue
        return _split_head(loaded)[0] if with_head else loaded
    raise ValueError(
        f"{os.fspath(weights)!r} does not hold the weights of Keras' Xception, neither without its "
        f"last layer ({problems[0]}) nor with it ({problems[1]})."
    )


def _split_head(weights: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return weights[:-_HEAD_WEIGHTS], weights[-_HEAD_WEIGHTS:]


def build_seeded(
    architecture: str, size: int, channels: int, n_classes: int, seed: int
) -> keras.Model:
    """Build a network whose random weights follow from a seed.

    Parameters
    ----------
    architecture, n_classes
        As for :func:`~kikuchipy_cnn.models.build_network`.
    size, channels
        Side of the patterns in pixels, and number of their channels.
    seed
        Seed.

    Returns
    -------
    network
        Keras model from preprocessed patterns to logits.
    """
    with _seeded(seed):
        return build_network(architecture, (size, size, channels), n_classes)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Make initial weights repeatable, and leave Python's and NumPy's random numbers alone.

    Keras and its backend keep the seed.
    """
    import keras

    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        keras.utils.set_random_seed(seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
