"""Models on their way to other processes."""

from __future__ import annotations

from dataclasses import fields
from functools import cached_property

import numpy as np

from kikuchipy_cnn.models.bundle import ModelBundle, build_in_single_precision
from kikuchipy_cnn.models.ensemble import Ensemble


class PackedModel:
    """A model that can be pickled, with the weights as they are.

    Keras is not needed to unpickle it, only to unpack it.

    Parameters
    ----------
    model
        Model. In the process that packs it, unpacking gives this one back.
    """

    def __init__(self, model: ModelBundle | Ensemble) -> None:
        self.model = model

    def __getstate__(self) -> dict:
        model = self.model
        own = {field.name: getattr(model, field.name) for field in fields(model)}
        if isinstance(model, Ensemble):
            own["members"] = [PackedModel(member) for member in model.members]
        else:
            network = own.pop("network")
            own["weights"] = [np.asarray(weight) for weight in network.get_weights()]
            own["input_shape"] = network.input_shape[1:]
        return own

    def __setstate__(self, own: dict) -> None:
        self._own = own

    @cached_property
    def model(self) -> ModelBundle | Ensemble:
        """The model, built on first use."""
        own = self.__dict__.pop("_own")
        if "members" in own:
            return Ensemble(**(own | {"members": [packed.model for packed in own["members"]]}))
        weights, shape = own.pop("weights"), own.pop("input_shape")
        network = build_in_single_precision(own["architecture"], shape, len(own["classes"]))
        network.set_weights(weights)
        return ModelBundle(network=network, **own)
