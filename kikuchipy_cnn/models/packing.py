# SPDX-License-Identifier: GPL-3.0-or-later

"""Models on their way to other processes."""

from __future__ import annotations

import hashlib
import pickle
import threading
from dataclasses import fields

import numpy as np

from kikuchipy_cnn.models.bundle import ModelBundle, build_in_single_precision
from kikuchipy_cnn.models.ensemble import Ensemble

# Threads of a worker share what it was sent.
_lock = threading.RLock()


class PackedModel:
    """A model that can be pickled, with the weights as they are.

    Keras is not needed to unpickle it, nor to send it on, only to unpack it.

    Parameters
    ----------
    model
        Model. In the process that packs it, unpacking gives this one back.
    """

    def __init__(self, model: ModelBundle | Ensemble) -> None:
        self._model: ModelBundle | Ensemble | None = model
        self._packed: dict | None = None
        self._digest: str | None = None

    def __getstate__(self) -> dict:
        with _lock:
            packed = _pack(self._model) if self._packed is None else self._packed
            if self._digest is None:
                self._digest = _digest(packed)
            return {"packed": packed, "digest": self._digest}

    def __setstate__(self, state: dict) -> None:
        self._model, self._packed, self._digest = None, state["packed"], state["digest"]

    @property
    def digest(self) -> str:
        """What tells it from other models, in all processes."""
        return self._digest or self.__getstate__()["digest"]

    @property
    def model(self) -> ModelBundle | Ensemble:
        """The model, built on first use."""
        with _lock:
            if self._model is None:
                self._model, self._packed = _unpack(self._packed), None
            return self._model


def _pack(model: ModelBundle | Ensemble) -> dict:
    own = {field.name: getattr(model, field.name) for field in fields(model)}
    if isinstance(model, Ensemble):
        own["members"] = [PackedModel(member) for member in model.members]
    else:
        network = own.pop("network")
        own["weights"] = [np.asarray(weight) for weight in network.get_weights()]
        own["input_shape"] = network.input_shape[1:]
    return own


def _digest(packed: dict) -> str:
    buffers: list[pickle.PickleBuffer] = []
    digest = hashlib.sha256(pickle.dumps(packed, protocol=5, buffer_callback=buffers.append))
    for buffer in buffers:
        digest.update(buffer.raw())
    return digest.hexdigest()


def _unpack(own: dict) -> ModelBundle | Ensemble:
    if "members" in own:
        return Ensemble(**(own | {"members": [packed.model for packed in own["members"]]}))
    others = {key: value for key, value in own.items() if key not in ("weights", "input_shape")}
    network = build_in_single_precision(
        own["architecture"], own["input_shape"], len(own["classes"])
    )
    network.set_weights(own["weights"])
    return ModelBundle(network=network, **others)
