"""
A phase of your own as a new class
==================================

The packaged networks know six space groups of m-3m. A precipitate of another one can be added: from
a CIF to a master pattern, from there to labelled patterns, and with these to a network that names
it. Here it is η-Ni3Ti, hexagonal, in a nickel alloy with TiC.
"""

# %%
# From a CIF to a crystal
# -----------------------
#
# A CIF comes from a database; this one is written here. (The structure type is D0_24 with ideal
# coordinates, the lattice parameters are rounded.) :func:`~kikuchipy_cnn.simulation.phase_from_cif`
# checks that the atoms show the space group that the file states, and expands the cell.
#
# This needs ``pip install "kikuchipy-cnn[simulation]"``.

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import kikuchipy as kp
import matplotlib.pyplot as plt
import numpy as np
from orix.crystal_map import CrystalMap, PhaseList, create_coordinate_arrays
from orix.quaternion import Rotation

from kikuchipy_cnn.evaluation import evaluate
from kikuchipy_cnn.plotting import plot_confusion, plot_phase_maps
from kikuchipy_cnn.simulation import (
    Cameras,
    Disturbances,
    load_master_pattern,
    load_phases,
    phase_from_cif,
    simulate_map,
    simulate_master_pattern,
    simulate_patterns,
)
from kikuchipy_cnn.training import (
    Augmentation,
    FewShotProtocol,
    FewShotTrainer,
    LabelledPatterns,
    split_patterns,
)

cif = """data_Ni3Ti
_cell_length_a 5.101
_cell_length_b 5.101
_cell_length_c 8.307
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_symmetry_space_group_name_H-M 'P 63/m m c'
_symmetry_Int_Tables_number 194
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
_atom_site_B_iso_or_equiv
Ti1 Ti 0 0 0 1 0.5
Ti2 Ti 0.33333 0.66667 0.75 1 0.5
Ni1 Ni 0.5 0 0 1 0.4
Ni2 Ni 0.83333 0.66667 0.25 1 0.4
"""
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "Ni3Ti.cif"
    path.write_text(cif)
    eta = phase_from_cif(path)
print(eta, eta.structure.lattice.abcABG(), len(eta.structure), "atoms")

# %%
# From the crystal to a master pattern
# ------------------------------------
#
# Dynamical, at 20 keV, in the directions that the point group leaves independent, by Bloch waves.
# Size and cut-offs are those of the packaged library. That matters here: a network would notice if
# one class was simulated more coarsely than the others, and would learn that instead of the
# crystal.

start = time.perf_counter()
master_patterns = {"Ni3Ti": simulate_master_pattern(eta, energy=20, show_progressbar=False)}
print(f"{master_patterns['Ni3Ti']}, {time.perf_counter() - start:.0f} s")
for name in ("Ni", "TiC"):
    master_patterns[name] = load_master_pattern(name)

fig, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
for ax, (name, master_pattern) in zip(axes, master_patterns.items(), strict=True):
    ax.imshow(master_pattern.data[0], cmap="gray")
    ax.set(title=f"{name} ({master_pattern.phase.space_group.number})", xticks=[], yticks=[])
plt.show()

# %%
# The square Lambert projection of the upper hemispheres: six-fold on the left, four-fold for the
# two cubic phases, whose zone axes are at the same places. Nickel and TiC have one space group and
# differ in what is at these places.
#
# From master patterns to labelled patterns
# -----------------------------------------
#
# In random orientation, at one detector, with imperfections of medium strength.

detector = kp.detectors.EBSDDetector((60, 60), pc=(0.5, 0.25, 0.6))
camera = replace(Disturbances.of_level("medium"), circular=0, wide=0)
patterns = LabelledPatterns.concatenate(
    [
        LabelledPatterns.from_crystal_map(
            simulate_patterns(
                [master_pattern], 300, detector=detector, disturbances=camera, seed=seed,
                show_progressbar=False,
            ),
            map_name=f"{name} (simulated)",
        )
        for seed, (name, master_pattern) in enumerate(master_patterns.items())
    ]
)  # fmt: skip
split = split_patterns(patterns, 150, 50, level="phase", seed=1)
print(split.table())

