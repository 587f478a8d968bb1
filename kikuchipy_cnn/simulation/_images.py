# SPDX-License-Identifier: GPL-3.0-or-later

"""Compiled operations on single images of data type float32.

Functions of one number are polynomials: calls of the mathematical library would keep loops from
being vectorised, and images need no more than six digits.
"""

from __future__ import annotations

import numpy as np

from kikuchipy_cnn.simulation._threads import compiled

# Numba computes in 64 bits wherever a constant or an integer has 64.
_F = np.float32
_U = np.uint32
_ZERO, _HALF, _ONE, _TWO = _F(0), _F(0.5), _F(1), _F(2)
_LOG2_E, _LN_2 = _F(np.log2(np.e)), _F(np.log(2))
_SQRT_HALF = _F(np.sqrt(0.5))
_TINY = _F(1e-20)


@compiled
def exp(x):
    """Exponential of a number in [-87, 88], to 1e-6."""
    x = min(max(x, _F(-87)), _F(88))
    n = np.floor(x * _LOG2_E + _HALF)
    r = x - n * _LN_2
    series = _F(1 / 120) + r * _F(1 / 720)
    series = _F(1 / 6) + r * (_F(1 / 24) + r * series)
    series = _ONE + r * (_ONE + r * (_HALF + r * series))
    # A power of two is its exponent's bits.
    return series * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@compiled
def log(x):
    """Natural logarithm of a positive normal number, to 1e-6 (Cephes, logf)."""
    bits = np.float32(x).view(np.int32)
    exponent = _F(np.int32(bits >> np.int32(23)) - np.int32(126))
    m = np.int32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000)).view(np.float32)
    low = m < _SQRT_HALF
    exponent = exponent - _ONE if low else exponent
    m = m + m - _ONE if low else m - _ONE
    p = _F(7.0376836292e-2) * m - _F(1.1514610310e-1)
    p = p * m + _F(1.1676998740e-1)
    p = p * m - _F(1.2420140846e-1)
    p = p * m + _F(1.4249322787e-1)
    p = p * m - _F(1.6668057665e-1)
    p = p * m + _F(2.0000714765e-1)
    p = p * m - _F(2.4999993993e-1)
    p = p * m + _F(3.3333331174e-1)
    square = m * m
    return m + m * square * p - _HALF * square + exponent * _LN_2


@compiled
def tanh(x):
    """Hyperbolic tangent, to 1e-6."""
    e = exp(_TWO * x)
    return (e - _ONE) / (e + _ONE)


@compiled
def arctan(x):
    """Arc tangent of a number in [0, 1], to 3e-7 (fitted at Chebyshev nodes)."""
    s = x * x
    p = _F(0.07962289) + s * (_F(-0.03360358) + s * _F(0.00681159))
    p = _F(0.19807802) + s * (_F(-0.13233295) + s * p)
    return x * (_F(0.99999611) + s * (_F(-0.33317366) + s * p))


@compiled
def _mix(x):
    """Scatter the bits of a 32-bit number (C. Wellons, hash-prospector: lowbias32)."""
    x = _U(x ^ _U(x >> _U(16)))
    x = _U(x * _U(0x7FEB352D))
    x = _U(x ^ _U(x >> _U(15)))
    x = _U(x * _U(0x846CA68B))
    return _U(x ^ _U(x >> _U(16)))


@compiled
def random_bits(counter, key0, key1):
    """Random 32 bits that a counter and a key of two numbers decide."""
    return _mix(_U(_mix(_U(counter ^ key0)) + key1))


@compiled
def _uniform(bits):
    """Number in (0, 1) from the upper 24 of random bits."""
    return (_F(np.int32(bits >> _U(8))) + _HALF) * _F(2**-24)


