"""
Train for your sample
=====================

A model that tells the phases of one sample apart at one microscope, from simulated patterns:
nickel, its ordered precipitate Ni3Al, and chromium carbide. It begins with a packaged model, which
does not know that there are only these three and where the detector stands.
"""

# %%
# The real nickel patterns that come with kikuchipy, and their detector.
import kikuchipy as kp
import numpy as np

from kikuchipy_cnn import plotting
from kikuchipy_cnn.evaluation import evaluate
from kikuchipy_cnn.simulation import Disturbances, load_library
from kikuchipy_cnn.training import (
    Augmentation,
    FewShotProtocol,
    FewShotTrainer,
    LabelledPatterns,
    split_patterns,
)

s = kp.data.nickel_ebsd_small()
s.detector

# %%
# Patterns of the three phases in random orientation, with projection centers near that of the
# detector and half the range of a camera's imperfections. Instead, `LabelledPatterns.from_signals`
# takes patterns of your own, and ``+`` joins both.
phases = ["Ni", "Ni3Al", "Cr23C6"]
assert all(name in load_library() for name in phases)
patterns = LabelledPatterns.from_simulation(
    phases, 400, detector=s.detector, disturbances=Disturbances().scaled(0.5), seed=1
)
patterns

# %%
# 200 patterns of each to learn from, 50 to tell when to stop, and 150 to test.
split = split_patterns(patterns, 200, 50, level="phase", seed=1)
print(split.table())

# %%
# The protocol of the papers with two changes: mirrored patterns, and a learning rate that falls.
protocol = FewShotProtocol(
    schedule="cosine", max_epochs=12, augmentation=Augmentation(mirror=True)
)
trainer = FewShotTrainer("xception_narrow", protocol, level="phase", name="superalloy", seed=1)
result = trainer.fit(split.training, split.validation)
plotting.plot_training_curves([result.history])

# %%
# How good is it? These are simulated patterns of new orientations, but of the same phases.
evaluation = evaluate(result.bundle, split.test)
print(evaluation.report())
plotting.plot_confusion(evaluation)

# %%
# The model is used like a packaged one. `result.bundle.save("superalloy")` writes it to a folder
# that `classify_space_group(model="superalloy")` takes.
xmap = s.classify_space_group(model=result.bundle)
print(xmap)
print(np.round(xmap.prop["p_Ni"], 2))
plotting.plot_patterns(s, xmap)
