"""
How many patterns? Transfer against scratch
===========================================

What is a start with packaged weights worth, and how many labelled patterns does it take? Two
networks of the same kind learn to tell four phases of a superalloy apart, one from packaged weights
and one from random ones, from more and more patterns.
"""

# %%
# The task: nickel, TiC and Cr23C6, which have the same space group (225), and Ni3Al (221), by name.
# The packaged network was trained to tell space groups apart, from simulated patterns of hundreds
# of phases. These four were among them, under other cameras. It was never asked for their names:
# three of them are one and the same to it.
#
# All patterns are simulated, at one detector and with low noise. The test has patterns of new
# orientations.

import kikuchipy as kp
import numpy as np

from kikuchipy_cnn.evaluation import ShotsCurve, evaluate, wilson_interval
from kikuchipy_cnn.plotting import plot_shots_curve, plot_training_curves
from kikuchipy_cnn.simulation import Disturbances
from kikuchipy_cnn.training import (
    Augmentation,
    FewShotProtocol,
    FewShotTrainer,
    LabelledPatterns,
    split_patterns,
)

phases = ["Ni", "TiC", "Cr23C6", "Ni3Al"]
detector = kp.detectors.EBSDDetector((60, 60), pc=(0.5, 0.25, 0.6))
camera = {"detector": detector, "disturbances": Disturbances.of_level("low")}
patterns = LabelledPatterns.from_simulation(phases, 60, **camera, seed=1, show_progressbar=False)
test = LabelledPatterns.from_simulation(phases, 100, **camera, seed=2, show_progressbar=False)

# %%
# Both are trained alike, with the learning rate of the papers, but for where they begin.
# ``"xception_narrow"`` is the architecture of ``fast_fewshot``. Of a packaged model the last layer
# is kept, too: each phase begins with what is known of its space group, the three of 225 with the
# same.

protocol = FewShotProtocol(
    schedule="cosine", max_epochs=8, batch_size=16, augmentation=Augmentation(mirror=True)
)
trainers = {
    "packaged weights": FewShotTrainer("fast_fewshot", protocol, level="phase"),
    "scratch": FewShotTrainer("scratch", protocol, level="phase", architecture="xception_narrow"),
}

# %%
# 5, 15 and 40 patterns of each phase to learn from, and a quarter as many to tell which epoch is
# best. The fewer are among the more.

shots = (5, 15, 40)
histories = {name: [] for name in trainers}
accuracies = {name: [] for name in trainers}
for n in shots:
    split = split_patterns(patterns, n, n // 4, level="phase", seed=1)
    for name, trainer in trainers.items():
        result = trainer.fit(split.training, split.validation, show_progressbar=False)
        histories[name].append(result.history)
        evaluation = evaluate(result.bundle, test, with_quality=False, show_progressbar=False)
        accuracies[name].append([evaluation.accuracy])

# %%
# Accuracy against the number of patterns
# ---------------------------------------
#
# Compare along the other direction, too: with how many patterns is scratch as good as the packaged
# weights are with five? If no point of the lower curve is as high as the first one of the upper,
# more than 40.

curves = {
    name: ShotsCurve(shots, np.array(values), "phase", chance=1 / len(phases))
    for name, values in accuracies.items()
}
plot_shots_curve(curves)

# %%
# It is one training each, with one draw of patterns, and the test has 400 patterns: few points of
# difference mean nothing. :func:`~kikuchipy_cnn.evaluation.shots_curve` does all of the above in
# one call, several times with other draws, and goes on where it was after an interruption.

for name, values in accuracies.items():
    for n, (accuracy,) in zip(shots, values, strict=True):
        low, high = wilson_interval(round(accuracy * len(test)), len(test))
        print(f"{name:16}  {n:2} of each phase: {accuracy:.1%} ({low:.1%} to {high:.1%})")

# %%
# Learning curves
# ---------------
#
# With 40 patterns of each phase. The dashed lines are of the training patterns, the solid ones of
# the validation patterns; the distance between the two is what was learned by heart. A network of a
# million weights can learn 160 patterns by heart in a few epochs, whatever it begins with. What
# differs is how much of that holds for other patterns.

plot_training_curves({name: [of_shots[-1]] for name, of_shots in histories.items()})

# %%
# Such curves are of one task: phases, camera and network. What decides is how near the task is to
# what the packaged network has learned, and your own patterns tell. The papers' protocol, with 18
# materials and 400 patterns of each space group, is in :doc:`/training`.
