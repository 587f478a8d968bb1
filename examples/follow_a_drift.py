"""
An ensemble under conditions that drifted
=========================================

The camera is out of focus, and the patterns are more blurred than those that the networks have
learned from. Does an ensemble notice? Can it follow without labels, and how much better are labels?
Everything here is simulated, and small: one round, and far fewer patterns than in earnest.
"""

# %%
# Five phases of five space groups, in two conditions: the usual ones, and with a point spread just
# beyond what the networks know (0.02 of the pattern's width at most). Of each there is a map, to
# adapt to, and other patterns to test with.

import tempfile
from dataclasses import replace
from pathlib import Path

import kikuchipy as kp
import matplotlib.pyplot as plt
import numpy as np

from kikuchipy_cnn import Ensemble, load_model
from kikuchipy_cnn.evaluation import evaluate, wilson_interval
from kikuchipy_cnn.plotting import plot_drift
from kikuchipy_cnn.simulation import Disturbances
from kikuchipy_cnn.training import (
    Augmentation,
    FewShotProtocol,
    FewShotTrainer,
    IterativeSettings,
    LabelledPatterns,
    iterative_training,
)

phases = ["Ni3Al", "Cr3Si", "Ni", "Si", "Fe-bcc"]
usual = Disturbances.of_level("medium")
blurred = replace(usual, blur=(0.022, 0.026))


def patterns_of(n, disturbances, seed, phases=phases):
    """Labelled patterns, n of each phase."""
    return LabelledPatterns.from_simulation(
        phases, n, shape=(71, 71), disturbances=disturbances, seed=seed, show_progressbar=False
    )


tests = {"usual": patterns_of(60, usual, 1), "blurred": patterns_of(60, blurred, 1)}
truth = patterns_of(120, blurred, 2)

# %%
# An ensemble and its doubt
# -------------------------
#
# Two networks that saw different patterns in training. Their mean is the answer, and where they
# differ the ensemble is in doubt: the mutual information is 0 where all say the same and grows to
# 1.

members = load_model("ensemble_fewshot").members[:2]
ensemble = Ensemble("two networks", members)
doubt = {}
for name, test in tests.items():
    signal = kp.signals.EBSD(np.concatenate([source.data for source in test.sources]))
    xmap = signal.classify_space_group(ensemble, reject=False, show_progressbar=False)
    doubt[name] = xmap.prop["mutual_information"]

fig, ax = plt.subplots(figsize=(6.5, 3), layout="constrained")
bins = np.linspace(0, max(map(np.max, doubt.values())), 30)
for name, values in doubt.items():
    ax.hist(values, bins, histtype="step", linewidth=1.5, label=f"{name}, mean {values.mean():.3f}")
ax.set(xlabel="Mutual information", ylabel="Patterns", yscale="log")
ax.legend(frameon=False)
plt.show()

# %%
# Doubt that grows from one map to the next is a reason to look. How many answers are right tells
# only who knows the truth; see the end of this page.

# %%
# Iterative training
# ------------------
#
# :func:`~kikuchipy_cnn.training.iterative_training` takes the map without its labels. What all
# members agree on and are sure of becomes a self-label, and each member learns from these, beside
# simulated patterns of the usual conditions (the replay), so that it does not forget. The gain is
# measured without labels: by how much more the members agree on parts of the map that none has
# learned from. If there is none, the models stay as they were.

protocol = FewShotProtocol(
    learning_rate=3e-4,
    max_epochs=3,
    batch_size=64,
    augmentation=Augmentation(mirror=True),
    statistics="frozen",
)
settings = IterativeSettings(n_patterns=600, per_class=60, max_rounds=1, confidence=0.85)
# Of 230, which is not in the map, too: it would be forgotten
replay = LabelledPatterns.concatenate(
    [patterns_of(20, usual, 3), patterns_of(20, usual, 3, ["Al4Ni3"])]
)
images = np.concatenate([source.data for source in truth.sources])
order = np.random.default_rng(0).permutation(len(images))
new_map = kp.signals.EBSD(images[order].reshape(20, 30, 71, 71))

with tempfile.TemporaryDirectory() as folder:
    result = iterative_training(
        ensemble,
        new_map,
        work=Path(folder),
        protocol=protocol,
        settings=settings,
        replay=replay,
        seed=1,
        show_progressbar=False,
    )
for row in result.rounds:
    print(
        f"Round {row['round']}: {row['self_labels']} self-labels, agreement beyond chance "
        f"{row['agreement']:.3f}, {row['decision']}. {row['reason']}"
    )

# %%
# And with labels?
# ----------------
#
# The same members, protocol and replay, with as many true labels as there were self-labels.

n_labels = max(row["self_labels"] for row in result.rounds)
chosen = np.random.default_rng(1).permutation(len(truth))[:n_labels]
again = np.random.default_rng(2).permutation(len(replay))
training, validation = (
    LabelledPatterns.concatenate([truth.take(chosen[part]), replay.take(again[part])])
    for part in (slice(20, None), slice(0, 20))
)
taught = Ensemble(
    "with labels",
    [
        FewShotTrainer(member, protocol, seed=i)
        .fit(training, validation, show_progressbar=False)
        .bundle
        for i, member in enumerate(members)
    ],
)

# %%
# Bars of error are intervals of 95 % for 300 test patterns. Two bars whose intervals overlap by
# much do not differ as far as this can tell. Look at both groups: what is gained on the new
# conditions, and whether anything is lost on the old ones.


def with_interval(model, test):
    """Accuracy and its interval."""
    right = evaluate(model, test, with_quality=False, show_progressbar=False).right
    return right.mean(), *wilson_interval(right.sum(), len(right))


models = {"as it was": ensemble, "self-labels": result.model, "true labels": taught}
rows = [
    {"drift": condition} | {name: with_interval(model, test) for name, model in models.items()}
    for condition, test in tests.items()
]
for row in rows:
    print(row["drift"], ", ".join(f"{name} {row[name][0]:.3f}" for name in models))
plot_drift(rows)

# %%
# Agreement is not accuracy: members can agree on the same mistake, and where the models are wrong
# about a phase as a whole nothing but known patterns contradicts it. So label some patterns if you
# can, and give them as ``known=``. :doc:`/uncertainty` has the measurement that this is a small
# copy of, for several kinds of drift.

# sphinx_gallery_thumbnail_number = 2
