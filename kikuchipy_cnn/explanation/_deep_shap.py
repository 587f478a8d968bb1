# SPDX-License-Identifier: GPL-3.0-or-later

"""DeepSHAP through shap, and the mend that it needs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from kikuchipy_cnn.models.acceleration import in_precision

if TYPE_CHECKING:
    import keras

    from kikuchipy_cnn.models import ModelBundle

# TensorFlow's name of depthwise convolution, which shap does not know.
DEPTHWISE = "DepthwiseConv2dNative"


class DeepShap:
    """Contributions to one logit of a network, by shap's DeepExplainer.

    Parameters
    ----------
    member
        Model of one network, whose last layer is a dense one. The backend is TensorFlow.
    position
        Position of the logit.
    """

    def __init__(self, member: ModelBundle, position: int) -> None:
        import shap

        self._member = member
        self._references = None
        with warnings.catch_warnings():
            # It says that TensorFlow is new, which the check of the sums makes harmless.
            warnings.filterwarnings("ignore", "Your TensorFlow version")
            self._explainer = shap.DeepExplainer(
                _with_one_logit(member.network, position), lambda _: self._references
            )

    def __call__(self, image: np.ndarray, batches: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Explain an image against background images, batch by batch.

        Parameters
        ----------
        image
            Preprocessed pattern of shape (size, size, 1).
        batches
            Background images, each batch of shape (n, size, size, 1). Batches of one size are
            compiled once.

        Yields
        ------
        values
            Mean contributions against the images of a batch, of shape (size, size).
        """
        image = self._member.network_input(image)
        for batch in batches:
            self._references = self._member.network_input(batch)
            with (
                knowing_depthwise_convolution(),
                _without_warnings_of_tracing(),
                _with_gradients_restored(),
            ):
                # shap's own check assumes a background that does not change.
                values = self._explainer.shap_values(image[None], check_additivity=False)
            yield values[0, ..., 0].sum(axis=-1)


@contextmanager
def knowing_depthwise_convolution() -> Iterator[None]:
    """Tell shap, for a while, that depthwise convolution is linear."""
    from shap.explainers._deep import deep_tf

    if DEPTHWISE in deep_tf.op_handlers:
        yield
        return
    deep_tf.op_handlers[DEPTHWISE] = deep_tf.passthrough
    try:
        yield
    finally:
        del deep_tf.op_handlers[DEPTHWISE]


@contextmanager
def _without_warnings_of_tracing() -> Iterator[None]:
    """TensorFlow warns of several networks, each of which is traced once by shap."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _with_gradients_restored() -> Iterator[None]:
    """After an error or Ctrl-C, shap would leave TensorFlow without gradients."""
    from tensorflow.python.eager import execute

    record = execute.record_gradient
    try:
        yield
    finally:
        execute.record_gradient = record


def _with_one_logit(network: keras.Model, position: int) -> keras.Model:
    """Network of the same layers but the last, since shap explains all outputs or the largest."""
    import keras

    last = network.layers[-1]
    with in_precision("float32"):
        layer = keras.layers.Dense(1, use_bias=last.use_bias)
        alone = keras.Model(network.inputs, layer(last.input))
    layer.set_weights([weights[..., [position]] for weights in last.get_weights()])
    return alone
