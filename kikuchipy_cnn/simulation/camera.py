# SPDX-License-Identifier: GPL-3.0-or-later

"""Imperfections of screens, lenses and cameras, on patterns from anywhere."""

from __future__ import annotations

import numpy as np

from kikuchipy_cnn.simulation._images import (
    binned,
    blurred,
    compress,
    enlarged,
    exp,
    moments,
    random_bits,
    slow_field,
    standardised,
    tanh,
    white_noise,
    with_derivative,
)
from kikuchipy_cnn.simulation._threads import compiled, in_slices
from kikuchipy_cnn.simulation.disturbances import Disturbances

_MOST_GRAINS_OF_DUST = 5
# Spots of a twelfth of the pattern and more.
_MOTTLE_KNOTS = 14
# Spread in radians of the direction of excess and deficiency around downwards.
_ASYMMETRY_SPREAD = 0.4
_ASYMMETRY_STEP = np.float32(1 / 70)
# The level that stands for no saturation (see Disturbances).
_NO_SATURATION = np.float32(100)
_STUCK_LEVEL = np.float32(5)
# Radii of circular detectors in shorter sides, heights of wide ones in fractions of all rows.
_CIRCLE_RADII = (0.46, 0.5)
_WIDE_HEIGHTS = (0.75, 0.96)

# What makes up one camera. Lengths are in units of the pattern's width.
_CAMERA = np.dtype(
    [
        # Those drawn evenly from the range of the same name.
        ("band_loss", np.float32),
        ("band_width", np.float32),
        ("blur", np.float32),
        ("vignetting", np.float32),
        ("background", np.float32),
        ("background_width", np.float32),
        ("background_fall", np.float32),
        ("saturation", np.float32),
        ("gamma", np.float32),
        ("noise_blur", np.float32),
        ("shot", np.float32),
        ("modulation", np.float32),
        ("stuck", np.float32),
        ("contrast", np.float32),
        ("gradient", np.float32),
        ("mottle", np.float32),
        # Others.
        ("asymmetry", np.float32, 2),  # along rows and along columns
        ("background_top", np.float32, 2),  # x and y from the middle
        ("dust", np.float32, (_MOST_GRAINS_OF_DUST, 4)),  # x, y in heights, radius, depth
        ("binned_width", np.float32),  # 0 if not binned
        ("noise", np.float32),
        ("stuck_key", np.uint32, 2),
        ("contrast_field", np.float32, (4, 4)),
        ("gradient_field", np.float32, (4, 4)),
        ("mottle_field", np.float32, (_MOTTLE_KNOTS, _MOTTLE_KNOTS)),
        ("quality", np.float32),  # 0 if not compressed
        ("circle", np.float32),  # radius in shorter sides, 0 if not circular
        ("height", np.float32),  # fraction of the rows that carry signal
    ]
)
_EVENLY_DRAWN = _CAMERA.names[: _CAMERA.names.index("asymmetry")]


