"""
Maps larger than memory, and work that is broken off
====================================================

A map is read from its file in parts, so that memory does not depend on its size, and with
``store=`` an interrupted classification goes on where it was. Here with a map that is small for a
file and large for a documentation page.
"""

# %%
# First a file to work with: a simulated area of grains of three phases, six times side by side,
# with patterns of 240 x 240 pixels.

import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import kikuchipy as kp
import matplotlib.pyplot as plt
import numpy as np
import psutil
from orix.crystal_map import CrystalMap, PhaseList, create_coordinate_arrays
from orix.quaternion import Rotation

import kikuchipy_cnn
from kikuchipy_cnn.plotting import plot_space_groups
from kikuchipy_cnn.simulation import Disturbances, load_phases, simulate_map

folder = tempfile.TemporaryDirectory()
path, store = Path(folder.name) / "map.h5", Path(folder.name) / "map.results.h5"

rng = np.random.default_rng(3)
part, repeats = (30, 40), (2, 3)
row, column = np.indices(part).reshape(2, -1)
centres = rng.uniform(0, part, (12, 2))
grain = np.hypot(row[:, None] - centres[:, 0], column[:, None] - centres[:, 1]).argmin(axis=1)
coordinates, _ = create_coordinate_arrays(part)
truth = CrystalMap(
    Rotation(rng.standard_normal((12, 4)))[grain],
    phase_id=grain % 3,
    phase_list=PhaseList(
        {i: load_phases()[name] for i, name in enumerate(("Ni", "Fe-bcc", "Cr3Si"))}
    ),
    **coordinates,
)
detector = kp.detectors.EBSDDetector((240, 240), pc=(0.5, 0.25, 0.6))
camera = replace(Disturbances.of_level("medium"), circular=0, wide=0)
area = simulate_map(truth, detector, disturbances=camera, seed=5)
s = kp.signals.EBSD(np.tile(area.data, (*repeats, 1, 1)))
for axis in s.axes_manager.navigation_axes:
    axis.scale, axis.units = 0.2, "um"
s.save(path)
shape = s.data.shape[:2]
del s, area
file_size = path.stat().st_size / 1e6
print(f"{np.prod(shape)} patterns, {file_size:.0f} MB")

# %%
# ``lazy=True`` reads nothing but the header. Only then is the map of any size.

s = kp.load(path, lazy=True)
s

# %%
# A power cut is hard to have on a documentation page. What it leaves is a store in which some of
# the points are done, and that can be had with a navigation mask, which leaves out all but the
# first twenty rows. (Masks are False for what is used, as everywhere in kikuchipy.)

model = kikuchipy_cnn.load_model("fast_fewshot")
not_yet = np.ones(shape, bool)
not_yet[:20] = False
upper = s.classify_space_group(model, navigation_mask=not_yet, store=store, show_progressbar=False)

# %%
# The call for the whole map finds them in the store, and says so. It would after a kill or a
# Ctrl-C, too: what is done is written every two seconds. The store knows of which patterns and of
# which model it is, and is refused for others.
#
# Meanwhile the memory of this process is noted.

process = psutil.Process()
times, memory = [], []
is_done = threading.Event()


def watch():
    """Note time and memory, twenty times a second."""
    while not is_done.wait(0.05):
        times.append(time.perf_counter())
        memory.append(process.memory_info().rss / 1e6)


watcher = threading.Thread(target=watch)
watcher.start()
xmap = s.classify_space_group(model, store=store, show_progressbar=False)
is_done.set()
watcher.join()

# %%
# What the classification takes beside what the process has already (Python, TensorFlow, the
# network) is for compiling the network and for the chunks and batches that are under way. It does
# not grow with the map: ten times the patterns would draw the curve ten times as long. The dashed
# line is what it would take to load this file.

fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
ax.plot(np.array(times) - times[0], np.array(memory) - memory[0], label="classification")
ax.axhline(file_size, color="black", linestyle="--", linewidth=1, label="all patterns")
ax.set(xlabel="Time (s)", ylabel="Memory beyond that before (MB)", ylim=(None, 1.15 * file_size))
ax.legend(frameon=False, loc="center right")
plt.show()

# %%
# The result is in memory as a whole: some hundred bytes for each point. White points got no answer.

plot_space_groups(xmap)

# %%
# Once the store is complete, the same call takes its results from there and does not run the
# network: another risk, or a prior, takes no time.

start = time.perf_counter()
strict = s.classify_space_group(model, store=store, max_risk=0.05, show_progressbar=False)
print(f"{time.perf_counter() - start:.1f} s")
expected = np.tile(np.array([225, 229, 223])[truth.phase_id].reshape(part), repeats).ravel()
for name, of_kind in (("default", xmap), ("max_risk=0.05", strict)):
    answered = of_kind.is_indexed
    right = np.mean(of_kind.phase_id[answered] == expected[answered])
    print(f"{name}: {answered.mean():.1%} answered, {right:.1%} of these right")

# %%
# A large file can also be looked at before it is classified as a whole: ``s.inav`` slices lazily,
# and ``compute=False`` returns a promise that Dask keeps when it is asked to.

corner = s.inav[:30, :20].classify_space_group(model, compute=False)
corner.compute()

# %%
# With an active client of `dask.distributed <https://distributed.dask.org>`__, the workers of a
# cluster share a lazy map, each with a model of its own. The call stays the same:
#
# .. code-block:: python
#
#     from distributed import Client
#
#     client = Client("tcp://head-node:8786")  # or Client() for this machine
#     xmap = s.classify_space_group(model, store="map.results.h5")
#
# The workers must see the file under the same path.

folder.cleanup()
