# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks that turn preprocessed patterns into one logit per space group."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

# Xception halves its input five times and has no output below this size.
XCEPTION_MINIMUM_SIZE = 71
# Xception has eight.
NARROW_MIDDLE_BLOCKS = 4


def build_network(
    architecture: str, input_shape: tuple[int, int, int], n_classes: int
) -> keras.Model:
    """Build a network with random weights.

    Parameters
    ----------
    architecture
        ``"xception"`` (Chollet, CVPR 2017, unmodified, from Keras), ``"xception_narrow"``, the
        same with about a quarter of the filters and half the depth in the middle, or ``"tiny"``, a
        small residual network for tests.
    input_shape
        Rows, columns and channels of the input. Patterns are grey, which is one channel; three
        equal channels suit weights that were trained on colour images.
    n_classes
        Number of space groups.

    Returns
    -------
    network
        Keras model from patterns of shape (n, rows, columns, channels) to logits of shape
        (n, n_classes).

    Raises
    ------
    ValueError
        If the architecture is unknown, the input too small for it, or *n_classes* below 2.

    Examples
    --------
    >>> from kikuchipy_cnn.models import build_network
    >>> network = build_network("xception_narrow", (71, 71, 1), 6)
    >>> network.output_shape
    (None, 6)
    >>> network.count_params()
    1038582
    """
    if architecture not in _BUILDERS:
        raise ValueError(f"Unknown architecture {architecture!r}. Known: {', '.join(_BUILDERS)}.")
    if n_classes < 2:
        raise ValueError(f"n_classes={n_classes}, but a classifier needs at least 2 classes.")
    if len(input_shape) != 3 or input_shape[2] not in (1, 3):
        raise ValueError(f"input_shape={input_shape} is not (rows, columns, 1 or 3 channels).")
    return _BUILDERS[architecture](tuple(input_shape), n_classes)


def _build_xception(input_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    import keras

    if min(input_shape[:2]) < XCEPTION_MINIMUM_SIZE:
        raise ValueError(
            f"Xception needs an input of at least {XCEPTION_MINIMUM_SIZE} pixels, not "
            f"{input_shape[0]} x {input_shape[1]}."
        )
    return keras.applications.Xception(
        weights=None,
        input_shape=input_shape,
        classes=n_classes,
        classifier_activation=None,
    )


def _build_xception_narrow(input_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Xception's topology and layer names with fewer filters, so that it can grow into it."""
    from keras import Input, Model, layers

    def separable(x, n, name, activate=True):
        if activate:
            x = layers.ReLU(name=f"{name}_act")(x)
        x = layers.SeparableConv2D(n, 3, padding="same", use_bias=False, name=name)(x)
        return layers.BatchNormalization(name=f"{name}_bn")(x)

    def shortcut(x, n, block):
        x = layers.Conv2D(n, 1, 2, padding="same", use_bias=False, name=f"{block}_shortcut")(x)
        return layers.BatchNormalization(name=f"{block}_shortcut_bn")(x)

    def reducing(x, n_first, n_last, block, activate=True):
        y = separable(x, n_first, f"{block}_sepconv1", activate)
        y = separable(y, n_last, f"{block}_sepconv2")
        y = layers.MaxPooling2D(3, 2, padding="same", name=f"{block}_pool")(y)
        return layers.Add()([y, shortcut(x, n_last, block)])

    inputs = x = Input(input_shape)
    for i, (n, strides) in enumerate(((16, 2), (32, 1)), start=1):
        x = layers.Conv2D(n, 3, strides, use_bias=False, name=f"block1_conv{i}")(x)
        x = layers.BatchNormalization(name=f"block1_conv{i}_bn")(x)
        x = layers.ReLU(name=f"block1_conv{i}_act")(x)
    x = reducing(x, 64, 64, "block2", activate=False)
    x = reducing(x, 96, 96, "block3")
    x = reducing(x, 192, 192, "block4")
    for block in range(5, 5 + NARROW_MIDDLE_BLOCKS):
        y = x
        for i in (1, 2, 3):
            y = separable(y, 192, f"block{block}_sepconv{i}")
        x = layers.Add()([y, x])
    x = reducing(x, 192, 256, "block13")
    for i, n in enumerate((384, 512), start=1):
        x = separable(x, n, f"block14_sepconv{i}", activate=False)
        x = layers.ReLU(name=f"block14_sepconv{i}_act")(x)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dense(n_classes, name="predictions")(x)
    return Model(inputs, x, name="xception_narrow")


def _build_tiny(input_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Residual network after He et al., CVPR 2016, with one block per resolution."""
    from keras import Input, Model, layers

    def normalised_convolution(x, n, strides=1):
        x = layers.Conv2D(n, 3, strides, padding="same", use_bias=False)(x)
        # The usual moving average lags behind in a test's few steps.
        return layers.BatchNormalization(momentum=0.9)(x)

    inputs = Input(input_shape)
    x = layers.ReLU()(normalised_convolution(inputs, 16, 2))
    for n in (16, 32):
        shortcut = normalised_convolution(x, n, 2)
        x = layers.ReLU()(normalised_convolution(x, n, 2))
        x = layers.ReLU()(layers.Add()([normalised_convolution(x, n), shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return Model(inputs, layers.Dense(n_classes)(x), name="tiny")


_BUILDERS = {
    "xception": _build_xception,
    "xception_narrow": _build_xception_narrow,
    "tiny": _build_tiny,
}
