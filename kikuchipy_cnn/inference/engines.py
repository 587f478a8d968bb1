# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs a network for prediction, and in which precision.

The routes of a CPU were chosen by measurement, see ``benchmarks/speed.py``.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from dask.system import CPU_COUNT

from kikuchipy_cnn.models.devices import find_device
from kikuchipy_cnn.models.folding import (
    in_half_precision,
    with_features,
    with_folded_normalisation,
)

if TYPE_CHECKING:
    import keras

ENGINES = ("auto", "openvino", "keras")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
# Compiled networks that are kept for the next call; those of an ensemble count one by one.
_N_KEPT = 8
# OpenVINO's names.
_SHORT_NAMES = {"float32": "f32", "bfloat16": "bf16"}

Forward = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Engine:
    """A network, compiled.

    Parameters
    ----------
    forward
        Function from images of shape (n, size, size, channels) and data type float32 to what the
        last layer sees, of shape (n, features), and what it makes of that, of shape (n, classes).
    name
        What runs it and where, for people.
    precision
        ``"float32"``, ``"bfloat16"`` or ``"float16"``.
    concurrency
        How many calls at once pay. Each is of one thread if there are several.
    on_accelerator
        Whether it runs on something else than the CPU.
    """

    forward: Forward
    name: str
    precision: str
    concurrency: int = 1
    on_accelerator: bool = False

    def __str__(self) -> str:
        return f"{self.name}, {self.precision}"


