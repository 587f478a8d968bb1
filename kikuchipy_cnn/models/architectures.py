"""Networks that turn preprocessed patterns into one logit per space group."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

# Xception halves its input five times and has no output below this size.
XCEPTION_MINIMUM_SIZE = 71


def build_network(
    architecture: str, input_shape: tuple[int, int, int], n_classes: int
) -> keras.Model:
    """Build a network with random weights.

    Parameters
    ----------
    architecture
        ``"xception"`` (Chollet, CVPR 2017, unmodified, from Keras), ``"residual"``, a small and
        fast residual network, or ``"tiny"``, for tests.
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


def _build_residual(
    input_shape: tuple[int, int, int],
    n_classes: int,
    filters: tuple[int, ...] = (32, 64, 128, 256),
) -> keras.Model:
    """Residual network after He et al., CVPR 2016, with one block per resolution."""
    from keras import Input, Model, layers

    def normalised_convolution(x, n, size, strides=1):
        x = layers.Conv2D(n, size, strides, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    inputs = Input(input_shape)
    x = layers.ReLU()(normalised_convolution(inputs, filters[0], 7, 2))
    for i, n in enumerate(filters):
        strides = 1 if i == 0 else 2
        shortcut = x if i == 0 else normalised_convolution(x, n, 1, strides)
        x = layers.ReLU()(normalised_convolution(x, n, 3, strides))
        x = normalised_convolution(x, n, 3)
        x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return Model(inputs, layers.Dense(n_classes, dtype="float32")(x), name="residual")


def _build_tiny(input_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    model = _build_residual(input_shape, n_classes, filters=(16, 32))
    model.name = "tiny"
    return model


_BUILDERS = {
    "xception": _build_xception,
    "residual": _build_residual,
    "tiny": _build_tiny,
}