class Cameras:
    """Cameras with all that is fixed in them: only their noise differs from image to image.

    Parameters
    ----------
    parameters
        Structured array of shape (n,). See :meth:`draw`.

    Examples
    --------
    >>> from kikuchipy_cnn import simulation
    >>> clean = simulation.simulate_patterns(
    ...     [simulation.load_master_pattern("Ni")],
    ...     3,
    ...     disturbances=simulation.Disturbances.none(),
    ...     dtype="float32",
    ...     show_progressbar=False,
    ... )
    >>> camera = simulation.Cameras.draw(
    ...     simulation.Disturbances.of_level("low"), rng=1
    ... )
    >>> len(camera)
    1
    >>> camera.record(clean.data, rng=2).shape  # all by this one
    (3, 60, 60)
    """

    def __init__(self, parameters: np.ndarray) -> None:
        self._parameters = parameters

    def __len__(self) -> int:
        return len(self._parameters)

    @classmethod
    def draw(
        cls,
        disturbances: Disturbances | None = None,
        n: int = 1,
        rng: np.random.Generator | int | None = None,
    ) -> Cameras:
        """Draw cameras from ranges.

        Parameters
        ----------
        disturbances
            Ranges; those that concern the projection, *pcx* to *overlap_other*, are not used. If
            not given, the default ones.
        n
            How many.
        rng
            Source of random numbers, or its seed.

        Returns
        -------
        cameras
            For one pattern each, or for many if *n* is 1.
        """
        d = disturbances or Disturbances()
        rng = np.random.default_rng(rng)
        cameras = np.zeros(n, _CAMERA)
        for name in _EVENLY_DRAWN:
            cameras[name] = rng.uniform(*getattr(d, name), n)
        angle = rng.normal(0, _ASYMMETRY_SPREAD, n)
        strength = rng.uniform(*d.asymmetry, n)
        cameras["asymmetry"] = np.stack(
            [strength * np.sin(angle), strength * np.cos(angle)], axis=1
        )
        cameras["background_top"] = rng.uniform(*d.background_shift, (n, 2))
        cameras["dust"] = _draw_dust(d, n, rng)
        width = np.round(rng.uniform(*d.binned_width, n))
        cameras["binned_width"] = np.where(rng.random(n) < d.binned, width, 0)
        cameras["noise"] = rng.uniform(*np.sqrt(d.noise), n) ** 2
        cameras["stuck_key"] = _draw_keys(n, rng)
        for name in ("contrast_field", "gradient_field", "mottle_field"):
            cameras[name] = rng.standard_normal((n, *_CAMERA[name].shape))
        quality = rng.uniform(*d.quality, n)
        cameras["quality"] = np.where(rng.random(n) < d.compressed, quality, 0)
        radius = rng.uniform(*_CIRCLE_RADII, n)
        cameras["circle"] = np.where(rng.random(n) < d.circular, radius, 0)
        height = rng.uniform(*_WIDE_HEIGHTS, n)
        cameras["height"] = np.where(rng.random(n) < d.wide, height, 1)
        return cls(cameras)

    def record(
        self,
        patterns: np.ndarray,
        rng: np.random.Generator | int | None = None,
        *,
        workers: int | None = None,
    ) -> np.ndarray:
        """Return patterns as these cameras record them.

        Parameters
        ----------
        patterns
            Patterns of shape (n, rows, cols), of any scale, without values that are not finite.
        rng
            Source of random numbers for the noise, or its seed.
        workers
            Number of threads, on which the result does not depend. If not given, one for each
            processor.

        Returns
        -------
        recorded
            Patterns of the same shape and data type float32, in units of the standard deviation of
            what diffraction makes.

        Raises
        ------
        ValueError
            If patterns and cameras are not equally many, nor is there one camera, or patterns are
            smaller than 8 x 8 pixels.
        """
        patterns = np.ascontiguousarray(patterns, dtype=np.float32)
        if patterns.ndim != 3 or min(patterns.shape[1:]) < 8:
            raise ValueError(
                f"Patterns of shape {patterns.shape} given. Give (n, rows, cols), of at least 8 x "
                "8 pixels."
            )
        cameras = self._for_each_of(len(patterns))
        keys = _draw_keys(len(patterns), np.random.default_rng(rng))
        recorded = np.empty_like(patterns)

        def record_slice(part: slice) -> None:
            _record(patterns[part], cameras[part], keys[part], recorded[part])

        in_slices(record_slice, len(patterns), workers)
        return recorded

    def weights(self, n: int, shape: tuple[int, int], *, workers: int | None = None) -> np.ndarray:
        """Tell where patterns of these cameras carry signal.

        Parameters
        ----------
        n
            Number of patterns.
        shape
            Rows and columns of the patterns.
        workers
            Number of threads. If not given, one for each processor.

        Returns
        -------
        weights
            1 inside a circular or wide detector and 0 outside, of shape (n, rows, cols) and data
            type float32.

        Raises
        ------
        ValueError
            If there is more than one camera, but not *n*.
        """
        cameras = self._for_each_of(n)
        weights = np.empty((n, *shape), np.float32)
        in_slices(lambda part: _fill_weights(cameras[part], weights[part]), n, workers)
        return weights

    def _for_each_of(self, n: int) -> np.ndarray:
        if len(self) not in (1, n):
            raise ValueError(
                f"{len(self)} cameras for {n} patterns. Draw one camera for all or one for each."
            )
        return np.resize(self._parameters, n)