@compiled
def white_noise(rows, cols, key):
    """Independent standard normal numbers (Box and Muller), the same for the same key.

    Parameters
    ----------
    rows, cols
        Shape of the image.
    key
        Two numbers of 32 bits.

    Returns
    -------
    noise
        Image of shape (rows, cols).
    """
    half = (rows * cols + 1) // 2
    both = np.empty((2, half), np.float32)
    first, second = both[0], both[1]
    # Keys that differ in the first number only would give the same numbers in another order.
    key0, key1 = key[0], _U(key[1] + _mix(key[0]))
    for k in range(half):
        radius = np.sqrt(-_TWO * log(_uniform(random_bits(_U(2 * k), key0, key1))))
        bits = random_bits(_U(2 * k + 1), key0, key1)
        # Half a turn, and a bit that the angle does not use to choose between the two halves.
        angle = (_uniform(bits) - _HALF) * _F(np.pi)
        s = angle * angle
        sine = _F(1 / 362880) - s * _F(1 / 39916800)
        sine = _F(1 / 120) - s * (_F(1 / 5040) - s * sine)
        sine = angle * (_ONE - s * (_F(1 / 6) - s * sine))
        cosine = _F(1 / 40320) - s * (_F(1 / 3628800) - s * _F(1 / 479001600))
        cosine = _ONE - s * (_HALF - s * (_F(1 / 24) - s * (_F(1 / 720) - s * cosine)))
        first[k] = radius * sine
        second[k] = radius * (cosine if (bits & _U(1)) == 0 else -cosine)
    return both.reshape(-1)[: rows * cols].reshape(rows, cols)


@compiled
def moments(image):
    """Mean and standard deviation of an image; the latter is never 0."""
    total, squares = 0.0, 0.0
    # Relative to one of the values: squares of a bright image would lose the digits that vary.
    origin = image[0, 0]
    for i in range(image.shape[0]):
        row = image[i]
        part, part_squares = _ZERO, _ZERO
        for j in range(row.size):
            x = row[j] - origin
            part += x
            part_squares += x * x
        total += part
        squares += part_squares
    mean = total / image.size
    deviation = np.sqrt(max(squares / image.size - mean * mean, 0.0))
    return origin + _F(mean), max(_F(deviation), _F(1e-6))


@compiled
def standardised(image):
    """Copy of an image with mean 0 and standard deviation 1."""
    mean, deviation = moments(image)
    scale = _ONE / deviation
    out = np.empty_like(image)
    for i in range(image.shape[0]):
        row, to = image[i], out[i]
        for j in range(row.size):
            to[j] = (row[j] - mean) * scale
    return out


@compiled
def with_derivative(image, along_rows, along_columns):
    """Image plus multiples of its derivatives along x (columns) and y (rows), per pixel."""
    rows, cols = image.shape
    out = np.empty_like(image)
    for i in range(rows):
        above, below = image[max(i - 1, 0)], image[min(i + 1, rows - 1)]
        row, to = image[i], out[i]
        # At the border the difference is one-sided.
        dy = along_columns / _F(min(i + 1, rows - 1) - max(i - 1, 0))
        dx = along_rows * _HALF
        for j in range(1, cols - 1):
            to[j] = row[j] + dy * (below[j] - above[j]) + dx * (row[j + 1] - row[j - 1])
        to[0] = row[0] + dy * (below[0] - above[0]) + along_rows * (row[1] - row[0])
        to[cols - 1] = (
            row[cols - 1]
            + dy * (below[cols - 1] - above[cols - 1])
            + along_rows * (row[cols - 1] - row[cols - 2])
        )
    return out


@compiled
def blurred(image, sigma, norm):
    """Filter with a Gaussian.

    Parameters
    ----------
    image
        Image of shape (rows, cols).
    sigma
        Standard deviation in pixels. Below a fifth of a pixel nothing changes.
    norm
        1 keeps the mean of an image, 2 the variance of white noise.

    Returns
    -------
    filtered
        Image of shape (rows, cols).
    """
    if sigma < _F(0.2):
        return image
    rows, cols = image.shape
    taps = _gaussian_taps(sigma)
    reach = taps.size - 1
    scale_x, scale_y = _tap_scales(taps, cols, norm), _tap_scales(taps, rows, norm)

    across = np.zeros((rows + 2 * reach, cols), np.float32)
    line = np.zeros(cols + 2 * reach, np.float32)
    for i in range(rows):
        row, to = image[i], across[reach + i]
        for j in range(cols):
            line[reach + j] = row[j]
            to[j] = taps[0] * row[j]
        for k in range(1, reach, 4):
            before, after = line[reach - k - 3 :], line[reach + k :]
            _add_four(
                to,
                taps[k:],
                before[3:],
                after,
                before[2:],
                after[1:],
                before[1:],
                after[2:],
                before,
                after[3:],
            )
        for j in range(cols):
            to[j] *= scale_x[j]

    out = np.empty_like(image)
    for i in range(rows):
        at = reach + i
        to, middle, scale = out[i], across[at], scale_y[i]
        for j in range(cols):
            to[j] = taps[0] * middle[j]
        for k in range(1, reach, 4):
            before, after = across[at - k - 3 :], across[at + k :]
            _add_four(
                to,
                taps[k:],
                before[3],
                after[0],
                before[2],
                after[1],
                before[1],
                after[2],
                before[0],
                after[3],
            )
        for j in range(cols):
            to[j] *= scale
    return out