def check_engine(engine: str, precision: str) -> None:
    """Raise ValueError unless there is such an engine and precision, and ImportError unless it is
    installed.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r} is none of {', '.join(map(repr, ENGINES))}.")
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} is none of {', '.join(map(repr, PRECISIONS))}.")
    if engine == "openvino":
        if find_spec("openvino") is None:
            raise ImportError(
                "engine='openvino' needs OpenVINO: pip install 'kikuchipy-cnn[fast]'."
            )
        if precision == "float16":
            raise ValueError(
                "precision='float16' is for graphics processors. OpenVINO takes 'bfloat16' or "
                "'float32'."
            )


def compiled(
    network: keras.Model, engine: str = "auto", precision: str = "auto", threads: int | None = None
) -> Engine:
    """Compile a network, or take what was compiled of the same before.

    Parameters
    ----------
    network
        Keras model from images to logits, of single precision.
    engine
        ``"openvino"``, ``"keras"`` or ``"auto"``, which is OpenVINO on the CPU, if it is installed
        and Keras' backend is TensorFlow, and Keras on anything else.
    precision
        ``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"auto"``, which is the half precision that
        the device has instructions for, if it has any.
    threads
        Number of threads on the CPU. If not given, one for each core there is to use.

    Returns
    -------
    engine
        The compiled network.

    Raises
    ------
    ValueError
        If engine or precision are none of these.
    ImportError
        If the engine is not installed.
    """
    check_engine(engine, precision)
    if engine == "auto":
        engine = "openvino" if precision != "float16" and _is_openvino_best() else "keras"
    make = _openvino_engine if engine == "openvino" else _keras_engine
    key = (_digest(network), engine, precision, threads)
    with _lock:
        if key not in _kept:
            _kept[key] = make(network, precision, threads)
            while len(_kept) > _N_KEPT:
                _kept.popitem(last=False)
        _kept.move_to_end(key)
        return _kept[key]


_lock = threading.Lock()
_kept: OrderedDict[tuple, Engine] = OrderedDict()


def _digest(network: keras.Model) -> bytes:
    """What tells networks apart: their weights may change between two calls."""
    import keras

    makers = {id(layer.output): i for i, layer in enumerate(network.layers)}
    structure = []
    for layer in network.layers:
        # Layers without a name of their own are numbered on and on.
        config = {key: value for key, value in layer.get_config().items() if key != "name"}
        inputs = [makers.get(id(tensor)) for tensor in keras.tree.flatten(layer.input)]
        structure.append((type(layer).__name__, config, inputs))
    digest = hashlib.sha256(json.dumps(structure, sort_keys=True, default=str).encode())
    for weight in network.get_weights():
        digest.update(np.ascontiguousarray(weight).data)
    return digest.digest()


def _is_openvino_best() -> bool:
    import keras

    return (
        keras.backend.backend() == "tensorflow"
        and find_spec("openvino") is not None
        and not find_device().is_accelerator
    )


def _openvino_engine(network: keras.Model, precision: str, threads: int | None) -> Engine:
    import keras
    import openvino

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"engine='openvino' needs KERAS_BACKEND=tensorflow, not {keras.backend.backend()!r}."
        )
    core = openvino.Core()
    threads = threads or CPU_COUNT
    if precision == "auto":
        abilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = "bfloat16" if "BF16" in abilities else "float32"
    compiled_model = core.compile_model(
        _openvino_model(network, core),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": _SHORT_NAMES[precision],
            # Batches side by side leave each other no gaps, which threads of one batch do.
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            # Preprocessing runs beside it; threads bound to a core would wait for it there.
            "ENABLE_CPU_PINNING": False,
        },
    )
    own = threading.local()

    def forward(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not hasattr(own, "request"):
            own.request = compiled_model.create_infer_request()
        results = own.request.infer({0: images}, share_inputs=True)
        return results[0], results[1]

    # OpenVINO's bindings hang if two threads are the first to use them (2026.4).
    forward(np.zeros((1, *network.input_shape[1:]), np.float32))
    version = openvino.__version__.split("-")[0]
    name = f"OpenVINO {version} on the CPU, {threads} thread{'s' if threads > 1 else ''}"
    return Engine(forward, name, precision, concurrency=threads)


def _openvino_model(network: keras.Model, core):
    graph = _constant_function(network).graph.as_graph_def()
    with tempfile.TemporaryDirectory() as folder:
        # OpenVINO's converter for objects in memory reports to its makers; this one does not.
        file = Path(folder) / "network.pb"
        file.write_bytes(graph.SerializeToString())
        return core.read_model(file)


def _keras_engine(network: keras.Model, precision: str, threads: int | None) -> Engine:
    import keras

    device = find_device()
    if precision == "auto":
        precision = device.half_precision or "float32"
    network = with_folded_normalisation(network)
    if precision != "float32":
        network = in_half_precision(network, precision)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        if threads is not None and not device.is_accelerator:
            _limit_tensorflow(threads)
        forward = _tensorflow_forward(network)
    else:
        forward = _other_forward(network)
    where = device.name if device.is_accelerator else "the CPU"
    name = f"Keras with {backend} on {where}"
    return Engine(forward, name, precision, on_accelerator=device.is_accelerator)


def _tensorflow_forward(network: keras.Model) -> Forward:
    import tensorflow as tf

    function = _constant_function(network)

    def forward(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features, logits = function(tf.constant(images))
        return features.numpy(), logits.numpy()

    return forward


def _other_forward(network: keras.Model) -> Forward:
    both = with_features(network)

    def forward(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features, logits = both.predict_on_batch(images)
        return np.asarray(features), np.asarray(logits)

    return forward


def _constant_function(network: keras.Model):
    """TensorFlow's graph of a network whose weights are constants, which can be optimised."""
    import tensorflow as tf

    both = with_features(network)
    trainable = [np.asarray(weight) for weight in both.trainable_variables]
    others = [np.asarray(weight) for weight in both.non_trainable_variables]

    def run(images):
        (features, logits), _ = both.stateless_call(
            [tf.constant(weight) for weight in trainable],
            [tf.constant(weight) for weight in others],
            images,
            training=False,
        )
        return tf.identity(features), tf.identity(logits)

    shape = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)
    return tf.function(run, autograph=False).get_concrete_function(shape)


def _limit_tensorflow(threads: int) -> None:
    import tensorflow as tf

    # Once TensorFlow has run it keeps the threads that it has.
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        return