def disturb(
    patterns: np.ndarray,
    disturbances: Disturbances | None = None,
    rng: np.random.Generator | int | None = None,
    *,
    static: bool = False,
    workers: int | None = None,
) -> np.ndarray:
    """Give patterns the imperfections of cameras.

    Parameters
    ----------
    patterns
        Patterns of shape (n, rows, cols), of any scale, without values that are not finite.
    disturbances
        Ranges; those that concern the projection, *pcx* to *overlap_other*, and the detector's
        shape are not used. If not given, the default ones.
    rng
        Source of random numbers, or its seed.
    static
        Whether all patterns are of one camera, as those of a map, so that nothing but the noise
        differs. Otherwise there is a new camera for each.
    workers
        Number of threads, on which the result does not depend. If not given, one for each
        processor.

    Returns
    -------
    disturbed
        Patterns of the same shape and data type float32, in units of the standard deviation of
        what diffraction makes.

    Raises
    ------
    ValueError
        If the patterns have a wrong shape.

    Examples
    --------
    >>> from kikuchipy_cnn import simulation
    >>> clean = simulation.simulate_patterns(
    ...     [simulation.load_master_pattern("Ni")],
    ...     3,
    ...     disturbances=simulation.Disturbances.none(),
    ...     dtype="float32",
    ...     show_progressbar=False,
    ... )
    >>> noisy = simulation.disturb(
    ...     clean.data, simulation.Disturbances.of_level("high"), rng=1
    ... )
    >>> noisy.shape, noisy.dtype
    ((3, 60, 60), dtype('float32'))
    """
    rng = np.random.default_rng(rng)
    cameras = Cameras.draw(disturbances, 1 if static else len(patterns), rng)
    return cameras.record(patterns, rng, workers=workers)


def _draw_keys(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 2**32, (n, 2), dtype=np.uint32)


def _draw_dust(d: Disturbances, n: int, rng: np.random.Generator) -> np.ndarray:
    most = _MOST_GRAINS_OF_DUST
    x, y = rng.uniform(-0.5, 0.5, (2, n, most))
    radius, depth = (rng.uniform(*limits, (n, most)) for limits in (d.dust_radius, d.dust))
    number = np.where(rng.random(n) < d.dusty, rng.integers(1, most + 1, n), 0)
    depth[np.arange(most) >= number[:, None]] = 0
    return np.stack([x, y, radius, depth], axis=-1)


_F = np.float32
_ZERO, _HALF, _ONE, _TWO = _F(0), _F(0.5), _F(1), _F(2)


@compiled
def _record(patterns, cameras, keys, out):
    """Record each pattern with its camera; keys decide the noise."""
    n, rows, cols = patterns.shape
    for i in range(n):
        camera, recorded = cameras[i], out[i]
        image = _seen_by_camera(patterns[i], camera)
        width = int(camera.binned_width)
        less = 0 < width < cols
        if less:
            image = binned(image, max(8, int(rows * width / cols + 0.5)), width)
        image = _read_out(image, camera, keys[i])
        if less:
            image = enlarged(image, rows, cols)
        for k in range(rows):
            row, to = image[k], recorded[k]
            for j in range(cols):
                to[j] = row[j]


@compiled
def _seen_by_camera(pattern, camera):
    """Pattern on the screen, through the lens."""
    cols = pattern.shape[1]
    image = standardised(pattern)
    step = _F(cols) * _ASYMMETRY_STEP
    # Bands are brighter on the side turned to the beam: add a derivative along its direction.
    image = with_derivative(image, step * camera.asymmetry[0], step * camera.asymmetry[1])
    return blurred(image, camera.blur * _F(cols), _ONE)


@compiled
def _read_out(image, camera, key):
    """Image of the camera's pixels after its response, noise and processing."""
    image = standardised(_without_broad_contrast(image, camera))
    if camera.saturation < _NO_SATURATION:
        _saturate(image, camera.saturation)
    image = standardised(_bent(standardised(image), camera))
    image = _with_noise(image, camera, key)
    _add_dust(image, camera)
    _stick(image, camera)
    if camera.quality > 0:
        compress(image, camera.quality)
    return image


@compiled
def _offsets(n, extent):
    """Distances of pixels from the pattern's middle along one direction."""
    offsets = np.empty(n, np.float32)
    for i in range(n):
        offsets[i] = _F(((i + 0.5) / n - 0.5) * extent)
    return offsets


@compiled
def _gaussian(offsets, middle, sigma):
    values = np.empty_like(offsets)
    for i in range(offsets.size):
        values[i] = exp(-_HALF * ((offsets[i] - middle) / sigma) ** 2)
    return values


@compiled
def _vignetting(camera, rows, cols):
    """What the lens lets through."""
    x, y = _offsets(cols, 1.0), _offsets(rows, rows / cols)
    strength = camera.vignetting / (x[0] * x[0] + y[0] * y[0])
    through = np.empty((rows, cols), np.float32)
    for i in range(rows):
        to = through[i]
        middle = _ONE - strength * y[i] * y[i]
        for j in range(cols):
            to[j] = middle - strength * x[j] * x[j]
    return through


@compiled
def _hump(camera, rows, cols):
    """Static background's hump of height 1."""
    across = _gaussian(_offsets(cols, 1.0), camera.background_top[0], camera.background_width)
    along = _gaussian(
        _offsets(rows, rows / cols), camera.background_top[1], camera.background_width
    )
    hump = np.empty((rows, cols), np.float32)
    for i in range(rows):
        to = hump[i]
        for j in range(cols):
            to[j] = along[i] * across[j]
    return hump


