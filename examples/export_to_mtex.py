"""
Taking a map to MTEX, EDAX and Oxford Instruments
=================================================

A map of space groups becomes a file that other programs read, with the names and cells of real
phases. Three formats are written and read back, to see what each one keeps.
"""

# %%
# A map to export
# ---------------
#
# Austenite and ferrite, simulated, with a few pores. The signal has orientations already, from
# Hough or dictionary indexing say (here they are those of the simulation), and the classification
# carries them over. A map without any can be exported, too, and the file then says that they are
# missing.

import tempfile
from dataclasses import replace
from pathlib import Path

import kikuchipy as kp
import matplotlib.pyplot as plt
import numpy as np
import orix.io
from orix.crystal_map import CrystalMap, PhaseList, create_coordinate_arrays
from orix.quaternion import Rotation

import kikuchipy_cnn
from kikuchipy_cnn.plotting import ipf_image
from kikuchipy_cnn.simulation import Disturbances, load_phases, simulate_map

catalogue = load_phases()
austenite, ferrite = catalogue["Fe-fcc"], catalogue["Fe-bcc"]
rng = np.random.default_rng(11)
shape = (32, 44)
row, column = np.indices(shape).reshape(2, -1)
centres = rng.uniform(0, shape, (18, 2))
grain = np.hypot(row[:, None] - centres[:, 0], column[:, None] - centres[:, 1]).argmin(axis=1)
phase_id = grain % 2
for middle in rng.uniform(0, shape, (4, 2)):
    phase_id[np.hypot(row - middle[0], column - middle[1]) < 1.8] = -1
coordinates, _ = create_coordinate_arrays(shape, (0.5, 0.5))
truth = CrystalMap(
    Rotation(rng.standard_normal((18, 4)))[grain],
    phase_id=phase_id,
    phase_list=PhaseList({0: austenite, 1: ferrite}),
    scan_unit="um",
    **coordinates,
)
detector = kp.detectors.EBSDDetector((60, 60), pc=(0.5, 0.25, 0.6))
camera = replace(Disturbances.of_level("low"), circular=0, wide=0)
s = simulate_map(truth, detector, disturbances=camera, seed=3)
xmap = s.classify_space_group("fast_fewshot", prior=[225, 229], show_progressbar=False)
xmap

# %%
# Real phases
# -----------
#
# The network names space groups and knows no unit cells: without more, the cell in the file is 1 x
# 1 x 1. The phases given here, of the catalogue or from
# :func:`~kikuchipy_cnn.simulation.phase_from_cif`, take the places of those with the same space
# group.

folder = tempfile.TemporaryDirectory()
paths = {suffix: Path(folder.name) / f"steel.{suffix}" for suffix in ("ang", "ctf", "h5")}
for path in paths.values():
    kikuchipy_cnn.io.save(path, xmap, phase_list=[austenite, ferrite])
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")

# %%
# The phases in the header of the text format of EDAX, which has no place for a space group: it is
# in the name.

lines = paths["ang"].read_text().splitlines()
first = next(i for i, line in enumerate(lines) if "# Phase" in line)
print("\n".join(lines[first : first + 8]))

# %%
# What orix gets back
# -------------------
#
# orix's own readers, which know nothing of this package. The sample frame of Oxford Instruments is
# turned by 90 degrees about the normal, so that rotations of a .ctf file differ by that much unless
# they are read with :func:`kikuchipy_cnn.io.load`, which turns them back.

own = {i: phase for i, phase in xmap.phases if i != -1}
for suffix, path in paths.items():
    read = orix.io.load(path)
    found = [phase for i, phase in read.phases if i != -1]
    indexed = xmap.is_indexed
    angle = np.rad2deg((read.rotations[indexed] * ~xmap.rotations[indexed]).angle)
    print(f".{suffix}")
    print("  names       ", ", ".join(phase.name for phase in found))
    print(
        "  space groups",
        ", ".join(str(phase.space_group.number) if phase.space_group else "-" for phase in found),
    )
    print("  a (angstrom)", ", ".join(f"{phase.structure.lattice.a:.3f}" for phase in found))
    print("  not indexed ", np.sum(~read.is_indexed), "of", np.sum(~indexed))
    print(f"  rotations    off by {angle.min():.3f} to {angle.max():.3f} degrees")
    print("  properties  ", len(read.prop), "of", len(xmap.prop))

# %%
# Orientations along x as read by orix, and by this package. White are points without an answer. In
# the .ctf file seen by orix the colours are others: nothing is lost, but x is not x there.

fig, axes = plt.subplots(2, 4, figsize=(9, 3.7), layout="constrained")
axes[1, 0].set_axis_off()
for ax_row, reader, load in zip(
    axes, ("orix", "kikuchipy_cnn"), (orix.io.load, kikuchipy_cnn.io.load), strict=True
):
    for ax, (suffix, path) in zip(ax_row[1:], paths.items(), strict=True):
        ax.imshow(ipf_image(load(path), "x"))
        ax.set(title=f".{suffix}, by {reader}", xticks=[], yticks=[])
axes[0, 0].imshow(ipf_image(xmap, "x"))
axes[0, 0].set(title="before", xticks=[], yticks=[])
plt.show()

# %%
# Into MTEX
# ---------
#
# The frames matter: .ang and .ctf files do not say which one their Euler angles are in.
#
# .. code-block:: matlab
#
#     ebsd = EBSD.load('steel.h5');
#     ebsd = EBSD.load('steel.ang', 'convertEuler2SpatialReferenceFrame', 'setting 2');
#     ebsd = EBSD.load('steel.ctf', 'convertEuler2SpatialReferenceFrame');
#
# Each of the three lines gives the same map. Then, as with any other:
#
# .. code-block:: matlab
#
#     plot(ebsd)
#     austenite = ebsd('Fe-fcc (Fm-3m)');
#     plot(austenite, austenite.orientations)
#     plot(ebsd, ebsd.prop.p_229)         % from .h5: all properties are in it
#     grains = calcGrains(ebsd('indexed'));
#
# These lines follow MTEX's sources; there was no MATLAB to run them in. :doc:`/export` says what
# was checked, and what other readers get back.

folder.cleanup()
