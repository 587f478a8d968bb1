"""
Why does it say nickel is Fm-3m?
================================

Which parts of a pattern speak for a space group and which against it, how much of that lies at zone
axes, and what the first kernels of the network do. The patterns are the nine of nickel that come
with kikuchipy.
"""

# %%
# Load the patterns, which are indexed, and the faster of the models.

import kikuchipy as kp

from kikuchipy_cnn import load_model
from kikuchipy_cnn.explanation import (
    crystallographic_shares,
    explain,
    feature_maps,
    geometrical_simulations,
    orientations_at,
    randomisation_test,
)
from kikuchipy_cnn.plotting import plot_attributions, plot_feature_maps
from kikuchipy_cnn.simulation import load_phases

s = kp.data.nickel_ebsd_small()
model = load_model("fast_fewshot")
index = [(0, 2), (1, 0), (1, 2), (2, 2)]

# %%
# Shapley values: each pixel's contribution to the logit of the most probable space group and of the
# next, against 20 simulated patterns of each space group (100 is the default and takes five times
# as long). They add up to the difference from these patterns' mean logit, which the last column
# checks.

values = explain(s, index, model, n_background=20, show_progressbar=False)
print(values.table())

# %%
# With the orientations, kikuchipy tells where bands and zone axes are. kikuchipy's phase has its
# lattice in nanometres and no space for electrons, so the catalogue's is taken.

nickel = load_phases()["Ni"]
rotations, detector = orientations_at(s, values.places)
simulations = geometrical_simulations(nickel, rotations, detector)
plot_attributions(values, simulations=simulations)

# %%
# How much of it lies within three degrees of zone axes, or in bands? By chance is what the same
# values have near the zone axes of nickel in other orientations.

print(crystallographic_shares(values, nickel, rotations, detector).table())

# %%
# Grad-CAM shows regions, as coarse as the last feature maps (3 x 3 here), and with guided
# backpropagation details in them.

regions = explain(s, index, model, "gradcam", show_progressbar=False)
print(crystallographic_shares(regions, nickel, rotations, detector, details=True).table())
plot_attributions(regions, simulations=simulations)

# %%
# Do the explanations depend on what the network has learned? Correlations of 1 would say no.

patterns = s.data.reshape(-1, 60, 60)[[2, 3, 5, 8]]
background = {"static_background": s.static_background, "show_progressbar": False}
print(randomisation_test(model, patterns, "gradcam", details=True, **background))

# %%
# The first kernels of the network see brightness, edges and lines in several directions.

maps = feature_maps(model, patterns, kernels=[0, 1, 2, 3], static_background=s.static_background)
plot_feature_maps(patterns, maps, kernels=[0, 1, 2, 3], row_labels=[225] * 4)