@compiled
def _gaussian_taps(sigma):
    """One half of a Gaussian; the last few numbers may be 0, as taps are added in fours."""
    taps = np.zeros(1 + 4 * int(np.ceil(_F(0.875) * sigma)), np.float32)
    for k in range(int(np.ceil(_F(3.5) * sigma)) + 1):
        taps[k] = exp(-_HALF * (_F(k) / sigma) ** 2)
    return taps


@compiled
def _add_four(to, taps, a, b, c, d, e, f, g, h):
    """Add pairs of lines, each multiplied with a tap: half the time of one pair after the other."""
    first, second, third, fourth = taps[0], taps[1], taps[2], taps[3]
    for j in range(to.size):
        to[j] += (
            first * (a[j] + b[j])
            + second * (c[j] + d[j])
            + third * (e[j] + f[j])
            + fourth * (g[j] + h[j])
        )


@compiled
def _tap_scales(taps, n, norm):
    """Factors that make up for the taps that fall beyond a border."""
    reach = taps.size - 1
    scales = np.empty(n, np.float32)
    for i in range(n):
        total = _ZERO
        for k in range(-min(i, reach), min(n - 1 - i, reach) + 1):
            tap = taps[abs(k)]
            total += tap * tap if norm == _TWO else tap
        scales[i] = _ONE / (np.sqrt(total) if norm == _TWO else total)
    return scales


@compiled
def slow_field(coarse, rows, cols):
    """Field of mean 0 and standard deviation 1 that varies slowly.

    Parameters
    ----------
    coarse
        Amplitudes of bumps on a grid over the image, of shape (knots, knots). With four knots, the
        field varies over a third of the image or more.
    rows, cols
        Shape of the image.

    Returns
    -------
    field
        Image of shape (rows, cols).
    """
    knots = coarse.shape[0]
    bumps_y, bumps_x = _bumps(knots, rows), _bumps(knots, cols)
    field = np.zeros((rows, cols), np.float32)
    for i in range(rows):
        to = field[i]
        for m in range(knots):
            height = _ZERO
            for k in range(knots):
                height += bumps_y[k, i] * coarse[k, m]
            across = bumps_x[m]
            for j in range(cols):
                to[j] += height * across[j]
    return standardised(field)


@compiled
def _bumps(knots, n):
    """Overlapping Gaussians, the outer ones half a distance from the ends, of shape (knots, n)."""
    bumps = np.empty((knots, n), np.float32)
    for j in range(n):
        x = _F(knots) * _F(j) / _F(max(n - 1, 1)) - _HALF
        for k in range(knots):
            bumps[k, j] = exp(-_HALF * ((x - _F(k)) / _F(0.8)) ** 2)
    return bumps


@compiled
def binned(image, rows, cols):
    """Mean intensity in the blocks, of any size of a pixel or more, of a coarser grid.

    Parameters
    ----------
    image
        Image.
    rows, cols
        Shape of the grid.

    Returns
    -------
    blocks
        Image of shape (rows, cols).
    """
    fine_rows, fine_cols = image.shape
    height, width = fine_rows / rows, fine_cols / cols
    out = np.empty((rows, cols), np.float32)
    line = np.empty(fine_cols, np.float32)
    for i in range(rows):
        line[:] = _ZERO
        for k in range(int(i * height), min(int(np.ceil((i + 1) * height)), fine_rows)):
            share = _F((min(k + 1, (i + 1) * height) - max(k, i * height)) / height)
            row = image[k]
            for j in range(fine_cols):
                line[j] += share * row[j]
        for j in range(cols):
            total = _ZERO
            for k in range(int(j * width), min(int(np.ceil((j + 1) * width)), fine_cols)):
                total += line[k] * _F(min(k + 1, (j + 1) * width) - max(k, j * width))
            out[i, j] = total / _F(width)
    return out


