"""
Confidence, rejection and what you know already
===============================================

A map with a grain of nickel, one of iron, one of zinc (hexagonal, which is none of the model's
space groups) and a pore: see what gets an answer, what does not and why, and what prior knowledge
changes.
"""

# %%
# Simulate the map: noisy patterns of 72 x 72 pixels.

import kikuchipy as kp
import numpy as np

import kikuchipy_cnn
from kikuchipy_cnn.plotting import plot_confidence, plot_space_groups
from kikuchipy_cnn.simulation import Disturbances, load_library, sample_non_patterns
from kikuchipy_cnn.simulation.camera import disturb
from kikuchipy_cnn.simulation.projection import project, random_rotations
from kikuchipy_cnn.simulation.sampler import PatternSampler

SHAPE, SIZE = (12, 24), 72
rng = np.random.default_rng(7)
library = load_library()
names = ["Ni", "Fe-bcc", "Zn"]
master_patterns = np.stack([library[name] for name in names])
grain = np.repeat([0, 1, 2, 3], SHAPE[1] // 4)[None].repeat(SHAPE[0], axis=0)

rotations = random_rotations(3, rng)
geometry = np.array([[0.5, 0.3, 0.6, 0]] * 3, np.float32)
clean = project(master_patterns, np.arange(3), rotations, geometry, (SIZE, SIZE))
camera = Disturbances.of_level("medium")
patterns = np.empty((*SHAPE, SIZE, SIZE), np.float32)
for i in range(3):
    of_grain = np.repeat(clean[i : i + 1], np.count_nonzero(grain == i), axis=0)
    patterns[grain == i] = disturb(of_grain, camera, rng, static=True)
sampler = PatternSampler(master_patterns, np.ones(3), SIZE, camera)
patterns[grain == 3] = sample_non_patterns("featureless", sampler, np.count_nonzero(grain == 3))
low, high = np.quantile(patterns, (0.001, 0.999), axis=(2, 3), keepdims=True)
s = kp.signals.EBSD((255 * (patterns - low) / (high - low)).clip(0, 255).astype(np.uint8))

# %%
# By default, patterns of little confidence are not indexed. ``reject_reason`` tells why: 2 is no
# diffraction, 3 a phase outside the classes, 4 too doubtful.

model = kikuchipy_cnn.load_model("xception_fewshot")
xmap = s.classify_space_group(model)
figure = plot_confidence(xmap)
figure

# %%
# The fraction of wrong answers that is allowed can be set. It is that of simulated patterns of all
# qualities; a model cannot know how good yours are.

strict = s.classify_space_group(model, max_risk=0.05)
plot_space_groups(strict)

# %%
# That the sample holds nothing but fcc and bcc is knowledge that patterns are weighed with, by
# Bayes' rule. ``evidence_ratio`` tells where they speak against it: below 0.1 they do so strongly.

known = s.classify_space_group(model, prior={225: 0.5, 229: 0.5})
for name, i in (("nickel", 0), ("iron", 1), ("zinc", 2), ("pore", 3)):
    own = (grain == i).ravel()
    print(
        f"{name:7} answered {xmap.is_indexed[own].mean():4.0%}, with prior "
        f"{known.is_indexed[own].mean():4.0%}; median evidence ratio "
        f"{np.median(known.evidence_ratio[own]):.2f}"
    )

# %%
# Neighbours in a grain see the same crystal. Their probabilities can be pooled, where patterns are
# alike. It averages away precipitates in the orientation of their matrix, so it is off by default.

pooled = s.classify_space_group(model, pooling_radius=1)
plot_confidence(pooled)
