from dataclasses import replace

import numpy as np
import pytest

from kikuchipy_cnn import Ensemble
from kikuchipy_cnn.models import select_space_groups


def test_probabilities_are_conditional(tiny_bundle, rng):
    numbers = tiny_bundle.classes.ids[1:]
    chosen = select_space_groups(tiny_bundle, numbers)
    x = rng.normal(size=(5, 32, 32, 1)).astype(np.float32)
    whole = tiny_bundle.predict_probabilities(x)[:, 1:]
    np.testing.assert_allclose(
        chosen.predict_probabilities(x), whole / whole.sum(axis=1, keepdims=True), atol=1e-5
    )
    assert chosen.classes.ids == numbers
    assert chosen.transform == tiny_bundle.transform


def test_card_tells_what_was_chosen(tiny_bundle):
    numbers = tiny_bundle.classes.ids[:2]
    chosen = select_space_groups(replace(tiny_bundle, card="# tiny", training={"seed": 1}), numbers)
    assert chosen.card.startswith(f"This model chooses among {', '.join(chosen.classes.names)}")
    assert chosen.card.endswith("# tiny")
    assert chosen.training == {"seed": 1}


def test_space_group_that_the_model_does_not_know(tiny_bundle):
    with pytest.raises(ValueError, match="194 is not among"):
        select_space_groups(tiny_bundle, (tiny_bundle.classes.ids[0], 194))


def test_ensemble(tiny_bundle):
    with pytest.raises(ValueError, match="'two' is an ensemble. Select .* of each of its members"):
        select_space_groups(Ensemble("two", (tiny_bundle, tiny_bundle)), (221, 225))
