"""
Simulate a map of known phases
==============================

A map of nickel with grains of Ni3Al, as a camera would record it. The truth is kept with the
patterns, so that any way of indexing can be judged by it. Both phases have the same lattice but for
the order of the atoms, which shows in weak bands only.
"""

import kikuchipy as kp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from orix.crystal_map import CrystalMap, PhaseList, create_coordinate_arrays
from orix.quaternion import Rotation

from kikuchipy_cnn.plotting import ipf_image
from kikuchipy_cnn.simulation import (
    Cameras,
    Disturbances,
    load_phases,
    simulate_map,
    superlattice_strength,
)

# %%
# How strongly does the order show at all? The reflections that a face-centred cubic crystal has not
# are weaker than the others; their part of the intensity says how hard a pair is before a pattern
# is simulated. FeNi3, whose elements scatter nearly alike, is as good as invisible.

phases = load_phases()
for name in ("Ni3Al", "FeNi3"):
    print(f"{name}: {superlattice_strength(phases[name]).ratio:.4f}")

# %%
# Grains are the cells of random points, every third of them Ni3Al.

rng = np.random.default_rng(2)
shape, n_grains = (30, 40), 15
row, column = np.indices(shape).reshape(2, -1)
centres = rng.uniform(0, shape, (n_grains, 2))
grain = np.hypot(row[:, None] - centres[:, 0], column[:, None] - centres[:, 1]).argmin(axis=1)
quaternions = rng.standard_normal((n_grains, 4))
coordinates, _ = create_coordinate_arrays(shape, (0.5, 0.5))


def map_of(grain):
    """Crystal map with this grain in each point."""
    return CrystalMap(
        Rotation(quaternions[grain]),
        phase_id=np.where(grain % 3 == 0, 1, 0),
        phase_list=PhaseList({0: phases["Ni"], 1: phases["Ni3Al"]}),
        scan_unit="um",
        **coordinates,
    )


xmap = map_of(grain)

# %%
# The beam is not a point: at a boundary it reaches two grains. So each point gets the grain that is
# second nearest as its neighbour, and a share of it that is half at the boundary and nothing a step
# away.

distance = np.hypot(row[:, None] - centres[:, 0], column[:, None] - centres[:, 1])
second = np.argsort(distance, axis=1)[:, 1]
nearest = np.sort(distance, axis=1)
overlap = np.clip(0.5 - (nearest[:, 1] - nearest[:, 0]) / 4, 0, 0.5).reshape(shape)

# %%
# One camera records all patterns, drawn from ranges of imperfections: only the noise differs from
# point to point. :class:`~kikuchipy_cnn.simulation.Disturbances` has them all, with what they mean.

detector = kp.detectors.EBSDDetector(shape=(60, 60), pc=(0.48, 0.25, 0.6))
ranges = Disturbances(
    noise=(0.5, 0.5), blur=(0.008, 0.008), band_loss=(0.5, 0.5), circular=0, wide=0, compressed=0
)
camera = Cameras.draw(ranges, 1, 1)
s = simulate_map(
    xmap, detector, disturbances=camera, neighbours=map_of(second), overlap=overlap, seed=1
)
s

# %%
# Brightness and contrast are those of one exposure of the whole map. Left is the truth; the line
# drawn in it crosses a boundary, and beside it are the six patterns along the line, with the share
# of the second grain in each. Where two grains mix, bands of both are seen.

mixed = np.argwhere(overlap > 0.25)
i, j = mixed[np.abs(mixed - (15, 20)).sum(axis=1).argmin()]
fig = plt.figure(figsize=(9, 4.2), layout="constrained")
left, right = fig.subfigures(1, 2, width_ratios=(1, 2))
is_ni3al = xmap.phase_id.reshape(shape)
panels = {"Ni (blue), Ni3Al (yellow)": ListedColormap(("royalblue", "gold"))(is_ni3al)}
panels["orientations (IPF-X)"] = ipf_image(xmap, "x")
for ax, (title, image) in zip(left.subplots(2, 1), panels.items(), strict=True):
    ax.imshow(image)
    ax.plot([j - 3, j + 2], [i, i], "o-", color="black", markersize=3)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=10)
for ax, column in zip(right.subplots(2, 3).ravel(), range(j - 3, j + 3), strict=True):
    ax.imshow(s.data[i, column], cmap="gray")
    ax.set(xticks=[], yticks=[])
    ax.set_title(f"share {overlap[i, column]:.2f}", fontsize=10)
plt.show()

# %%
# The same pattern through several cameras, from without imperfections to all of them at their full
# range. The first is what physics gives, the others are what networks are trained on and judged by.

point, large = xmap[25, 20], kp.detectors.EBSDDetector((120, 120), pc=detector.pc)
levels = {"none": None} | {i: Disturbances.of_level(i) for i in ("low", "medium", "high")}
fig, axes = plt.subplots(2, 4, figsize=(9, 4.8), layout="constrained")
for column_of_axes, (name, level) in zip(axes.T, levels.items(), strict=True):
    for seed, ax in enumerate(column_of_axes):
        pattern = simulate_map(point, large, disturbances=level, seed=seed).data.squeeze()
        ax.imshow(pattern, cmap="gray")
        ax.set(xticks=[], yticks=[])
    column_of_axes[0].set_title(name)
for i, ax in enumerate(axes[:, 0]):
    ax.set_ylabel(f"camera {i + 1}")
plt.show()

# %%
# ``s.save("patterns.h5")`` keeps patterns, truth and detector in one file of kikuchipy. How near
# simulated patterns come to real ones, and where they do not, is in :doc:`/simulation`.

# sphinx_gallery_thumbnail_number = 2
