"""
Why does it say so? Grad-CAM
============================

Gradient-weighted class activation maps show which region of a pattern a class was read from, in one
run of the network. How coarse are they, what do earlier layers show, and would they look the same
if the network had learned nothing?
"""

# %%
# Nickel, as it comes with kikuchipy: four of the nine patterns, with their orientations.

import kikuchipy as kp
import matplotlib.pyplot as plt
import numpy as np

from kikuchipy_cnn import load_model
from kikuchipy_cnn.explanation import (
    crystallographic_shares,
    explain,
    geometrical_simulations,
    orientations_at,
    rank_correlations,
    with_shuffled_weights,
)
from kikuchipy_cnn.plotting import plot_attribution_comparison, plot_attributions
from kikuchipy_cnn.simulation import load_phases

s = kp.data.nickel_ebsd_small()
model = load_model("fast_fewshot")
index = [(0, 0), (0, 2), (1, 0), (2, 2)]

# %%
# Regions and details
# -------------------
#
# The feature maps of the last layer are added up, weighted by how much the logit of the class gains
# from each, and what is below zero is cut off. These maps have 3 x 3 pixels where the network takes
# 71 x 71: a region is some thirty degrees wide, and there is a zone axis in any of them. So the
# middle row says "more from the left half" and no more than that.
#
# The details below are another quantity (guided backpropagation): the gradient at each pixel,
# through positive signals only, times the importance of its region. Red pixels make the class more
# probable if they become brighter, blue ones if they become darker.

regions = explain(s, index, model, "gradcam", show_progressbar=False)
nickel = load_phases()["Ni"]
rotations, detector = orientations_at(s, regions.places)
lines = geometrical_simulations(nickel, rotations, detector)
plot_attributions(regions, simulations=lines)

# %%
# What is in a number
# -------------------
#
# The part of regions and of details that lies within three degrees of zone axes, over what the same
# values have near the zone axes of nickel in random orientations. 1 is chance.

for name, details in (("regions", False), ("details", True)):
    share = crystallographic_shares(regions, nickel, rotations, detector, details=details).zone_axes
    ratios = share.observed[:, 0] / share.chance[:, 0]
    print(f"{name}: {', '.join(f'{ratio:.2f}' for ratio in ratios)} times chance")

# %%
# Earlier layers
# --------------
#
# Any layer with feature maps can be asked. Earlier ones are finer and mean less: their maps are not
# yet of a class, so that a mean gradient says little of them. What is seen there are edges and
# noise, as in the first columns.

layers = ["block2_sepconv2_bn", "block3_sepconv2_bn", "block4_sepconv2_bn", "block14_sepconv2_act"]
fig, axes = plt.subplots(len(index), 1 + len(layers), figsize=(9, 7.4), layout="constrained")
for layer, column in zip(layers, axes.T[1:], strict=True):
    of_layer = explain(
        s, index, model, "gradcam", layer=layer, guided=False, show_progressbar=False
    )
    for ax, values in zip(column, of_layer.on_patterns()[:, 0], strict=True):
        image = ax.imshow(values, cmap="magma", vmin=0, vmax=1)
    column[0].set_title(layer, fontsize=8)
for ax, pattern in zip(axes[:, 0], regions.patterns, strict=True):
    low, high = np.percentile(pattern, (0.5, 99.5))
    ax.imshow(pattern, cmap="gray", vmin=low, vmax=high)
axes[0, 0].set_title("pattern", fontsize=8)
for ax, place in zip(axes[:, 0], index, strict=True):
    ax.set_ylabel(str(place))
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
fig.colorbar(image, ax=axes, label="Importance", shrink=0.5)
plt.show()

# %%
# Is it the network that is shown?
# --------------------------------
#
# An explanation that stays as it is when the network forgets what it has learned shows the pattern,
# not the network. Here the same patterns are explained by a copy of the network whose weights are
# shuffled, and both are asked about Fm-3m. A panel that is dark all over says that nothing in the
# pattern spoke for this class.

untaught = with_shuffled_weights(model, seed=1)
question = {"method": "gradcam", "space_group": 225, "show_progressbar": False}
plot_attribution_comparison(
    explain(s, index[::2], model, **question),
    explain(s, index[::2], untaught, **question),
    titles=("trained", "shuffled"),
)

# %%
# The rank correlation of the magnitudes, of all nine patterns: 1 would be the same picture. (There
# is none where a panel is dark all over.) What is left of it is what the pattern's own contrast and
# edges bring about, whatever the weights.

everywhere = [(i, j) for i in range(3) for j in range(3)]
trained, shuffled = (explain(s, everywhere, one, **question) for one in (model, untaught))
for name, details in (("regions", False), ("details", True)):
    correlations = rank_correlations(trained, shuffled, details=details)[:, 0]
    print(f"{name}: {np.array2string(correlations, precision=2)}")

# %%
# Between the two, Grad-CAM is for a quick look at where, and :ref:`Shapley values
# <sphx_glr_gallery_explain_with_shap.py>` are for how much.