@compiled
def _without_broad_contrast(image, camera):
    # In small patterns, all would be broad otherwise, and a loss above 1 turn black into white.
    broad = blurred(image, max(camera.band_width * _F(image.shape[1]), _ONE), _ONE)
    for i in range(image.shape[0]):
        row, from_row = broad[i], image[i]
        for j in range(row.size):
            row[j] = from_row[j] - camera.band_loss * row[j]
    return broad


@compiled
def _saturate(image, level):
    for i in range(image.shape[0]):
        row = image[i]
        for j in range(row.size):
            row[j] = level * tanh(row[j] / level)


@compiled
def _bent(image, camera):
    """Image under uneven contrast, after a response that is not linear."""
    rows, cols = image.shape
    field = slow_field(camera.contrast_field, rows, cols)
    through = _vignetting(camera, rows, cols)
    contrast, gamma = camera.contrast, camera.gamma
    linear = abs(gamma) < _F(1e-3)
    for i in range(rows):
        row, slow, light = image[i], field[i], through[i]
        for j in range(cols):
            row[j] *= light[j] * exp(contrast * slow[j])
        if not linear:
            for j in range(cols):
                row[j] = (exp(gamma * row[j]) - _ONE) / gamma
    return image


@compiled
def _with_noise(image, camera, key):
    """Image with noise and with what additive background is left."""
    rows, cols = image.shape
    field = slow_field(camera.gradient_field, rows, cols)
    spots = slow_field(camera.mottle_field, rows, cols)
    hump = _hump(camera, rows, cols)
    light = _vignetting(camera, rows, cols)
    for i in range(rows):
        row, from_hump = light[i], hump[i]
        for j in range(cols):
            row[j] *= _ONE - camera.background_fall * (_ONE - from_hump[j])
    shot = camera.shot / max(moments(light)[0], _F(1e-6))
    noise = blurred(white_noise(rows, cols, key), camera.noise_blur * _F(cols), _TWO)
    level, constant, modulation = camera.noise, _ONE - camera.shot, camera.modulation
    gradient, mottle, background = camera.gradient, camera.mottle, camera.background
    for i in range(rows):
        row, from_hump, lit, white = image[i], hump[i], light[i], noise[i]
        slow, spotty = field[i], spots[i]
        for j in range(cols):
            intensity = max(lit[j] + modulation * row[j], _ZERO)
            row[j] += (
                level * np.sqrt(constant + shot * intensity) * white[j]
                + gradient * slow[j]
                + mottle * spotty[j]
                + background * from_hump[j]
            )
    return image


@compiled
def _add_dust(image, camera):
    rows, cols = image.shape
    for k in range(camera.dust.shape[0]):
        depth = camera.dust[k, 3]
        if depth > 0:
            radius = camera.dust[k, 2]
            across = _gaussian(_offsets(cols, 1.0), camera.dust[k, 0], radius)
            middle = camera.dust[k, 1] * _F(rows / cols)
            along = _gaussian(_offsets(rows, rows / cols), middle, radius)
            for i in range(rows):
                row = image[i]
                for j in range(cols):
                    row[j] -= depth * along[i] * across[j]


@compiled
def _stick(image, camera):
    """Give pixels that do not work their constant values."""
    flat = image.reshape(-1)
    number = int(camera.stuck * flat.size + 0.5)
    if number == 0:
        return
    mean, deviation = moments(image)
    for k in range(number):
        bits = random_bits(np.uint32(k), camera.stuck_key[0], camera.stuck_key[1])
        hot = (bits & np.uint32(1)) != 0
        level = mean + (_STUCK_LEVEL if hot else -_STUCK_LEVEL) * deviation
        flat[int(bits >> np.uint32(1)) % flat.size] = level


@compiled
def _fill_weights(cameras, weights):
    """Write 1 where a detector has pixels and 0 elsewhere."""
    n, rows, cols = weights.shape
    shorter = min(rows, cols)
    for i in range(n):
        radius, height = cameras[i].circle * shorter, cameras[i].height * rows / 2
        for k in range(rows):
            y = k + 0.5 - rows / 2
            row = weights[i, k]
            if abs(y) >= height:
                row[:] = _ZERO
                continue
            for j in range(cols):
                x = j + 0.5 - cols / 2
                inside = radius == 0 or x * x + y * y < radius * radius
                row[j] = _ONE if inside else _ZERO