@compiled
def enlarged(image, rows, cols):
    """Linear interpolation to a finer grid, constant beyond the outermost pixels' middles.

    Parameters
    ----------
    image
        Image.
    rows, cols
        Shape of the grid.

    Returns
    -------
    finer
        Image of shape (rows, cols).
    """
    first_row, share_y = _neighbours(image.shape[0], rows)
    first_col, share_x = _neighbours(image.shape[1], cols)
    last = image.shape[0] - 1
    out = np.empty((rows, cols), np.float32)
    line = np.empty(image.shape[1] + 1, np.float32)
    for i in range(rows):
        above, below = image[first_row[i]], image[min(first_row[i] + 1, last)]
        for j in range(above.size):
            line[j] = above[j] + share_y[i] * (below[j] - above[j])
        line[above.size] = line[above.size - 1]
        to = out[i]
        for j in range(cols):
            start = line[first_col[j]]
            to[j] = start + share_x[j] * (line[first_col[j] + 1] - start)
    return out


@compiled
def _neighbours(coarse, fine):
    """Coarse pixel before each fine one, and the share of the one after it."""
    first, share = np.empty(fine, np.int64), np.empty(fine, np.float32)
    for i in range(fine):
        at = min(max((i + 0.5) * coarse / fine - 0.5, 0.0), coarse - 1.0)
        first[i] = int(at)
        share[i] = _F(at - first[i])
    return first, share


# Quantisation of luminance in annex K of the standard ITU-T T.81.
_QUANTISATION = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
_COSINES = np.array(
    [
        [np.sqrt((1 if k == 0 else 2) / 8) * np.cos(np.pi * k * (2 * x + 1) / 16) for x in range(8)]
        for k in range(8)
    ],
    np.float32,
)
_COSINES_BACK = np.ascontiguousarray(_COSINES.T)


@compiled
def compress(image, quality):
    """Replace an image by what JPEG compression of its grey values 0 to 255 leaves of it.

    Parameters
    ----------
    image
        Image; its lowest value becomes black and its highest white.
    quality
        1 to 100, as of the Independent JPEG Group's library.
    """
    rows, cols = image.shape
    low, high = image.min(), image.max()
    to_grey = _F(255) / max(high - low, _TINY)
    from_grey = _ONE / to_grey
    scale = _F(50) / quality if quality < 50 else _TWO - quality / _F(50)
    steps = np.empty((8, 8), np.float32)
    for k in range(8):
        for l in range(8):
            steps[k, l] = min(max(np.floor(_QUANTISATION[k, l] * scale + _HALF), _ONE), _F(255))
    block, spare = np.empty((8, 8), np.float32), np.empty((8, 8), np.float32)
    for top in range(0, rows, 8):
        for start in range(0, cols, 8):
            for k in range(8):
                for l in range(8):
                    # Blocks at the border are filled up with the last pixel.
                    grey = image[min(top + k, rows - 1), min(start + l, cols - 1)] - low
                    block[k, l] = np.rint(grey * to_grey) - _F(128)
            _cosine_transform(_COSINES, block, spare)
            for k in range(8):
                for l in range(8):
                    block[k, l] = np.rint(block[k, l] / steps[k, l]) * steps[k, l]
            _cosine_transform(_COSINES_BACK, block, spare)
            for k in range(min(8, rows - top)):
                for l in range(min(8, cols - start)):
                    grey = min(max(np.rint(block[k, l]) + _F(128), _ZERO), _F(255))
                    image[top + k, start + l] = grey * from_grey + low


@compiled
def _cosine_transform(basis, block, spare):
    """Multiply a block, in place, with a basis from the left and its transpose from the right."""
    _transposed_product(basis, block, spare)
    _transposed_product(basis, spare, block)


@compiled
def _transposed_product(a, b, out):
    for l in range(8):
        for k in range(8):
            total = _ZERO
            for m in range(8):
                total += a[k, m] * b[m, l]
            out[l, k] = total
