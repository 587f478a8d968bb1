# SPDX-License-Identifier: GPL-3.0-or-later

"""Ranges of geometry and imperfections, and what they mean."""

from __future__ import annotations

import math
import textwrap
from dataclasses import Field, dataclass, field, fields, replace
from numbers import Real

import numpy as np

Range = tuple[float, float]
# Severity of the imperfections, with all geometries, by which models are judged.
NOISE_LEVELS = {"low": 0.2, "medium": 0.5, "high": 1.0}
_GEOMETRY = ("pcx", "pcy", "pcz", "pc_spread", "stretch")
_LINE_LENGTH = 100


def _range(
    meaning: str,
    low: float,
    high: float,
    *,
    none: float | None = 0.0,
    scales: bool = True,
    reciprocal: bool = False,
    least: float = -math.inf,
    most: float = math.inf,
):
    """Field for a range.

    Parameters
    ----------
    meaning
        What is drawn from the range.
    low, high
        Default limits.
    none
        Value that has no effect. None if there is none.
    scales
        Whether the range shrinks with the severity: to *none*, or to its middle if that is None.
    reciprocal
        Whether it is the reciprocal that shrinks in proportion.
    least, most
        Limits of what is possible.
    """
    metadata = {"meaning": meaning, "none": none, "scales": scales, "reciprocal": reciprocal}
    metadata |= {"least": least, "most": most}
    return field(default=(low, high), metadata=metadata)


def _fraction(meaning: str, default: float, *, scales: bool = True):
    """Field for how often something happens, which may become less often with the severity."""
    return field(default=default, metadata={"meaning": meaning, "scales": scales})


def _is_range(entry: Field) -> bool:
    return isinstance(entry.default, tuple)


def _with_parameters(cls: type) -> type:
    """Complete a docstring with the fields' meanings, which are thus written once."""
    if cls.__doc__ is None:  # python -OO
        return cls
    lines = ["Parameters", "----------"]
    for entry in fields(cls):
        meaning = textwrap.wrap(entry.metadata["meaning"], _LINE_LENGTH - 8)
        lines += [entry.name, *(f"    {line}" for line in meaning)]
    parameters = textwrap.indent("\n".join(lines), "    ")
    before, heading, after = cls.__doc__.partition("    Raises\n")
    cls.__doc__ = f"{before}{parameters}\n\n{heading}{after}"
    return cls


