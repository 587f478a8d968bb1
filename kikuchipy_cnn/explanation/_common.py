# SPDX-License-Identifier: GPL-3.0-or-later

"""What all explanations begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kikuchipy_cnn._patterns import check_data_type, checked_background, checked_mask
from kikuchipy_cnn.inference import in_batches
from kikuchipy_cnn.models import Ensemble, ModelBundle, as_model
from kikuchipy_cnn.models.ensemble import members_of, probabilities_of
from kikuchipy_cnn.models.registry import ModelLike
from kikuchipy_cnn.space_groups import Classes

if TYPE_CHECKING:
    import keras

# Images that a network classifies at once.
_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class Question:
    """Patterns, what a model says of them, and what is to be explained.

    Parameters
    ----------
    model
        Model.
    patterns
        Patterns of shape (n, rows, columns), divided by a static background if there is one.
    images
        What its networks are given, of shape (n, size, size, 1).
    logits
        Mean logits of its networks, of shape (n, classes).
    probabilities
        Calibrated probabilities of shape (n, classes).
    explained
        Positions of the classes to explain, of shape (n, k).
    signal_mask
        Boolean mask of shape (rows, columns), False for the pixels that are used, or None.
    """

    model: ModelBundle | Ensemble
    patterns: np.ndarray
    images: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    explained: np.ndarray
    signal_mask: np.ndarray | None

    @classmethod
    def of(
        cls,
        model: ModelLike,
        patterns: np.ndarray,
        space_group: int | str | Sequence[int | str] | None,
        n_classes: int,
        signal_mask: np.ndarray | None,
        static_background: np.ndarray | None,
    ) -> Question:
        """Preprocess and classify patterns.

        Parameters
        ----------
        model
            Model, or its name or path.
        patterns
            Patterns of shape (rows, columns) or (n, rows, columns).
        space_group
            Labels of the classes to explain. If None, the *n_classes* most probable ones.
        n_classes
            Number of classes to explain, if they are not given.
        signal_mask, static_background
            As for :class:`~kikuchipy_cnn.PatternTransform`.
        """
        model = as_model(model)
        patterns = as_patterns(patterns)
        signal_mask = checked_mask(signal_mask, "signal_mask", patterns.shape[1:])
        static_background = checked_background(static_background, patterns.shape[1:])
        images = valid_images(model, patterns, signal_mask, static_background)
        of_members = logits_of_members(model, images)
        logits = np.mean(of_members, axis=0)
        probabilities = probabilities_of(model, of_members).astype(np.float32)
        if space_group is None:
            explained = np.argsort(-probabilities, axis=1, kind="stable")[:, :n_classes]
        else:
            positions = positions_of(model.classes, space_group)
            explained = np.tile(positions, (len(patterns), 1))
        if static_background is not None:
            # What a dead pixel of the background does to a pattern is no part of it.
            dead = ~(static_background > 0)
            patterns = np.where(dead, 0, patterns / np.where(dead, 1, static_background))
        return cls(model, patterns, images, logits, probabilities, explained, signal_mask)

    def first(self, n: int) -> Question:
        """Ask about the first *n* patterns only."""
        of_patterns = ("patterns", "images", "logits", "probabilities", "explained")
        return replace(self, **{name: getattr(self, name)[:n] for name in of_patterns})

    def known(self) -> dict:
        """Fields that the answer takes over."""
        return {
            "patterns": self.patterns,
            "images": self.images[..., 0],
            "explained": self.explained,
            "classes": self.model.classes,
            "transform": self.model.transform,
            "logits": self.logits,
            "probabilities": self.probabilities,
            "signal_mask": self.signal_mask,
        }


def as_patterns(patterns: np.ndarray) -> np.ndarray:
    """Bring one or more patterns to the shape (n, rows, columns).

    Parameters
    ----------
    patterns
        Patterns of shape (rows, columns) or (n, rows, columns).

    Raises
    ------
    ValueError
        If the shape is another one, there are none, or they are not of real numbers.
    """
    array = np.asarray(patterns)
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"Patterns of shape {np.shape(patterns)} given. Give (rows, columns) or (n, rows, "
            "columns); kikuchipy_cnn.explanation.explain() takes signals."
        )
    check_data_type(array.dtype)
    return array


def valid_images(
    model: ModelBundle | Ensemble,
    patterns: np.ndarray,
    signal_mask: np.ndarray | None,
    static_background: np.ndarray | None,
) -> np.ndarray:
    """Preprocess patterns as a model does.

    Parameters
    ----------
    model
        Model.
    patterns
        Patterns of shape (n, rows, columns).
    signal_mask, static_background
        As for :class:`~kikuchipy_cnn.PatternTransform`.

    Returns
    -------
    images
        Network input of shape (n, size, size, 1).

    Raises
    ------
    ValueError
        If a mask or background is unusable, or a pattern is constant or not finite.
    """
    signal_mask = checked_mask(signal_mask, "signal_mask", patterns.shape[1:])
    static_background = checked_background(static_background, patterns.shape[1:])
    images, valid = model.transform(patterns, signal_mask, static_background)
    if not valid.all():
        raise ValueError(
            f"Pattern(s) {', '.join(map(str, np.flatnonzero(~valid)))} are constant or have values "
            "that are not finite: there is nothing to explain. Leave them out."
        )
    return images


def logits_of_members(model: ModelBundle | Ensemble, images: np.ndarray) -> list[np.ndarray]:
    """Logits of each of a model's networks, of shape (n, classes).

    Parameters
    ----------
    model
        Model.
    images
        Network input of shape (n, size, size, 1).
    """
    return [in_batches(member.logits, images, _AT_ONCE) for member in members_of(model)]


def positions_of(classes: Classes, labels: int | str | Sequence[int | str]) -> list[int]:
    """Find classes by their labels.

    Parameters
    ----------
    classes
        Classes of a model.
    labels
        One or more space-group numbers, or names of other classes.

    Raises
    ------
    ValueError
        If there is no such class.
    """
    labels = [labels] if isinstance(labels, int | str | np.integer) else list(labels)
    unknown = [label for label in labels if label not in classes.labels]
    if unknown or not labels:
        raise ValueError(
            f"The model has no {classes.noun} {', '.join(map(repr, unknown)) or 'of no name'}. Its "
            f"{classes.plural}: {', '.join(map(repr, classes.labels))}."
        )
    return [classes.labels.index(label) for label in labels]


def layer_with_maps(member: ModelBundle, name: str | None) -> keras.Layer:
    """Find a layer with feature maps.

    Parameters
    ----------
    member
        Model of one network.
    name
        Name of the layer. If None, the last one.

    Raises
    ------
    ValueError
        If the network has no such layer.
    """
    layers = {
        layer.name: layer for layer in member.network.layers[1:] if len(layer.output.shape) == 4
    }
    if name is None and layers:
        return list(layers.values())[-1]
    if name not in layers:
        raise ValueError(
            f"{member.name!r} has no layer {name or ''!r} with feature maps. Its layers: "
            f"{', '.join(layers) or 'none'}."
        )
    return layers[name]
