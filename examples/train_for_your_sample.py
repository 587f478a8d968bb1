"""
Train for your sample
=====================

A model that tells the phases of one sample apart at one microscope: nickel, its ordered precipitate
Ni3Al, and chromium carbide. It begins with a packaged model, which knows neither that there are
only these three nor where the detector stands. Labelled patterns of your own are best; where there
are none, or few, simulated ones stand in for them, as here.
"""

# %%
# The real nickel patterns that come with kikuchipy, and their detector. The patterns are for the
# end; the detector says where to simulate.

import kikuchipy as kp
import matplotlib.pyplot as plt
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
# Labelled patterns
# -----------------
#
# Patterns of the three phases in random orientation, with projection centers near that of the
# detector and the full range of a camera's imperfections. Milder patterns are easier to learn, and
# what was learned from them is worth less at a real camera.

phases = ["Ni", "Ni3Al", "Cr23C6"]
patterns = LabelledPatterns.from_simulation(
    phases, 550, detector=s.detector, seed=1, show_progressbar=False
)
patterns

# %%
# Patterns of your own come from signals, by space group and name of the phase, and are added to
# others with ``+``:
#
# .. code-block:: python
#
#     mine = LabelledPatterns.from_signals({225: {"Ni": s1, "Cr23C6": s2}, 221: {"Ni3Al": s3}})
#     patterns = patterns + mine
#
# A look at what the network is to learn. All three are cubic; nickel and Ni3Al differ in weak bands
# only, which noise hides, and the carbide has a unit cell three times as long in each direction and
# many narrow bands.

fig, axes = plt.subplots(3, 7, figsize=(9, 4.1), layout="constrained")
for ax_row, name in zip(axes, phases, strict=True):
    of_phase = np.flatnonzero(patterns.material == name)
    for ax, i in zip(ax_row, of_phase, strict=False):
        ax.imshow(patterns.sources[patterns.source[i]].data[patterns.index[i]], cmap="gray")
        ax.set(xticks=[], yticks=[])
    ax_row[0].set_ylabel(name)
plt.show()

# %%
# Split
# -----
#
# 300 patterns of each to learn from, 100 to tell when to stop, and 150 to test. Each of these
# patterns has an orientation of its own. Of real maps, split by grain or by map (``by="map"``):
# patterns of one grain hardly differ, and a test on them would measure how well grains are
# recognised.

split = split_patterns(patterns, 300, 100, level="phase", seed=1)
print(split.table())

# %%
# Training
# --------
#
# The protocol of the papers with two changes: mirrored patterns, and a learning rate that is lower
# and falls. The weights of the lowest validation loss are kept.
#
# In the figure, look at the validation. While its loss falls, go on; where it rises and the loss on
# the training patterns still falls, the network learns these by heart.

protocol = FewShotProtocol(
    learning_rate=3e-4,
    schedule="cosine",
    max_epochs=8,
    augmentation=Augmentation(mirror=True),
)
trainer = FewShotTrainer("fast_fewshot", protocol, level="phase", name="superalloy", seed=1)
result = trainer.fit(split.training, split.validation, show_progressbar=False)
print(
    f"{result.stopped} after {len(result.history)} epochs; the model is that of epoch "
    f"{result.best_epoch}"
)
plotting.plot_training_curves([result.history])

# %%
# How good is it? These are simulated patterns of new orientations, of the same phases and the same
# range of cameras, so that it is the best that can be hoped for.

evaluation = evaluate(result.bundle, split.test, show_progressbar=False)
print(evaluation.report())
plotting.plot_confusion(evaluation)

# %%
# Real patterns
# -------------
#
# The model is used like a packaged one; ``result.bundle.save("superalloy")`` writes it to a folder
# that ``classify_space_group(model="superalloy")`` takes. Real patterns are the judge, since
# simulation and camera differ: compare with the accuracy above.

xmap = s.classify_space_group(model=result.bundle, show_progressbar=False)
n_nickel = np.sum(xmap.prop["p_Ni"] == np.max([xmap.prop[f"p_{i}"] for i in phases], axis=0))
print(f"{n_nickel} of {xmap.size} real patterns of nickel are called nickel")
s.remove_static_background(show_progressbar=False)
plotting.plot_patterns(s, xmap)

# %%
# It answers always: a new model is calibrated on its validation patterns, but does not know yet
# which patterns are of none of its phases. :func:`~kikuchipy_cnn.training.calibrate` and
# :func:`~kikuchipy_cnn.training.fit_rejection` teach it, with patterns that it was not trained on.

# sphinx_gallery_thumbnail_number = 1
