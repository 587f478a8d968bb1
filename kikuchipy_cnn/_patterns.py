# SPDX-License-Identifier: GPL-3.0-or-later

"""What signals, masks and backgrounds must be, and what follows from them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from kikuchipy_cnn.inference.sampling import carries_background, find_signal_mask, sample_patterns
from kikuchipy_cnn.preprocessing import MINIMUM_PATTERN_SIZE

if TYPE_CHECKING:
    from kikuchipy.signals import EBSD


def check_patterns(signal: EBSD) -> None:
    """Raise ValueError unless a signal has patterns that can be classified."""
    if signal.data.ndim < 2 or signal.axes_manager.signal_dimension != 2:
        raise ValueError(
            f"{signal} has {signal.axes_manager.signal_dimension} signal dimensions, not 2."
        )
    if signal.data.size == 0:
        raise ValueError(f"{signal} has 0 patterns; there is nothing to classify.")
    check_data_type(signal.data.dtype)
    shape = signal.data.shape[-2:]
    if min(shape) < MINIMUM_PATTERN_SIZE:
        raise ValueError(
            f"Patterns of {shape[0]} x {shape[1]} pixels are too small to tell space groups apart; "
            f"at least {MINIMUM_PATTERN_SIZE} x {MINIMUM_PATTERN_SIZE} are needed. Bin less."
        )


def check_data_type(dtype: np.dtype) -> None:
    """Raise ValueError unless patterns of a data type can be classified."""
    if np.dtype(dtype).kind not in "uif":
        raise ValueError(f"Patterns have data type {dtype}; integers or real numbers are needed.")


def scan_geometry(signal: EBSD) -> dict:
    """Return shape, step sizes and unit of the crystal map of a signal.

    Parameters
    ----------
    signal
        Patterns.

    Returns
    -------
    geometry
        Arguments of :func:`~kikuchipy_cnn.crystal_map.probabilities_to_crystal_map`.

    Raises
    ------
    ValueError
        If the signal is no map of at most two dimensions and constant steps.
    """
    axes = signal.axes_manager.navigation_axes[::-1]
    if len(axes) > 2:
        raise ValueError(
            f"The signal has {len(axes)} navigation dimensions; a map has at most 2. Classify one "
            "slice after the other: signal.inav[..., i]."
        )
    if not all(axis.is_uniform for axis in axes):
        raise ValueError("The signal has a navigation axis without a constant step size.")
    shape = tuple(axis.size for axis in axes)
    steps = tuple(float(axis.scale) for axis in axes)
    if len(axes) == 1 and axes[0].name == "y":
        # Without the second axis a column would become a row.
        shape, steps = (*shape, 1), steps * 2
    if not all(np.isfinite(step) and step > 0 for step in steps):
        warnings.warn(
            f"Step sizes {steps} are not all positive. The map gets steps of 1 px.", stacklevel=3
        )
        return {"navigation_shape": shape, "step_sizes": None, "scan_unit": "px"}
    units = [axis.units for axis in axes if isinstance(axis.units, str)]
    unit = units[-1] if units else "px"
    return {"navigation_shape": shape, "step_sizes": steps, "scan_unit": unit}


def checked_mask(mask, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return a mask as an array.

    Parameters
    ----------
    mask
        What was given, or None.
    name
        Name of the argument.
    shape
        Shape that it must have.

    Raises
    ------
    ValueError
        If it is not boolean, of another shape or all True.
    """
    if mask is None:
        return None
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise ValueError(f"{name} must be boolean, not of data type {mask.dtype}.")
    if mask.shape != shape:
        raise ValueError(f"{name} has shape {mask.shape}, but {shape} is needed.")
    if mask.all():
        raise ValueError(f"{name} is all True, which leaves nothing. False means used.")
    return mask


def checked_background(background, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return a static background as an array.

    Parameters
    ----------
    background
        What was given. None and False are none.
    shape
        Shape that it must have.

    Raises
    ------
    ValueError
        If it has another shape or is nowhere finite and positive.
    """
    if background is None or background is False:
        return None
    if background is True:
        raise ValueError(
            "static_background=True is none: give the background, None for the signal's own, or "
            "False for none."
        )
    background = np.asarray(background, dtype=np.float32)
    if background.shape != shape:
        raise ValueError(
            f"static_background has shape {background.shape}, but the patterns have {shape}."
        )
    if not (np.isfinite(background) & (background > 0)).any():
        raise ValueError("static_background must be finite and positive somewhere.")
    return background


def mask_and_background(
    signal: EBSD,
    signal_mask: np.ndarray | None = None,
    static_background: np.ndarray | bool | None = None,
    navigation_mask: np.ndarray | None = None,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Find which pixels of a signal to use and what to divide its patterns by.

    Parameters
    ----------
    signal
        Patterns.
    signal_mask, static_background
        As for :func:`~kikuchipy_cnn.classify_space_group`.
    navigation_mask
        Boolean mask of the navigation shape, False for the patterns to look at.

    Returns
    -------
    signal_mask
        Boolean mask of shape (rows, columns), or None for all pixels.
    static_background
        Background of shape (rows, columns), or None.

    Raises
    ------
    ValueError
        If the given mask or background is unusable.
    """
    shape = signal.data.shape[-2:]
    signal_mask = checked_mask(signal_mask, "signal_mask", shape)
    background = checked_background(static_background, shape)
    sampled = sample_patterns(signal.data, navigation_mask)
    if signal_mask is None:
        signal_mask = find_signal_mask(sampled)
    if static_background is None:
        background = _background_to_remove(signal, sampled, signal_mask)
    return signal_mask, background


def has_background(signal: EBSD) -> bool:
    """Tell whether a signal has a static background.

    Parameters
    ----------
    signal
        Patterns.
    """
    # kikuchipy writes a missing background to files as the number -1.
    return np.ndim(signal.static_background) == 2


def _background_to_remove(
    signal: EBSD, sampled: np.ndarray, signal_mask: np.ndarray | None
) -> np.ndarray | None:
    """Find the static background that a signal has and that is still in its patterns.

    Parameters
    ----------
    signal
        Patterns.
    sampled
        Some of them, from :func:`~kikuchipy_cnn.inference.sample_patterns`.
    signal_mask
        Boolean mask of shape (rows, columns), False for the pixels to use.

    Returns
    -------
    static_background
        Background of shape (rows, columns), or None.

    Warns
    -----
    UserWarning
        If the signal's background has another shape than its patterns.
    """
    if not has_background(signal):
        return None
    shape = sampled.shape[1:]
    background = np.asarray(signal.static_background, dtype=np.float32)
    if background.shape != shape:
        warnings.warn(
            f"The signal's static background has shape {background.shape}, but the patterns have "
            f"{shape}. It is not used.",
            stacklevel=4,
        )
        return None
    return background if carries_background(sampled, background, signal_mask) else None