@_with_parameters
@dataclass(frozen=True)
class Disturbances:
    """Ranges from which the geometry and the imperfections of each pattern are drawn.

    Ranges are (lowest, highest), and values are drawn evenly; single numbers are fractions of all
    patterns. Lengths are in units of the pattern's width, intensities in units of the standard
    deviation of the pattern that diffraction makes.

    A camera that counts *n* electrons per pixel has a noise of 1 / (modulation * sqrt(n)), all of
    it shot noise. It is drawn from a normal distribution, close to Poisson's from ten electrons on.

    Raises
    ------
    ValueError
        If a range is upside down or reaches what is not possible, or a fraction is not one.

    Examples
    --------
    >>> from kikuchipy_cnn.simulation import Disturbances
    >>> Disturbances().noise, Disturbances.of_level("medium").noise
    ((0.0, 1.6), (0.0, 0.8))
    >>> Disturbances.none().noise
    (0.0, 0.0)
    >>> mine = Disturbances(noise=(0.5, 0.5), circular=0, wide=0)
    >>> mine.scaled(0.5).noise
    (0.25, 0.25)
    """

    # Geometry.
    pcx: Range = _range(
        "Projection center from the left, in pattern widths (Bruker's convention).",
        *(0.4, 0.6),
        none=None,
    )
    pcy: Range = _range(
        "Projection center from the top, in pattern heights (Bruker's convention).",
        *(0.08, 0.6),
        none=None,
    )
    pcz: Range = _range(
        "Distance of the detector in pattern heights (Bruker's convention); its logarithm is drawn "
        "evenly.",
        *(0.42, 1.1),
        none=None,
        least=1e-3,
    )
    pc_spread: Range = _range(
        "Standard deviation of all three coordinates around the projection center of a given "
        "detector, which takes the place of the three ranges above.",
        *(0.0, 0.01),
        least=0,
        most=0.1,
    )
    stretch: Range = _range(
        "Relative difference of the scales along rows and columns.",
        *(-0.03, 0.03),
        least=-1,
        most=1,
    )

    # Crystals.
    strain: Range = _range(
        "Norm of the crystal's strain without change of volume, of random direction: elastic "
        "strain and lattice parameters that differ from the simulated ones.",
        *(0.0, 0.005),
        least=0,
        most=0.3,
    )
    overlap: float = _fraction(
        "Fraction of patterns mixed with the pattern of a second grain, as at grain boundaries.",
        0.1,
    )
    overlap_weight: Range = _range(
        "Share of the second grain in the intensity.", *(0.05, 0.4), least=0, most=0.5
    )
    overlap_other: float = _fraction(
        "Fraction of second grains whose phase is drawn anew; the others are of the first one's.",
        0.0,
        scales=False,
    )
    band_loss: Range = _range(
        "Fraction of the broad contrast of bands that is lost. In patterns of cameras the inside "
        "of a band is less bright, against its fine lines, than in simulations, or even dark. A "
        "loss of 0.8 fits the nickel patterns of kikuchipy best.",
        *(-0.3, 1.6),
    )
    band_width: Range = _range(
        "Standard deviation of what is broad.", *(0.015, 0.05), none=None, scales=False, least=1e-3
    )
    asymmetry: Range = _range(
        "Strength of the difference between the two edges of a band (excess and deficiency): a "
        "derivative, per 1/70 of the width, within some 20 degrees of downwards.",
        *(-0.6, 0.6),
    )

    # Screen and lens.
    circular: float = _fraction("Fraction of patterns from a circular detector.", 0.3, scales=False)
    wide: float = _fraction(
        "Fraction of patterns from a detector wider than high.", 0.15, scales=False
    )
    blur: Range = _range(
        "Standard deviation of the point spread function of screen and lens.", *(0.0, 0.02), least=0
    )
    vignetting: Range = _range(
        "Fraction of the light that the lens loses in the corners; the loss grows with the square "
        "of the distance from the middle.",
        *(0.0, 0.4),
        least=0,
        most=1,
    )
    background: Range = _range(
        "Height of the static background's hump, a Gaussian, as far as it is not removed; below 0 "
        "where too much was.",
        *(-0.5, 1.5),
    )
    background_width: Range = _range(
        "Standard deviation of the hump.", *(0.3, 0.7), none=None, scales=False, least=0.01
    )
    background_shift: Range = _range(
        "Distance of the hump's top from the pattern's middle, along rows and along columns.",
        *(-0.2, 0.2),
        least=-1,
        most=1,
    )
    background_fall: Range = _range(
        "Fraction by which the intensity on the screen is lower far from the hump's top. It acts "
        "on the shot noise, whether the background is removed or not.",
        *(0.2, 0.7),
        least=0,
        most=1,
    )
    dusty: float = _fraction("Fraction of patterns with up to five grains of dust.", 0.15)
    dust: Range = _range("Depth of the dark spot of a grain of dust.", *(0.5, 3.0), least=0)
    dust_radius: Range = _range(
        "Standard deviation of the spot, a Gaussian.",
        *(0.01, 0.03),
        none=None,
        scales=False,
        least=1e-3,
    )

    # Camera.
    binned: float = _fraction(
        "Fraction of patterns from a camera with fewer pixels, or binned ones: everything but "
        "asymmetry and blur acts on its pixels, and what it records is interpolated.",
        0.2,
    )
    binned_width: Range = _range(
        "Number of pixels along its rows; without effect where it is not below the pattern's.",
        *(48, 128),
        none=None,
        scales=False,
        least=8,
    )
    saturation: Range = _range(
        "Standard deviations at which bright zone axes level off; at 100 they do not.",
        *(1.5, 5.0),
        none=100.0,
        # The effect goes with the level's reciprocal.
        reciprocal=True,
        least=0.1,
        most=100,
    )
    gamma: Range = _range(
        "Curvature of a non-linear response; 0 is linear.", *(-0.25, 0.25), least=-2, most=2
    )
    noise: Range = _range(
        "Standard deviation of the noise; its square root is drawn evenly.", *(0.0, 1.6), least=0
    )
    noise_blur: Range = _range(
        "Standard deviation of the correlation of the noise.", *(0.0, 0.008), scales=False, least=0
    )
    shot: Range = _range(
        "Fraction of the noise's variance that is shot noise, proportional to the intensity with "
        "its background. The rest is read noise, the same everywhere.",
        *(0.0, 1.0),
        least=0,
        most=1,
    )
    modulation: Range = _range(
        "Standard deviation of the diffraction pattern relative to the mean intensity, where shot "
        "noise is concerned.",
        *(0.05, 0.2),
        none=None,
        scales=False,
        least=0,
        most=1,
    )
    stuck: Range = _range(
        "Fraction of pixels that are dead or hot, five standard deviations below or above the "
        "mean.",
        *(0.0, 0.001),
        least=0,
        most=1,
    )

    # Processing.
    contrast: Range = _range("Amplitude of slowly varying contrast.", *(0.0, 0.6), least=0, most=3)
    gradient: Range = _range(
        "Amplitude of slowly varying brightness.", *(0.0, 1.0), least=0, most=10
    )
    mottle: Range = _range(
        "Amplitude of brightness that varies over a twelfth of the pattern: electrons of less "
        "energy and from other grains, uneven screens. Most real patterns have more of it than "
        "simulated ones.",
        *(0.0, 0.9),
        least=0,
        most=10,
    )
    compressed: float = _fraction("Fraction of patterns that were stored with JPEG.", 0.15)
    quality: Range = _range(
        "Quality of JPEG compression, from 1 to 100.", *(50, 95), none=100.0, least=1, most=100
    )

    def __post_init__(self) -> None:
        for entry in fields(self):
            check = _check_range if _is_range(entry) else _check_fraction
            check(entry, getattr(self, entry.name))

    @classmethod
    def none(cls) -> Disturbances:
        """Return disturbances without any imperfection; projection centers keep their ranges.

        Returns
        -------
        disturbances
            Ranges of one value each, that without effect, and fractions of 0.
        """
        values = {}
        for entry in fields(cls):
            if not _is_range(entry):
                values[entry.name] = 0.0
            elif entry.metadata["none"] is not None:
                values[entry.name] = (entry.metadata["none"],) * 2
        return cls(**values)

    @classmethod
    def of_level(cls, level: str) -> Disturbances:
        """Return imperfections of a documented level, by which models are judged.

        Parameters
        ----------
        level
            ``"low"``, ``"medium"`` or ``"high"``: 0.2, 0.5 or all of the default ranges of
            imperfections, and all of those of geometry.

        Returns
        -------
        disturbances
            Ranges.

        Raises
        ------
        ValueError
            If there is no such level.
        """
        if level not in NOISE_LEVELS:
            raise ValueError(f"level={level!r} is none of {', '.join(map(repr, NOISE_LEVELS))}.")
        return cls().scaled(NOISE_LEVELS[level], geometry=False)

    def of_whole_detector(self) -> Disturbances:
        """Return these disturbances for detectors that fill the pattern.

        A map tells the shape of its detector, which is masked before its patterns are classified.
        Where patterns of circular and of square detectors are mixed, none can be found.

        Returns
        -------
        disturbances
            Without circular detectors and those wider than high.
        """
        return replace(self, circular=0.0, wide=0.0)

    def scaled(self, severity: float, *, geometry: bool = True) -> Disturbances:
        """Shrink imperfections to a fraction of their ranges, and geometry towards its middle.

        Parameters
        ----------
        severity
            1 changes nothing; with 0, imperfections are without effect. Detectors keep their
            shapes.
        geometry
            Whether to shrink the ranges of the projection center and of the stretch, too.

        Returns
        -------
        disturbances
            Narrower ranges; what happens to a fraction of the patterns happens less often.

        Raises
        ------
        ValueError
            If the severity is not in [0, 1].
        """
        if not 0 <= severity <= 1:
            raise ValueError(f"severity={severity} is not in [0, 1], from nothing to full ranges.")
        values = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not entry.metadata["scales"] or (entry.name in _GEOMETRY and not geometry):
                continue
            if not _is_range(entry):
                values[entry.name] = severity * value
                continue
            none = entry.metadata["none"]
            rest = sum(value) / 2 if none is None else none
            values[entry.name] = tuple(_between(rest, x, severity, entry) for x in value)
        return replace(self, **values)

    def thinned(self, fraction: float, rng: np.random.Generator) -> Disturbances:
        """Leave out imperfections at random: no camera has all of them.

        Parameters
        ----------
        fraction
            Probability, from 0 to 1, with which each parameter that can be without effect is set
            so. Geometry stays. What takes two parameters, such as *overlap* and *overlap_weight*,
            is left out more often.
        rng
            Source of random numbers.

        Returns
        -------
        disturbances
            Fewer imperfections.
        """
        nothing = Disturbances.none()
        left_out = {
            entry.name: getattr(nothing, entry.name)
            for entry in fields(self)
            if rng.random() < fraction and entry.name not in _GEOMETRY and _can_be_nothing(entry)
        }
        return replace(self, **left_out)

    @classmethod
    def table(cls) -> str:
        """Return a table in Markdown of all parameters, their default ranges and meanings.

        Returns
        -------
        table
            Lines of Markdown, one for each parameter, below the head.
        """
        rows = ["| name | default | meaning |", "|---|---|---|"]
        for entry in fields(cls):
            value = entry.default
            shown = f"{value[0]:g} to {value[1]:g}" if _is_range(entry) else f"{value:g}"
            rows.append(f"| `{entry.name}` | {shown} | {entry.metadata['meaning']} |")
        return "\n".join(rows)


