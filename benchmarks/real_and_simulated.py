"""Put simulated patterns beside real ones of the same phase, orientation and geometry.

    python benchmarks/real_and_simulated.py --output real_and_simulated.png

Nickel comes with kikuchipy; silicon and ferrite are read from --patterns, and left out where that
folder is absent. Orientation and projection center of each real pattern are refined with
kikuchipy. The imperfections of one camera for each material are then chosen so that histogram and
power spectrum of all its patterns agree best.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path

import kikuchipy as kp
import matplotlib as mpl
import numpy as np
from kikuchipy.detectors import EBSDDetector
from kikuchipy.filters import Window
from orix.crystal_map import CrystalMap, PhaseList
from orix.quaternion import Rotation

from kikuchipy_cnn import PatternTransform
from kikuchipy_cnn.preprocessing import find_circular_mask
from kikuchipy_cnn.simulation import Disturbances, disturb, load_master_pattern

REAL_PATTERNS = Path(__file__).resolve().parents[2] / "shared" / "patterns"
SHOWN = 3
# Where Hough indexing starts from; the screen was moved away by 5 mm twice.
SILICON_CENTERS = {
    "si_in": (0.512, 0.139, 0.498),
    "si_out5mm": (0.523, 0.159, 0.618),
    "si_out10mm": (0.523, 0.194, 0.738),
}
# Steel's EDAX angles are in another sample frame, turned about the normal by one of these.
RIGHT_ANGLES = (0, 90, 180, 270)
STEEL_TILT = 5.0
MINIMUM_CONFIDENCE = 0.5
BINNED_TO = 120
# Parameters of the camera, in the order in which they are fitted, and their trial values.
CAMERA = {
    "blur": (0, 0.004, 0.008, 0.012, 0.016, 0.02),
    "noise": (0, 0.15, 0.3, 0.6, 0.9, 1.3),
    "gradient": (0, 0.15, 0.3, 0.5, 0.75, 1.0),
    "mottle": (0, 0.15, 0.3, 0.5, 0.75, 1.0),
    "band_loss": (-0.3, 0, 0.4, 0.8, 1.1),
    "saturation": (1.5, 2.0, 3.0, 5.0),
    "gamma": (-0.25, -0.12, 0.0),
    "contrast": (0, 0.3, 0.6),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patterns", type=Path, default=REAL_PATTERNS)
    parser.add_argument("--output", type=Path, required=True, help="picture to write")
    options = parser.parse_args()
    mpl.use("Agg")
    warnings.simplefilter("ignore")
    sets = {"nickel": nickel()}
    if (options.patterns / "si_wafer").exists():
        sets["silicon"] = silicon(options.patterns / "si_wafer")
    if (options.patterns / "steel_ferrite").exists():
        sets["ferrite"] = ferrite(options.patterns / "steel_ferrite")
    compared = {name: compare(name, *parts) for name, parts in sets.items()}
    draw(compared).savefig(options.output, dpi=90)


def nickel():
    """Real patterns, mask, detector, rotations and master pattern of nickel."""
    signal = kp.data.nickel_ebsd_small()
    signal.remove_static_background(show_progressbar=False)
    detector = signal.detector
    rotations = signal.xmap.rotations.reshape(9, -1)[:, 0]
    patterns = signal.data.reshape(9, 60, 60).astype(np.float32)
    return patterns, None, place(detector.pc_flattened, (60, 60)), rotations, "Ni"


def silicon(folder: Path):
    """The same of silicon, indexed by Hough from centers that the screen was moved away from."""
    phases = PhaseList(master("Si").phase)
    patterns, centers, rotations = [], [], []
    for name, center in SILICON_CENTERS.items():
        signal = kp.load(folder / f"{name}.h5")
        signal.remove_static_background(show_progressbar=False)
        patterns.append(binned(signal.data.astype(np.float32)))
        signal.remove_dynamic_background(show_progressbar=False)
        detector = EBSDDetector(signal.data.shape, pc=center)
        with contextlib.redirect_stdout(io.StringIO()):
            optimized = signal.hough_indexing_optimize_pc(
                center, detector.get_indexer(phases), method="Nelder-Mead"
            )
            xmap = signal.hough_indexing(phases, optimized.get_indexer(phases), verbose=0)
        centers.append(optimized.pc.ravel())
        rotations.append(xmap.rotations.data.reshape(-1, 4)[0])
    detector = place(np.array(centers), patterns[0].shape)
    return np.stack(patterns), None, detector, Rotation(np.array(rotations)), "Si"


def ferrite(folder: Path):
    """The same of ferrite, of patterns with a high confidence index."""
    data = np.load(folder / "patterns.npz")
    good = good_steel(data)
    mask = binned(find_circular_mask(data["patterns"]).astype(np.float32)) > 0
    patterns = np.stack([binned(p.astype(np.float32)) for p in data["patterns"][good]])
    detector = EBSDDetector(
        patterns.shape[1:], pc=data["pc_edax"], convention="edax", tilt=STEEL_TILT
    )
    given = Rotation.from_euler(data["euler_bunge_rad"][good])
    wanted, trials = prepare(patterns, mask), []
    for angle in RIGHT_ANGLES:
        turned = given * Rotation.from_axes_angles([0, 0, 1], angle, degrees=True)
        trial = prepare(project("Fe-bcc", turned, detector), mask)
        trials.append((np.diagonal(correlations(wanted, trial)).mean(), turned))
    rotations = max(trials, key=lambda trial: trial[0])[1]
    centers = np.tile(detector.pc, (len(patterns), 1))
    return patterns, mask, place(centers, patterns.shape[1:], STEEL_TILT), rotations, "Fe-bcc"


def good_steel(data) -> np.ndarray:
    """Numbers of some of the patterns of a high confidence index."""
    return np.flatnonzero(data["ci"] > MINIMUM_CONFIDENCE)[::6]


def full_size(name: str):
    """The same patterns as they were recorded, their mask and static background."""
    if name == "nickel":
        signal = kp.data.nickel_ebsd_small()
        return signal.data.reshape(9, 60, 60), None, signal.static_background
    if name == "silicon":
        signals = [kp.load(REAL_PATTERNS / "si_wafer" / f"{one}.h5") for one in SILICON_CENTERS]
        # Each camera distance has a background of its own.
        corrected = [signal.data / signal.static_background.astype(float) for signal in signals]
        raw = np.stack([signal.data for signal in signals])
        return np.stack(corrected), find_circular_mask(raw), None
    data = np.load(REAL_PATTERNS / "steel_ferrite" / "patterns.npz")
    return data["patterns"][good_steel(data)], find_circular_mask(data["patterns"]), None


def compare(name, patterns, mask, detector, rotations, phase) -> dict:
    """Refine, simulate and fit the camera."""
    rotations, detector, scores = refine(patterns, mask, detector, rotations, phase)
    clean = project(phase, rotations, detector, each=True)
    real = prepare(patterns, mask)
    camera = fit_camera(real, clean, mask)
    recorded = prepare(disturb(clean, camera, 1), mask)
    fitted = ", ".join(f"{n} {getattr(camera, n)[0]:g}" for n in CAMERA)
    print(f"{name}: refined correlation {scores.mean():.2f}; camera {fitted}")
    return {"real": real, "clean": prepare(clean, mask), "simulated": recorded, "mask": mask}


def fit_camera(real: np.ndarray, clean: np.ndarray, mask: np.ndarray | None) -> Disturbances:
    """Choose one parameter after the other, twice over."""
    camera = replace(Disturbances.none(), band_width=(0.03, 0.03))

    def badness(trial: Disturbances) -> float:
        return mismatch(real, prepare(disturb(clean, trial, 0), mask), mask)

    for _ in range(2):
        for name, values in CAMERA.items():
            trials = [replace(camera, **{name: (value, value)}) for value in values]
            camera = min(trials, key=badness)
    return camera


def mismatch(first: np.ndarray, second: np.ndarray, mask: np.ndarray | None) -> float:
    """Distance of power spectra, in decades, and of histograms."""
    spectra = (np.log10(spectrum(x)) for x in (first, second))
    histograms = (histogram(x, mask) for x in (first, second))
    return np.abs(np.subtract(*spectra)).mean() + 0.5 * np.abs(np.subtract(*histograms)).mean()


def spectrum(patterns: np.ndarray) -> np.ndarray:
    """Mean power by spatial frequency, from 1 to half the size, in cycles per pattern."""
    size = patterns.shape[1]
    window = np.hanning(size)[:, None] * np.hanning(size)
    power = (np.abs(np.fft.fft2(patterns * window)) ** 2).mean(axis=0)
    frequency = np.fft.fftfreq(size) * size
    radius = np.hypot(frequency[:, None], frequency).round().astype(int).ravel()
    total = np.bincount(radius, power.ravel())
    return (total / np.bincount(radius))[1 : size // 2] / size**2


def histogram(patterns: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Density of intensities, in units of the standard deviation."""
    values = patterns if mask is None else patterns[:, ~mask]
    return np.histogram(values, bins=60, range=(-3, 3), density=True)[0]


