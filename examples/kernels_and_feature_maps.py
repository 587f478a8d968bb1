"""
Kernels and feature maps
========================

What does a network see first, and what becomes of it on the way to a class? And are two networks
alike if some of their kernels are?
"""

# %%
# One simulated pattern of each of six space groups, and the faster of the packaged models.

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from kikuchipy_cnn import load_model
from kikuchipy_cnn.explanation import feature_maps, similar_kernels
from kikuchipy_cnn.plotting import plot_feature_maps, plot_kernels, symbol_label
from kikuchipy_cnn.simulation import Disturbances, load_master_pattern, simulate_patterns
from kikuchipy_cnn.training import (
    FewShotProtocol,
    FewShotTrainer,
    LabelledPatterns,
    split_patterns,
)

model = load_model("fast_fewshot")
names = {221: "Ni3Al", 223: "Cr3Si", 225: "Ni", 227: "Si", 229: "W", 230: "Al4Ni3"}
camera = replace(Disturbances.of_level("low"), circular=0, wide=0)
patterns = np.concatenate(
    [
        simulate_patterns(
            [load_master_pattern(name)], 1, shape=(71, 71), disturbances=camera, seed=number,
            show_progressbar=False,
        ).data.reshape(-1, 71, 71)
        for number, name in names.items()
    ]
)  # fmt: skip

# %%
# The first layer
# ---------------
#
# Each of its 16 kernels has 3 x 3 weights and goes over the preprocessed pattern in steps of two
# pixels. What it gives is a feature map. Some are copies of the pattern, bright or dark; some have
# dark and bright edges along bands of one direction, and hardly any of another; some are nearly
# nothing but noise. None knows of a crystal yet: the same kernels would do for photographs.

kernels = [0, 2, 5, 8, 10, 13]
maps = feature_maps(model, patterns, kernels=kernels)
plot_feature_maps(patterns, maps, kernels=kernels, row_labels=list(names))

# %%
# Deeper layers
# -------------
#
# Later layers see more of the pattern and tell less of where. Of three layers on the way the map of
# the greatest contrast is drawn. On the right are maps of the last layer: for each space group the
# one that adds most to its logit in its own pattern. They have 3 x 3 pixels, each of which says
# something of a third of the pattern, such as "what patterns of Fm-3m have is here".
#
# Each of the six columns on the right has one grey scale. A map that is bright in its own row only
# stands for its space group; where it is bright in another row, the two patterns have in common
# what it answers to. No map decides alone: each logit is a sum over 512 of them.

layers = ["block2_sepconv2_bn", "block3_sepconv2_bn", "block4_sepconv2_bn"]
columns = {}
for layer in layers:
    of_layer = feature_maps(model, patterns, layer)
    strongest = of_layer.std(axis=(0, 2, 3)).argmax()
    columns[f"{layer.split('_')[0]}\nmap {strongest}"] = of_layer[:, strongest]
last = feature_maps(model, patterns, "block14_sepconv2_act")
weights = model.network.get_layer("predictions").get_weights()[0]
for i, number in enumerate(names):
    strongest = (last[i].mean(axis=(1, 2)) * weights[:, i]).argmax()
    columns[f"for {symbol_label(number)}\nmap {strongest}"] = last[:, strongest]

fig, axes = plt.subplots(6, 1 + len(columns), figsize=(9, 5.9), layout="constrained")
for ax, pattern, number in zip(axes[:, 0], patterns, names, strict=True):
    ax.imshow(pattern, cmap="gray")
    ax.set_ylabel(symbol_label(number))
for j, (title, maps) in enumerate(columns.items(), start=1):
    axes[0, j].set_title(title, fontsize=8)
    # Of the layers on the way, each map has a grey scale of its own
    limits = {"vmin": 0, "vmax": maps.max()} if j > len(layers) else {}
    for ax, image in zip(axes[:, j], maps, strict=True):
        ax.imshow(image, cmap="gray", **limits)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
plt.show()

# %%
# Kernels of two networks
# -----------------------
#
# The paper of 2021 compares kernels of a network with transferred weights with those of one from
# scratch, and finds pairs that are alike. :func:`~kikuchipy_cnn.explanation.similar_kernels` does
# the same: the pairs of the smallest Euclidean distance, here up to scale. Beside ``fast_fewshot``
# is a member of ``ensemble_fewshot``, which went on with other patterns for another time.

member = load_model("ensemble_fewshot").members[0]
pairs = similar_kernels(model, member, n=6, up_to_scale=True)
plot_kernels(pairs, titles=("fast_fewshot", "member of ensemble"))

# %%
# Look at the numbers of the kernels. Of two networks that began independently, kernels that are
# alike would have any numbers. Where many pairs have one number in both, the networks began with
# the same weights, and share kernels without having learned them twice.

same = sum(pair.index_a == pair.index_b for pair in pairs)
print(f"{same} of 6 pairs have the same number in both networks; by chance it would be 0.4")

# %%
# So a network that is independent: from scratch, trained here on a few patterns. And how close are
# pairs by chance? With nine weights and 16 x 16 pairs, some are always alike. The same kernels with
# their weights in another order tell.

few = LabelledPatterns.from_simulation(list(names.values()), 80, seed=1, show_progressbar=False)
split = split_patterns(few, 64, 16, seed=1)
trainer = FewShotTrainer(
    "scratch", FewShotProtocol(max_epochs=6), architecture="xception_narrow", seed=5
)
scratch = trainer.fit(split.training, split.validation, show_progressbar=False).bundle

others = {"member of ensemble": member, "from scratch": scratch}
distances = {
    name: [pair.distance for pair in similar_kernels(model, one, n=6, up_to_scale=True)]
    for name, one in others.items()
}
first = scratch.network.get_layer("block1_conv1")
(kernels,) = first.get_weights()
by_chance = []
for seed in range(100):
    first.set_weights([np.random.default_rng(seed).permuted(kernels)])
    shuffled = similar_kernels(model, scratch, n=6, up_to_scale=True)
    by_chance.append([pair.distance for pair in shuffled])

fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ranks = np.arange(1, 7)
low, middle, high = np.percentile(by_chance, (2.5, 50, 97.5), axis=0)
ax.fill_between(ranks, low, high, color="0.85", label="by chance (95 % of 100)")
ax.plot(ranks, middle, color="0.5")
for name, of_pairs in distances.items():
    ax.plot(ranks, of_pairs, "o-", label=name)
ax.set(xlabel="Pair, the nearest first", ylabel="Distance", ylim=(0, None))
ax.legend(frameon=False)
plt.show()

# %%
# Only pairs below the grey band say that two trainings came to the same kernels. And this network
# from scratch has seen so few patterns that its kernels have hardly left where they began: it tells
# what chance does, not what long trainings do. :doc:`/explanation` has that for networks that were
# trained for longer.

for name, of_pairs in distances.items():
    print(f"{name}: {np.sum(np.array(of_pairs) < low)} of 6 pairs below the band")

# sphinx_gallery_thumbnail_number = 2
