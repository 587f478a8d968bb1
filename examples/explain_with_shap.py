"""
Why does it say so? Shapley values
==================================

Which pixels of a pattern speak for a space group and which against it, and how much of that lies at
zone axes? First of six simulated patterns, one of each space group, then of real ones of nickel.
"""

# %%
# The faster of the models, so that this takes a minute. One low-noise pattern of a phase of each of
# its space groups is simulated; orientation and projection center are known.

from dataclasses import replace

import kikuchipy as kp
import matplotlib.pyplot as plt
import numpy as np

from kikuchipy_cnn import load_model
from kikuchipy_cnn.explanation import (
    crystallographic_shares,
    explain,
    geometrical_simulations,
    orientations_at,
    shapley_values,
    simulate_background,
)
from kikuchipy_cnn.plotting import plot_attributions
from kikuchipy_cnn.simulation import (
    Disturbances,
    load_master_pattern,
    load_phases,
    simulate_patterns,
)

model = load_model("fast_fewshot")
catalogue = load_phases()
names = ["Ni3Al", "Cr3Si", "Ni", "Si", "W", "Al4Ni3"]
camera = replace(Disturbances.of_level("low"), circular=0, wide=0)
simulated = [
    simulate_patterns(
        [load_master_pattern(name)], 1, shape=(71, 71), disturbances=camera, seed=i,
        show_progressbar=False,
    )
    for i, name in enumerate(names)
]  # fmt: skip

# %%
# What a Shapley value is
# -----------------------
#
# A network answers with one logit for each class. Compared with the mean logit of background
# patterns, the logit of this pattern is higher or lower by some amount, and Shapley values share
# this amount out among the pixels. So they are contributions, they add up, and they depend on the
# background: here 20 simulated patterns of each space group. (100, as in the paper, is the default
# and takes five times as long.)
#
# The last column of the table checks the sum, relative to the span of the pattern's logits.

background = simulate_background(model, 20, shape=(71, 71), seed=0)
values = shapley_values(
    model,
    np.concatenate([signal.data.reshape(-1, 71, 71) for signal in simulated]),
    background,
    show_progressbar=False,
)
print(values.table())

# %%
# Top, the patterns with the lines and zone axes that kikuchipy simulates. In the middle the most
# probable class, below it the next, each with its probability. Red speaks for the class, blue
# against it. From left to right the phases are Ni3Al, Cr3Si, Ni, Si, W and Al4Ni3; compare the
# winners with Pm-3m, Pm-3n, Fm-3m, Fd-3m, Im-3m and Ia-3d.
#
# Look at crossings of bands and their edges, and at pixels that are red in one row and blue in the
# next: there the network decides between the two. What has the same colour in both rows raises both
# logits and decides nothing.

lines = [
    geometrical_simulations(catalogue[name], signal.xmap.rotations, signal.detector)[0]
    for name, signal in zip(names, simulated, strict=True)
]
plot_attributions(values, simulations=lines)

# %%
# Real patterns
# -------------
#
# The nickel patterns of kikuchipy are indexed, and :func:`~kikuchipy_cnn.explanation.explain` takes
# them from the map by row and column, with the mask and the background that the classification
# uses. kikuchipy's phase has its lattice in nanometres and no atoms, so the catalogue's is taken
# for the lines.

s = kp.data.nickel_ebsd_small()
index = [(0, 0), (0, 2), (1, 0), (2, 2)]
of_nickel = explain(s, index, model, n_background=20, show_progressbar=False)
rotations, detector = orientations_at(s, of_nickel.places)
plot_attributions(
    of_nickel, simulations=geometrical_simulations(catalogue["Ni"], rotations, detector)
)

# %%
# Does it look at zone axes?
# --------------------------
#
# A picture proves little: there is a zone axis near any red spot. The part of the values within
# three degrees of zone axes is a number, to be compared with two others. By chance is what the same
# values have near the zone axes of the crystal in 200 random orientations. And the contrast of the
# pattern itself is stronger at zone axes, so that values that follow nothing but contrast would be
# there, too.
#
# So an answer is yes where the red bar is higher than both of the others by more than the error
# bar, which is one standard deviation of chance.

shares = [
    crystallographic_shares(
        replace(values, **{
            field: getattr(values, field)[i : i + 1]
            for field in ("patterns", "images", "values", "explained", "logits", "probabilities")
        }),
        catalogue[name], signal.xmap.rotations, signal.detector,
    ).zone_axes
    for i, (name, signal) in enumerate(zip(names, simulated, strict=True))
]  # fmt: skip
shares.append(crystallographic_shares(of_nickel, catalogue["Ni"], rotations, detector).zone_axes)
observed, chance, spread = (
    np.concatenate([getattr(share, name)[:, 0] for share in shares])
    for name in ("observed", "chance", "spread")
)
contrast = np.concatenate([share.contrast for share in shares])

fig, ax = plt.subplots(figsize=(9, 3.4), layout="constrained")
places = np.arange(len(observed))
ax.bar(places - 0.27, observed, 0.25, color="tab:red", label="Shapley values")
ax.bar(places, contrast, 0.25, color="0.6", label="contrast of the pattern")
ax.bar(places + 0.27, chance, 0.25, yerr=spread, capsize=2, color="0.85", label="by chance")
ax.axvline(len(names) - 0.5, color="black", linewidth=0.8)
ax.set_xticks(places, [*names, *(f"real Ni\n({i}, {j})" for i, j in index)])
ax.set(ylabel="Part within 3° of zone axes")
ax.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
plt.show()

ratio = observed / chance
print(f"Times chance: simulated {ratio[:6].mean():.1f}, real {ratio[6:].mean():.1f} (means)")

# %%
# Ten patterns are no measurement; :doc:`/explanation` has one, of 129 patterns, beside networks
# with shuffled weights. And the values are of one network: another one, or another background,
# gives others.

# sphinx_gallery_thumbnail_number = 1
