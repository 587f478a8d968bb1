# SPDX-License-Identifier: GPL-3.0-or-later

"""What the machine can compute networks on, and in which precision."""

from __future__ import annotations

from dataclasses import dataclass

# Graphics processors from this compute capability of NVIDIA's on compute in bfloat16.
_FIRST_WITH_BFLOAT16 = (8, 0)
_NATIVE_BFLOAT16 = ("amx-bf16", "avx512bf16", "bf16")


@dataclass(frozen=True)
class Device:
    """Where a network runs.

    Parameters
    ----------
    name
        Name for people, such as ``"CPU"``.
    half_precision
        Data type of 16 bits that it computes in faster than in 32 bits: ``"bfloat16"`` or
        ``"float16"``. None if there is none.
    is_accelerator
        Whether it is another one than the CPU.
    """

    name: str
    half_precision: str | None = None
    is_accelerator: bool = False


def find_device() -> Device:
    """Find the device that Keras computes on with the present backend.

    Returns
    -------
    device
        The first accelerator that the backend sees, else the CPU.
    """
    import keras

    find = {"tensorflow": _of_tensorflow, "torch": _of_torch, "jax": _of_jax}
    device = find.get(keras.backend.backend(), lambda: None)()
    return find_cpu() if device is None else device


def find_cpu() -> Device:
    """Describe the CPU.

    Returns
    -------
    device
        The CPU, with bfloat16 if it has instructions for it; emulated, it is slower than 32 bits.
    """
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    native = any(features.get(name, False) for name in _NATIVE_BFLOAT16)
    return Device("CPU", "bfloat16" if native else None)


def _accelerator(name: str, capability: tuple[int, int] | None) -> Device:
    recent = capability is not None and tuple(capability) >= _FIRST_WITH_BFLOAT16
    return Device(name, "bfloat16" if recent else "float16", is_accelerator=True)


def _of_tensorflow() -> Device | None:
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    if not found:
        return None
    details = tf.config.experimental.get_device_details(found[0])
    return _accelerator(details.get("device_name", "GPU"), details.get("compute_capability"))


def _of_torch() -> Device | None:
    import torch

    if not torch.cuda.is_available():
        return None
    return _accelerator(torch.cuda.get_device_name(), torch.cuda.get_device_capability())


def _of_jax() -> Device | None:
    import jax

    device = jax.devices()[0]
    if device.platform == "cpu":
        return None
    capability = getattr(device, "compute_capability", None)
    parts = None if capability is None else tuple(int(part) for part in capability.split("."))
    return _accelerator(device.device_kind, parts)
