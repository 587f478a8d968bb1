"""
Space groups of nickel patterns
===============================

Classify the nine real patterns of nickel that come with kikuchipy, see how sure the network is of
each of them, and save the map. Nickel is face-centred cubic, space group Fm-3m (225), so that the
answers can be judged.
"""

# %%
# Importing the package adds :func:`~kikuchipy_cnn.classify_space_group` to EBSD signals, as a
# method. The patterns are small (60 x 60 pixels) and noisy, and their static background is still in
# them; the signal has this background, and it is removed before the network sees a pattern.

from pathlib import Path
from tempfile import TemporaryDirectory

import kikuchipy as kp

import kikuchipy_cnn
from kikuchipy_cnn.crystal_map import summary_table
from kikuchipy_cnn.plotting import plot_patterns

s = kp.data.nickel_ebsd_small()
s

# %%
# A model is more than a network: its classes, its preprocessing, its calibration and its limits for
# giving no answer belong to it. :func:`~kikuchipy_cnn.load_model` reads a packaged one or a folder
# of your own. The name alone would do below, but the model's classes are needed later.

model = kikuchipy_cnn.load_model("xception_fewshot")
model

# %%
# The result is a crystal map of orix. The phase of a point is a space group, by its Hermann-Mauguin
# symbol and number; ID -1 is not indexed. Classification finds no orientations: the rotations are
# those that the signal had already.
#
# Processors that have instructions for numbers of half precision would use them, which is faster
# and changes an answer now and then. With ``precision="float32"`` numbers are the same everywhere.

xmap = s.classify_space_group(model, precision="float32", show_progressbar=False)
xmap

# %%
# How many points got which answer, with the classes that were not found, too. Nine patterns of one
# sample illustrate; they measure nothing. (They were also among the patterns that were in view when
# the packaged weights were chosen.)

print(summary_table(xmap, model.classes))
n_right, n_answered = (xmap.phase_id == 225).sum(), xmap.is_indexed.sum()
print(f"{n_right} of the {n_answered} answers are 225, which is right; {9 - n_answered} got none.")

# %%
# Above each pattern is its answer with the probability, below it a bar with the probabilities of
# all classes. Patterns of one colour are clear to the network, patterns with many colours are not.
# "Not indexed" is an answer, too: :ref:`the next example
# <sphx_glr_gallery_know_when_not_to_know.py>` is about it. The patterns are drawn without their
# static background.

s.remove_static_background(show_progressbar=False)
plot_patterns(s, xmap)

# %%
# What is a pattern worth that does not tell 225 from 221? It may still be face-centred.
# :func:`~kikuchipy_cnn.coarser_map` adds the probabilities of space groups that share a lattice
# centring, and ``p_F`` is never less than ``p_225``.

coarse = kikuchipy_cnn.coarser_map(xmap)
for fine, centring in zip(xmap.prop["p_225"], coarse.prop["p_F"], strict=True):
    print(f"Fm-3m {fine:.2f}, any F lattice {centring:.2f}")

# %%
# The map goes to EDAX, Oxford Instruments, MTEX or orix, by the suffix of the file;
# :ref:`sphx_glr_gallery_export_to_mtex.py` has more on that.

with TemporaryDirectory() as folder:
    path = Path(folder) / "nickel.ang"
    kikuchipy_cnn.io.save(path, xmap)
    print(kikuchipy_cnn.io.load(path))
