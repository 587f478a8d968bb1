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
# detector and the full range of a camera's imperfections. Milder patterns are easier to learn, but
# with half the range all nine real patterns come out as the carbide. Patterns of your own are
# better still: `LabelledPatterns.from_signals` takes them, and ``+`` joins both.
patterns = LabelledPatterns.from_simulation(
    ["Ni", "Ni3Al", "Cr23C6"], 550, detector=s.detector, seed=1
)
patterns

# %%
# 300 patterns of each to learn from, 100 to tell when to stop, and 150 to test.
split = split_patterns(patterns, 300, 100, level="phase", seed=1)
print(split.table())

# %%
# The protocol of the papers with two changes: mirrored patterns, and a learning rate that is lower
# and falls.
protocol = FewShotProtocol(
    learning_rate=3e-4,
    schedule="cosine",
    max_epochs=8,
    augmentation=Augmentation(mirror=True),
)
trainer = FewShotTrainer("fast_fewshot", protocol, level="phase", name="superalloy", seed=1)
result = trainer.fit(split.training, split.validation)
plotting.plot_training_curves([result.history])

# %%
# How good is it? These are simulated patterns of new orientations, but of the same phases. Nickel
# and its ordered precipitate differ in faint bands only.
evaluation = evaluate(result.bundle, split.test)
print(evaluation.report())
plotting.plot_confusion(evaluation)

# %%
# The model is used like a packaged one. `result.bundle.save("superalloy")` writes it to a folder
# that `classify_space_group(model="superalloy")` takes. Real patterns are the judge: simulation and
# camera still differ, and most of these nine are called nickel, but not all.
xmap = s.classify_space_group(model=result.bundle)
print(xmap)
print(np.round(xmap.prop["p_Ni"], 2))
plotting.plot_patterns(s, xmap)