def prepare(patterns: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """What the networks are given, at the patterns' own size."""
    return PatternTransform(size=patterns.shape[1])(patterns, mask)[0][..., 0]


def project(phase: str, rotations: Rotation, detector: EBSDDetector, each: bool = False):
    """Clean patterns, each with its own projection center or all with one."""
    master_pattern = master(phase)
    centers = detector.pc_flattened
    detector = detector.deepcopy()
    detector.pc = centers if each else centers[0]
    patterns = master_pattern.get_patterns(
        rotations, detector, compute=True, show_progressbar=False
    ).data
    return patterns.reshape(-1, *detector.shape).astype(np.float32)


@cache
def master(phase: str) -> kp.signals.EBSDMasterPattern:
    """Master pattern, read once."""
    return load_master_pattern(phase)


def refine(patterns, mask, detector, rotations, phase):
    """Refine orientations and projection centers together."""
    signal = kp.signals.EBSD(prepare(patterns, mask), detector=detector)
    window = ~Window("circular", detector.shape).astype(bool)
    xmap = CrystalMap(
        rotations=rotations,
        x=np.arange(len(patterns)),
        phase_list=PhaseList(master(phase).phase),
    )
    signal.axes_manager.navigation_axes[0].name = "x"
    with contextlib.redirect_stdout(io.StringIO()):
        refined, detector = signal.refine_orientation_projection_center(
            xmap=xmap,
            detector=detector,
            master_pattern=master(phase),
            energy=20,
            signal_mask=window if mask is None else window | mask,
            rtol=1e-4,
        )[:2]
    return refined.rotations.reshape(len(patterns), -1)[:, 0], detector, refined.scores


def correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation coefficients of all pairs."""
    flat = [x.reshape(len(x), -1) for x in (first, second)]
    unit = [(x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True) for x in flat]
    return unit[0] @ unit[1].T / flat[0].shape[1]


def place(centers: np.ndarray, shape: tuple[int, int], tilt: float = 0.0) -> EBSDDetector:
    return EBSDDetector(shape, pc=centers, tilt=tilt)


def binned(pattern: np.ndarray) -> np.ndarray:
    factor = pattern.shape[0] // BINNED_TO
    return pattern.reshape(BINNED_TO, factor, BINNED_TO, factor).mean(axis=(1, 3))


def draw(compared: dict[str, dict]):
    """Rows of real and simulated patterns, and their histograms and power spectra."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(
        3 * len(compared), SHOWN + 1, figsize=(3 * (SHOWN + 1), 7.6 * len(compared)),
        layout="constrained", squeeze=False,
    )  # fmt: skip
    for row, (name, parts) in enumerate(compared.items()):
        chosen = np.linspace(0, len(parts["real"]) - 1, SHOWN).astype(int)
        kinds = {"real": "real", "simulated": "simulated, camera fitted", "clean": "simulated"}
        for k, (kind, label) in enumerate(kinds.items()):
            for ax, pattern in zip(axes[3 * row + k], parts[kind][chosen], strict=False):
                ax.imshow(pattern, cmap="gray", vmin=-2.5, vmax=2.5)
                ax.set(xticks=[], yticks=[])
            axes[3 * row + k, 0].set_ylabel(f"{name}\n{label}")
        mask = parts["mask"]
        bins = np.linspace(-3, 3, 61)[:-1] + 0.05
        last = axes[3 * row : 3 * row + 3, -1]
        for kind, style in (("real", "k-"), ("simulated", "C1--"), ("clean", "C0:")):
            last[0].plot(bins, histogram(parts[kind], mask), style, label=kinds[kind])
            last[1].loglog(spectrum(parts[kind]), style)
        last[0].set(xlabel="intensity / standard deviation", ylabel="density")
        last[0].legend(fontsize="x-small")
        last[1].set(xlabel="cycles per pattern", ylabel="power")
        last[2].axis("off")
    return fig


if __name__ == "__main__":
    main()