def _can_be_nothing(entry: Field) -> bool:
    """Whether there is a value of no effect."""
    return not _is_range(entry) or entry.metadata["none"] is not None


def _between(rest: float, value: float, severity: float, entry: Field) -> float:
    """A limit of a range, on its way from no effect to the full one."""
    if not entry.metadata["reciprocal"]:
        return severity * value + (1 - severity) * rest
    return 1 / (severity / value + (1 - severity) / rest)


def _check_range(entry: Field, value: Range) -> None:
    """Refuse what is no range, or reaches what is not possible."""
    ok = isinstance(value, (tuple, list)) and len(value) == 2
    if not (ok and all(isinstance(x, Real) and math.isfinite(x) for x in value)):
        raise ValueError(f"{entry.name}={value!r} is no range. Give (lowest, highest).")
    low, high = value
    if low > high:
        raise ValueError(f"{entry.name}={value!r} is upside down. Give (lowest, highest).")
    least, most = entry.metadata["least"], entry.metadata["most"]
    if low < least or high > most:
        raise ValueError(f"{entry.name}={value!r} reaches beyond [{least:g}, {most:g}].")


def _check_fraction(entry: Field, value: float) -> None:
    if not (isinstance(value, Real) and 0 <= value <= 1):
        raise ValueError(f"{entry.name}={value!r} is no fraction. Give a number in [0, 1].")
