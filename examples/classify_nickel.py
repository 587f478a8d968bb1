"""
Space groups of nickel patterns
===============================

Classify the nine nickel patterns that come with kikuchipy, look at how sure the network is, and
save the map.
"""

# %%
# Importing the package adds
# :meth:`~kikuchipy.signals.EBSD.classify_space_group` to EBSD signals.

from pathlib import Path
from tempfile import TemporaryDirectory

import kikuchipy as kp

import kikuchipy_cnn
from kikuchipy_cnn.crystal_map import summary_table
from kikuchipy_cnn.plotting import plot_patterns

s = kp.data.nickel_ebsd_small()
model = kikuchipy_cnn.load_model("xception_fewshot")
model

# %%
# The result is a crystal map of orix. The phase of each point is a space group; rotations are those
# that the signal had already.

xmap = s.classify_space_group(model)
xmap

# %%
# Counts, with the classes that were not found too.

print(summary_table(xmap, model.classes))

# %%
# One probability per space group and pattern. The lattice centring and the Laue class are coarser
# answers, whose probabilities are sums.

figure = plot_patterns(s, xmap)
probabilities = [xmap.prop[f"p_{number}"] for number in model.classes]
model.classes.sum_by_centring(list(zip(*probabilities, strict=True)))

# %%
# Save the map for EDAX, MTEX or orix.

with TemporaryDirectory() as folder:
    kikuchipy_cnn.io.save(Path(folder) / "nickel.ang", xmap)
