"""
Confidence, rejection and what you know already
===============================================

A network of six space groups has six answers. What does it say of a phase that is none of them, or
of a pore, and what if patterns become noisy? Here is a simulated map with nickel, iron, zinc
(hexagonal, which is none of the model's space groups) and a pore: see what gets an answer, what
does not and why, and what prior knowledge changes.
"""

# %%
# The map has four strips of two grains each, one above the other three times with more and more
# noise; 2 is twice as strong as the pattern itself. Points that are not indexed get patterns
# without diffraction, as from a pore.

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import kikuchipy as kp
import matplotlib.pyplot as plt
import numpy as np
from orix.crystal_map import CrystalMap, PhaseList, create_coordinate_arrays
from orix.quaternion import Rotation

import kikuchipy_cnn
from kikuchipy_cnn.plotting import plot_confidence
from kikuchipy_cnn.simulation import Disturbances, load_phases, simulate_map

strips = {"nickel": "Ni", "iron": "Fe-bcc", "zinc": "Zn", "pore": None}
noises = (0.7, 1.4, 2.0)
catalogue = load_phases()
shape, width = (8, 40), 10
coordinates, _ = create_coordinate_arrays(shape)
strip, grain = np.indices(shape)[1].ravel() // width, np.indices(shape)[1].ravel() // (width // 2)
rng = np.random.default_rng(7)
part = CrystalMap(
    rotations=Rotation(rng.standard_normal((8, 4)))[grain],
    phase_id=np.where(strip == 3, -1, strip),
    phase_list=PhaseList({i: catalogue[name] for i, name in enumerate(strips.values()) if name}),
    **coordinates,
)
detector = kp.detectors.EBSDDetector((72, 72), pc=(0.5, 0.3, 0.6))
usual = replace(Disturbances.of_level("medium"), circular=0, wide=0)
parts = [
    simulate_map(part, detector, disturbances=replace(usual, noise=(noise, noise)), seed=7)
    for noise in noises
]
s = kp.signals.EBSD(np.concatenate([one.data for one in parts]))
for axis in s.axes_manager.navigation_axes:
    axis.scale, axis.units = 0.5, "um"

fig, axes = plt.subplots(3, 4, figsize=(8, 6.2), layout="constrained")
for axes_row, one, noise in zip(axes, parts, noises, strict=True):
    for i, ax in enumerate(axes_row):
        ax.imshow(one.data[4, width * i + 2], cmap="gray")
        ax.set(xticks=[], yticks=[])
    axes_row[0].set_ylabel(f"noise {noise}")
for ax, name in zip(axes[0], strips, strict=True):
    ax.set_title(name)
plt.show()

# %%
# Left, the confidence: the probability of the winner, times that of the image being of a phase that
# the model knows. In the middle, the entropy, which is 0 where one class has all of the probability
# and 1 where all have the same. Points without an answer are white, and on the right is why
# (``reject_reason`` in the map): no diffraction, another phase than those of the classes, or too
# doubtful.
#
# From left to right are nickel, iron, zinc and the pore, and from top to bottom there is more
# noise. Look for three things. Is the pore refused as a whole? How much of zinc is refused, and
# does what is left of it look as sure as nickel and iron do? And what becomes of nickel and iron
# with noise: do they lose their answers, or are they answered wrongly (the table below)?

model = kikuchipy_cnn.load_model("xception_fewshot")
xmap = s.classify_space_group(model, show_progressbar=False)
plot_confidence(xmap)

# %%
# The part of the answers that may be wrong can be set. The limit is looked up on a curve that was
# measured on simulated patterns of all qualities. The model cannot know how good yours are, and
# where they are worse than those of the curve, more are wrong than were allowed.
#
# That a sample holds nothing but fcc and bcc is knowledge, too. By Bayes' rule, patterns are
# weighed with it.
#
# ``store=`` keeps what the network says, so that it runs once for both.

with TemporaryDirectory() as folder:
    store = {"store": Path(folder) / "results.h5", "show_progressbar": False}
    strict = s.classify_space_group(model, max_risk=0.05, **store)
    known = s.classify_space_group(model, prior={225: 0.5, 229: 0.5}, **store)

# %%
# Neighbours in a grain see the same crystal. Their probabilities can be pooled, where patterns are
# alike, so that the noise of single patterns is averaged out. It is off by default: mistakes that
# the patterns of a grain share stay and look tidier, and precipitates in the orientation of their
# matrix would be averaged away.

pooled = s.classify_space_group(model, pooling_radius=1, show_progressbar=False)
plot_confidence(pooled)

# %%
# How many patterns get an answer, and how many of these answers are right, in percent ("-" where no
# answer can be right, or there is none):

maps = {"default": xmap, "max_risk=0.05": strict, "prior": known, "pooled": pooled}
space_groups = {"nickel": 225, "iron": 229}
noise_of_point = np.repeat(noises, strip.size)
strip_of_point = np.tile(strip, len(noises))


def percent(values):
    """Percentage, if there is one."""
    return f"{100 * np.mean(values):.0f}" if len(values) else "-"


print("        noise  " + "  ".join(f"{name:>13}" for name in maps) + "  evidence ratio")
for i, name in enumerate(strips):
    for noise in noises:
        here = (strip_of_point == i) & (noise_of_point == noise)
        cells = []
        for one in maps.values():
            answers = one.phase_id[here & one.is_indexed]
            right = percent(answers == space_groups[name]) if name in space_groups else "-"
            cells.append(f"{percent(one.is_indexed[here])} / {right}")
        ratio = np.median(known.prop["evidence_ratio"][here])
        print(f"{name:6}  {noise:5}  " + "  ".join(f"{i:>13}" for i in cells) + f"  {ratio:14.2f}")

# %%
# The last column is the median of the ``evidence_ratio``, which tells where patterns speak against
# the prior: strongly, below 0.1. A prior that is right makes more of the answers right, as of
# nickel and iron. Of zinc it is wrong; compare how many answers there are with and without it. If
# the ratio is not low there either, nothing in the map shows that the prior is wrong.
#
# :doc:`/uncertainty` has this measured, for more phases of other space groups and for real
# patterns, on which more goes wrong than on simulated ones.

# sphinx_gallery_thumbnail_number = 2
