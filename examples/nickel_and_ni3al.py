"""
Nickel and Ni3Al, beside Hough and dictionary indexing
======================================================

Nickel (225) and its ordered precipitate Ni3Al (221) have the same strong bands: Hough indexing
cannot tell them apart, and the order in which the phases are listed decides. A network tuned with
some patterns of the sample can. It names the space group, and dictionary indexing finds the
orientation in that phase only.
"""

# %%
# A simulated area of a sample: grains of nickel with precipitates, all of one camera. A second area
# is for training, where the phases are known, from their chemistry say.

import tempfile
from pathlib import Path

import kikuchipy as kp
import numpy as np
from orix.crystal_map import CrystalMap, PhaseList, create_coordinate_arrays
from orix.quaternion import Rotation

import kikuchipy_cnn
from kikuchipy_cnn import plotting
from kikuchipy_cnn.comparison import (
    compare_phase_maps,
    dictionary_phase_map,
    hough_phase_map,
    hough_phase_order,
    index_with,
)
from kikuchipy_cnn.simulation import Cameras, Disturbances, load_phases, simulate_map
from kikuchipy_cnn.training import (
    Augmentation,
    FewShotProtocol,
    FewShotTrainer,
    LabelledPatterns,
)

phases = [load_phases()[name] for name in ("Ni", "Ni3Al")]
shape = (24, 36)
n = shape[0] * shape[1]


def area(seed):
    """Crystal map of an area."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]].reshape(2, -1)
    grains = rng.uniform(0, shape, (9, 2))
    grain = np.hypot(y[:, None] - grains[:, 0], x[:, None] - grains[:, 1]).argmin(axis=1)
    quaternions = rng.standard_normal((9, 4))[grain]
    phase_id = np.zeros(n, int)
    for middle in rng.uniform(0, shape, (12, 2)):
        inside = np.hypot(y - middle[0], x - middle[1]) < rng.uniform(2, 4.5)
        phase_id[inside] = 1
        # Half of the precipitates are oriented as the grain around them
        if rng.random() < 0.5:
            quaternions[inside] = rng.standard_normal(4)
    coordinates, _ = create_coordinate_arrays(shape, (0.5, 0.5))
    return CrystalMap(
        Rotation(quaternions),
        phase_id=phase_id,
        phase_list=PhaseList(dict(enumerate(phases))),
        scan_unit="um",
        **coordinates,
    )


detector = kp.detectors.EBSDDetector((60, 60), pc=(0.48, 0.25, 0.6))
camera = Cameras.draw(Disturbances.of_level("low"), 1, np.random.default_rng(7))
s, other = (simulate_map(area(seed), detector, disturbances=camera, seed=seed) for seed in (1, 2))
truth = s.xmap

# %%
# Hough indexing
# --------------
#
# Of patterns without their background. It compares angles between bands. Where both phases have as
# many bands and as good a fit they tie, and the first one listed wins: the second table is of the
# same patterns, with the phases listed in both orders.

prepared = s.deepcopy()
prepared.remove_dynamic_background(show_progressbar=False)
hough = hough_phase_map(prepared, phases, show_progressbar=False)
print(f"{np.mean(hough.prop['n_tied'] > 1):.0%} of the points are tied")
print(hough_phase_order(prepared, phases, show_progressbar=False).table())

# %%
# Dictionary indexing
# -------------------
#
# It compares whole patterns, and sees the weak bands of the order if noise and the steps of the
# dictionary (4 degrees, which is coarse) leave them.

dictionary = dictionary_phase_map(prepared, phases, resolution=4, show_progressbar=False)

# %%
# A tuned network
# ---------------
#
# A small packaged network, tuned with 200 patterns of each phase from the other area, and 50 to
# tell when to stop. To be tuned for two phases only makes it easy; the benchmark
# ``nickel_aluminium.py`` keeps six.

patterns = LabelledPatterns.from_crystal_map(other, map_name="other area")
rng = np.random.default_rng(0)
of_each = [rng.permutation(np.flatnonzero(patterns.space_group == i)) for i in (225, 221)]
training, validation = (
    patterns.take(np.concatenate([chosen[part] for chosen in of_each]))
    for part in (slice(0, 200), slice(200, 250))
)
protocol = FewShotProtocol(learning_rate=3e-4, max_epochs=6, augmentation=Augmentation(mirror=True))
trainer = FewShotTrainer("fast_fewshot", protocol, name="superalloy")
tuned = trainer.fit(training, validation, show_progressbar=False).bundle
network = s.classify_space_group(model=tuned, show_progressbar=False)

# %%
# Orientations
# ------------
#
# A network names a phase and gives no orientation. :func:`~kikuchipy_cnn.comparison.index_with`
# finds it with the dictionary of that phase only: half the work of dictionary indexing in both
# phases, and less for each further candidate.

joined = index_with(prepared, network, phases, resolution=4, refine=False, show_progressbar=False)

# %%
# How far the maps agree, and which is right
# ------------------------------------------
#
# Kappa is the agreement beyond chance, 0 for a map of one phase only. The surest of the points that
# maps differ in come first, for a look at their patterns.

comparison = compare_phase_maps(
    network, hough, dictionary, names=["network", "Hough", "dictionary"], truth=truth
)
print(comparison.table())
print(comparison.confusion_table("truth", "network"))
print(comparison.disagreements()[:1])

# %%
# All of it in one picture, laid out as Fig. 5 of the 2021 paper. Hough indexing has one colour, for
# points in which several phases fit equally well. Mistakes of the network may fill a part of a
# grain: all its patterns have one orientation, and if that is near the border they are wrong
# together, so that a tidy map is no sign of a right one.

plotting.plot_phase_maps(
    {
        "image quality": s.get_image_quality(show_progressbar=False),
        "Hough indexing": hough,
        "IPF-Y, in the network's phases": plotting.ipf_image(joined, "y"),
        "dictionary indexing": dictionary,
        "truth": truth,
        "tuned network": network,
    }
)

# %%
# Without a truth, agreement is what there is: where another method contradicts, and whether the
# network is less confident there. With dictionary indexing only, since Hough indexing has nothing
# to say here.

plotting.plot_agreement(compare_phase_maps(network, dictionary, names=["network", "dictionary"]))

# %%
# This is one small area, simulated with the very master patterns that the dictionary has.
# :doc:`/comparison` has the same on 6,900 patterns at three levels of noise, with refined
# dictionary indexing, which is better than the network where noise is low and worse where it is
# high.
#
# The map goes to other programs with real cells and orientations.

with tempfile.TemporaryDirectory() as folder:
    for suffix in ("ang", "ctf", "h5"):
        kikuchipy_cnn.io.save(Path(folder) / f"superalloy.{suffix}", joined)
    print(*sorted(path.name for path in Path(folder).iterdir()))
