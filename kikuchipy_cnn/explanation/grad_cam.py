# SPDX-License-Identifier: GPL-3.0-or-later

"""Gradient-weighted class activation mapping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn._progress import is_progress_shown
from kikuchipy_cnn.explanation._common import Question, layer_with_maps
from kikuchipy_cnn.explanation.attributions import Attributions
from kikuchipy_cnn.models import ModelBundle
from kikuchipy_cnn.models.differentiation import gradient_function, with_probe
from kikuchipy_cnn.models.ensemble import members_of
from kikuchipy_cnn.models.registry import ModelLike


def grad_cam(
    model: ModelLike,
    patterns: np.ndarray,
    space_group: int | str | Sequence[int | str] | None = None,
    layer: str | None = None,
    guided: bool = True,
    *,
    signal_mask: np.ndarray | None = None,
    static_background: np.ndarray | None = None,
    batch_size: int = 16,
    show_progressbar: bool | None = None,
) -> Attributions:
    """Find the regions of patterns that are important for a class.

    Gradient-weighted class activation mapping (Selvaraju et al., ICCV 2017), as in
    :cite:`kaufmann2020phase`: the feature maps of a layer are added up with weights that are the
    mean gradients of the class's logit, and what is below 0 is cut off.

    Parameters
    ----------
    model
        Model, or its name or path. Of an ensemble, the maps of its members are averaged.
    patterns
        Patterns as a camera gives them, of shape (rows, columns) or (n, rows, columns).
    space_group
        Space-group numbers, or names of other classes, to explain. If not given, the most probable
        one of each pattern.
    layer
        Name of a layer with feature maps. If not given, the last, which is the activation after the
        last convolution. Its maps are the coarsest: 3 x 3 pixels where Xception takes 71 x 71.
        Earlier ones are finer and mean less.
    guided
        Whether to let only positive gradients pass rectifiers (guided backpropagation, Springenberg
        et al., ICLR workshop 2015), and to give details at single pixels, too: the gradient at the
        pattern times the importance of its region.
    signal_mask
        Boolean mask of shape (rows, columns), False for the pixels to use. If not given, all are.
    static_background
        Background of shape (rows, columns) to divide the patterns by. If not given, none is
        removed.
    batch_size
        Number of patterns that the network takes at once.
    show_progressbar
        Whether to show a progress bar. If not given, the value of
        :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

    Returns
    -------
    attributions
        Importance from 0 to 1 for each pattern and class, 0 everywhere where nothing speaks for the
        class.

    Raises
    ------
    ValueError
        If patterns and masks do not fit together, a pattern is constant or not finite, or there is
        no such class or layer.

    See Also
    --------
    explain, shapley_values

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.explanation import grad_cam
    >>> s = kp.data.nickel_ebsd_small()
    >>> regions = grad_cam(
    ...     "fast_fewshot",
    ...     s.data[0],
    ...     space_group=[225, 229],
    ...     static_background=s.static_background,
    ...     show_progressbar=False,
    ... )
    >>> regions.values.shape  # patterns, classes, rows and columns
    (3, 2, 71, 71)
    >>> regions.details.shape
    (3, 2, 71, 71)
    """
    check_integer("batch_size", batch_size, 1)
    question = Question.of(model, patterns, space_group, 1, signal_mask, static_background)
    members = members_of(question.model)
    transform = question.model.transform
    size = transform.size
    # Beside a pattern there is nothing that could be important.
    inside = transform.inside(question.patterns.shape[1:], question.signal_mask)
    shape = (*question.explained.shape, size, size)
    maps, details = np.zeros(shape), np.zeros(shape)
    with tqdm(
        total=len(members) * question.explained.size,
        unit="map",
        desc="Grad-CAM",
        disable=not is_progress_shown(show_progressbar),
    ) as progressbar:
        for member in members:
            probe = _Probe(member, layer, guided)
            for k in range(shape[1]):
                for start in range(0, shape[0], batch_size):
                    part = slice(start, start + batch_size)
                    of_member = probe(question.images[part], question.explained[part, k])
                    for total, values in zip((maps, details), of_member, strict=True):
                        total[part, k] += values / len(members)
                    progressbar.update(len(of_member[0]))
    return Attributions(
        "Grad-CAM",
        values=_scaled(maps * inside),
        details=_scaled(details * inside) if guided else None,
        **question.known(),
    )


class _Probe:
    """A network whose feature maps and gradients are looked at."""

    def __init__(self, member: ModelBundle, layer: str | None, guided: bool) -> None:
        network, self._shape = with_probe(
            member.network, layer_with_maps(member, layer).name, guided=guided
        )
        self._run = gradient_function(network)
        self._member = member

    def __call__(self, images: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Importance of regions and gradients at pixels, both of shape (n, size, size)."""
        inputs = self._member.network_input(images)
        weights = np.eye(len(self._member.classes), dtype=np.float32)[positions]
        (_, maps), (at_pixels, at_maps) = self._run(
            [inputs, np.zeros((len(inputs), *self._shape), np.float32)], weights
        )
        importance = np.einsum("nrck, nk -> nrc", maps, at_maps.mean(axis=(1, 2)))
        importance = _resized(np.maximum(importance, 0), images.shape[1])
        return importance, at_pixels.sum(axis=-1) * importance


def _resized(maps: np.ndarray, size: int) -> np.ndarray:
    import keras

    maps = keras.ops.image.resize(maps[..., None], (size, size), interpolation="bilinear")
    return keras.ops.convert_to_numpy(maps)[..., 0]


def _scaled(values: np.ndarray) -> np.ndarray:
    """Divide by the largest magnitude of each map; maps of zeros stay as they are."""
    largest = np.abs(values).max(axis=(2, 3), keepdims=True)
    return (values / np.where(largest > 0, largest, 1)).astype(np.float32)
