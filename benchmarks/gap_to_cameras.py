"""Find what of a real pattern a model does not cope with.

    python benchmarks/gap_to_cameras.py --model fast_fewshot

Each real pattern has a simulated twin of its phase, orientation and geometry (see
``real_and_simulated.py``). A model that is right on the twin and wrong on the real pattern is put
off by the difference of the two. This prints how often it is right, and how probable the right
space group is to it, on real patterns, on twins, and on what lies between: twins with the low or
high spatial frequencies of the real patterns, with their power spectrum, with the difference to
them, with that difference mirrored (so that it has nothing to do with the pattern's own bands), and
with single imperfections.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from real_and_simulated import (
    REAL_PATTERNS,
    ferrite,
    nickel,
    project,
    refine,
)

from kikuchipy_cnn import load_model
from kikuchipy_cnn.models import ModelBundle
from kikuchipy_cnn.simulation import Disturbances, disturb

# Cycles per pattern.
CUTS = (6, 9, 13, 18)
RINGS = (3, 5, 7, 9, 12, 15, 19, 24, 30, 36)
IMPERFECTIONS = {
    "noise": (0.5, 1.0),
    "mottle": (0.5, 0.9),
    "band_loss": (0.8,),
    "asymmetry": (0.5,),
    "blur": (0.012,),
    "saturation": (2.0,),
}


def mixtures(model: ModelBundle, real: np.ndarray, clean: np.ndarray, mask: np.ndarray | None):
    """Yield a name and network inputs of shape (n, size, size), from real patterns to twins."""
    transform = model.transform
    one, other = (transform(patterns, mask)[0][..., 0] for patterns in (real, clean))
    weights = ((one[0] != 0) | (other[0] != 0)).astype(np.float32)[None]

    def again(images: np.ndarray) -> np.ndarray:
        return transform.standardise(images.astype(np.float32), weights)

    yield "real", one
    yield "simulated", other
    size = transform.size
    spectra = [np.fft.fft2(images) for images in (one, other)]
    frequency = np.fft.fftfreq(size) * size
    radius = np.hypot(frequency[:, None], frequency)
    for cut in CUTS:
        low = radius < cut
        for kind, first, second in (("below", *spectra), ("from", *spectra[::-1])):
            mixed = np.fft.ifft2(np.where(low, first, second)).real
            yield f"simulated, real {kind} {cut} cycles", again(mixed)
    powers = [_radial_power(spectrum, radius) for spectrum in spectra]
    yield (
        "simulated, power spectrum of the real",
        again(np.fft.ifft2(spectra[1] * np.sqrt(powers[0] / powers[1])).real),
    )
    share = (one * other).sum((1, 2), keepdims=True) / (other**2).sum((1, 2), keepdims=True)
    rest = one - share * other
    yield "simulated, half the difference", again(share * other + 0.5 * rest)
    yield "simulated, mirrored difference", again(share * other + rest[:, :, ::-1])
    for name, values in IMPERFECTIONS.items():
        for value in values:
            worse = replace(Disturbances.none(), **{name: (value, value)})
            yield f"simulated, {name} {value}", transform(disturb(clean, worse, 0), mask)[0][..., 0]


def _radial_power(spectrum: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Mean power at each frequency's distance from 0, of the shape of an image."""
    rings = radius.round().astype(int)
    power = (np.abs(spectrum) ** 2).mean(axis=0)
    means = np.bincount(rings.ravel(), power.ravel()) / np.bincount(rings.ravel())
    return np.maximum(means, 1e-12)[rings]


def print_difference(model: ModelBundle, real, clean, mask) -> None:
    """Print the power of what the twins do not explain, relative to theirs, by frequency.

    Beside the real patterns stand twins with noise, and twins with a third of another grain, which
    is the twin itself upside down.
    """
    size, transform = model.transform.size, model.transform
    frequency = np.fft.fftfreq(size) * size
    radius = np.hypot(frequency[:, None], frequency)
    window = np.hanning(size)[:, None] * np.hanning(size)
    twins = transform(clean, mask)[0][..., 0]
    noisy = replace(Disturbances.none(), noise=(1.0, 1.0))
    level = (clean - clean.mean((1, 2), keepdims=True)) / clean.std((1, 2), keepdims=True)
    print("| cycles | " + " | ".join(f"{a} to {b}" for a, b in zip(RINGS, RINGS[1:], strict=False)))
    print("|---" * len(RINGS) + "|")
    for name, patterns in (
        ("real", real),
        ("noise 1", disturb(clean, noisy, 0)),
        ("another grain, 0.35", 0.65 * level + 0.35 * level[:, ::-1, ::-1]),
    ):
        images = transform(patterns, mask)[0][..., 0]
        share = (images * twins).sum((1, 2), keepdims=True)
        share = share / (twins**2).sum((1, 2), keepdims=True)
        powers = [
            (np.abs(np.fft.fft2(part * window)) ** 2).mean(axis=0)
            for part in (images - share * twins, share * twins)
        ]
        rings = [(radius >= a) & (radius < b) for a, b in zip(RINGS, RINGS[1:], strict=False)]
        ratios = [powers[0][ring].sum() / powers[1][ring].sum() for ring in rings]
        print(f"| {name} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="fast_fewshot")
    parser.add_argument("--patterns", type=Path, default=REAL_PATTERNS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    model = load_model(options.model)
    sets = {"nickel": (nickel(), 225)}
    if options.patterns.exists():
        # The geometry of the silicon patterns is not refined well enough for this.
        sets["ferrite"] = (ferrite(options.patterns / "steel_ferrite"), 229)
    for name, ((patterns, mask, detector, rotations, phase), number) in sets.items():
        rotations, detector, scores = refine(patterns, mask, detector, rotations, phase)
        clean = project(phase, rotations, detector, each=True)
        print(f"\n{name}: {len(patterns)} patterns, correlation {np.mean(scores):.2f}\n")
        print_difference(model, patterns, clean, mask)
        column = model.classes.index(number)
        print("\n| patterns | right | probability of the right one |\n|---|---|---|")
        for kind, images in mixtures(model, patterns, clean, mask):
            probabilities = model.predict_probabilities(images[..., None])
            right = int((probabilities.argmax(axis=1) == column).sum())
            print(f"| {kind} | {right} of {len(images)} | {probabilities[:, column].mean():.2f} |")


if __name__ == "__main__":
    main()