# %%
# Training
# --------
#
# Phases are told apart by name, as two of them have one space group. The network begins with what
# the packaged one knows of 225; of 194 it knows nothing, and this class begins at random.
#
# Phases whose bands differ as much as those of these three are not hard to tell apart, and the test
# was simulated as the training was, so that less is to be expected of real patterns. :ref:`Nickel
# and Ni3Al <sphx_glr_gallery_nickel_and_ni3al.py>` are a hard pair.

protocol = FewShotProtocol(
    learning_rate=5e-4, schedule="cosine", max_epochs=8, augmentation=Augmentation(mirror=True)
)
trainer = FewShotTrainer("fast_fewshot", protocol, level="phase", name="eta", seed=1)
model = trainer.fit(split.training, split.validation, show_progressbar=False).bundle
evaluation = evaluate(model, split.test, show_progressbar=False)
print(evaluation.report())
plot_confusion(evaluation)

# %%
# In a map
# --------
#
# A nickel matrix with plates of η and some carbides, by one camera. Beside the truth is what the
# packaged network says, and what the new one does.

rng = np.random.default_rng(4)
shape = (32, 44)
row, column = np.indices(shape).reshape(2, -1)
centres = rng.uniform(0, shape, (6, 2))
grain = np.hypot(row[:, None] - centres[:, 0], column[:, None] - centres[:, 1]).argmin(axis=1)
quaternions, phase_id = rng.standard_normal((6, 4))[grain], np.zeros(row.size, int)
for kind, n in ((1, 5), (2, 5)):
    for _ in range(n):
        middle, angle = rng.uniform(0, shape), rng.uniform(0, np.pi)
        along = (row - middle[0]) * np.cos(angle) + (column - middle[1]) * np.sin(angle)
        across = (row - middle[0]) * np.sin(angle) - (column - middle[1]) * np.cos(angle)
        length, thickness = (9, 1.6) if kind == 1 else (2.4, 2.4)
        inside = (along / length) ** 2 + (across / thickness) ** 2 < 1
        phase_id[inside], quaternions[inside] = kind, rng.standard_normal(4)
phases = PhaseList({0: load_phases()["Ni"], 1: eta, 2: load_phases()["TiC"]})
phases[2].color = "limegreen"
coordinates, _ = create_coordinate_arrays(shape, (0.2, 0.2))
truth = CrystalMap(
    Rotation(quaternions), phase_id=phase_id, phase_list=phases, scan_unit="um", **coordinates
)
s = simulate_map(truth, detector, master_patterns, disturbances=Cameras.draw(camera, 1, 3), seed=5)
packaged = s.classify_space_group("fast_fewshot", show_progressbar=False)
named = s.classify_space_group(model, show_progressbar=False)

# %%
# The packaged network has no class for η. What it does with it is a guess or a refusal (white), and
# of the carbide it can say the space group at best, which is that of the matrix. The new one
# answers always and only with these three: what else may be in a sample, it takes for one of them.
# (:func:`~kikuchipy_cnn.training.fit_rejection` would teach it to refuse.)

plot_phase_maps({"truth": truth, "packaged network": packaged, "new network": named})

# %%
# By phase, what each of the two says:

names = np.array([phases[int(i)].name for i in truth.phase_id])
for xmap, title in ((packaged, "packaged network"), (named, "new network")):
    called = np.array(
        ["not indexed" if i == -1 else xmap.phases[int(i)].name for i in xmap.phase_id]
    )
    print(title)
    for name in ("Ni", "Ni3Ti", "TiC"):
        labels, counts = np.unique(called[names == name], return_counts=True)
        parts = counts / counts.sum()
        print(f"  {name:6}", ", ".join(f"{i} {p:.0%}" for i, p in zip(labels, parts, strict=True)))

# sphinx_gallery_thumbnail_number = 3
