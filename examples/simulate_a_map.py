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
from orix.crystal_map import CrystalMap, PhaseList
from orix.quaternion import Rotation

from kikuchipy_cnn.simulation import (
    Disturbances,
    load_phases,
    simulate_map,
    superlattice_strength,
)

# %%
# How strongly does the order show at all? The reflections that a face-centred cubic crystal has not
# are, relative to the others, as strong as
phases = load_phases()
print(superlattice_strength(phases["Ni3Al"]))

# %%
# Grains are the cells of random points, every third of them Ni3Al.
rng = np.random.default_rng(2)
rows, columns, n_grains = 30, 40, 15
y, x = np.mgrid[:rows, :columns].reshape(2, -1)
centres = rng.uniform(0, (rows, columns), (n_grains, 2))
grain = np.hypot(y[:, None] - centres[:, 0], x[:, None] - centres[:, 1]).argmin(axis=1)
xmap = CrystalMap(
    rotations=Rotation(rng.standard_normal((n_grains, 4)))[grain],
    phase_id=np.where(grain % 3 == 0, 1, 0),
    x=0.5 * x,
    y=0.5 * y,
    phase_list=PhaseList({0: phases["Ni"], 1: phases["Ni3Al"]}),
    scan_unit="um",
)

# %%
# One camera records all patterns: only the noise differs from point to point.
detector = kp.detectors.EBSDDetector(shape=(60, 60), pc=(0.48, 0.25, 0.6))
camera = Disturbances(
    noise=(0.5, 0.5), blur=(0.008, 0.008), band_loss=(0.5, 0.5), circular=0, wide=0, compressed=0
)
s = simulate_map(xmap, detector, disturbances=camera, seed=1)
print(s)

# %%
# Four of the patterns, and the map of phases.
fig, axes = plt.subplots(1, 5, figsize=(15, 3.2), layout="constrained")
for ax, (i, j) in zip(axes, [(25, 20), (8, 12), (5, 28), (15, 38)], strict=False):
    ax.imshow(s.data[i, j], cmap="gray")
    ax.set(title=xmap.phases[int(xmap[i, j].phase_id[0])].name, xticks=[], yticks=[])
axes[-1].imshow(xmap.phase_id.reshape(rows, columns), cmap="coolwarm")
axes[-1].set(title="phases", xticks=[], yticks=[])
plt.show()
