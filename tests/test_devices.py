"""Devices that are told from each other without being there."""

import sys
from types import SimpleNamespace

import keras
import pytest
from llvmlite import binding

from kikuchipy_cnn.models import devices
from kikuchipy_cnn.models.devices import Device, find_cpu, find_device


@pytest.fixture
def cpu(monkeypatch):
    cpu = Device("CPU", "bfloat16")
    monkeypatch.setattr(devices, "find_cpu", lambda: cpu)
    return cpu


@pytest.fixture
def backend(monkeypatch):
    """Function that puts a module in the place of a backend."""

    def backend(name, module):
        monkeypatch.setattr(keras.backend, "backend", lambda: name)
        monkeypatch.setitem(sys.modules, name, module)

    return backend


def tensorflow(*found):
    """Graphics processors are given as their details."""
    return SimpleNamespace(
        config=SimpleNamespace(
            list_physical_devices=lambda kind: list(found) if kind == "GPU" else ["CPU:0"],
            experimental=SimpleNamespace(get_device_details=lambda device: device),
        )
    )


def torch(capability):
    cuda = SimpleNamespace(
        is_available=lambda: capability is not None,
        get_device_name=lambda: "NVIDIA of torch",
        get_device_capability=lambda: capability,
    )
    return SimpleNamespace(cuda=cuda)


def jax(**device):
    return SimpleNamespace(devices=lambda: [SimpleNamespace(**device)])


class TestAccelerators:
    @pytest.mark.parametrize(
        ("capability", "precision"),
        [((7, 5), "float16"), ((8, 0), "bfloat16"), ((8, 9), "bfloat16"), ((10, 0), "bfloat16")],
    )
    def test_precision(self, backend, capability, precision):
        expected = (precision, True)
        backend(
            "tensorflow",
            tensorflow(
                {"device_name": "NVIDIA A", "compute_capability": capability},
                {"device_name": "NVIDIA B", "compute_capability": (1, 0)},
            ),
        )
        assert find_device() == Device("NVIDIA A", *expected)
        backend("torch", torch(capability))
        assert find_device() == Device("NVIDIA of torch", *expected)
        text = ".".join(map(str, capability))
        backend("jax", jax(platform="gpu", device_kind="NVIDIA J", compute_capability=text))
        assert find_device() == Device("NVIDIA J", *expected)

    def test_unknown_capability(self, backend):
        """Such as those of AMD."""
        backend("tensorflow", tensorflow({}))
        assert find_device() == Device("GPU", "float16", True)
        backend("jax", jax(platform="rocm", device_kind="AMD"))
        assert find_device() == Device("AMD", "float16", True)

    def test_none(self, backend, cpu):
        for name, module in (
            ("tensorflow", tensorflow()),
            ("torch", torch(None)),
            ("jax", jax(platform="cpu", device_kind="cpu")),
            ("numpy", SimpleNamespace()),
        ):
            backend(name, module)
            assert find_device() is cpu


class TestCPU:
    @pytest.mark.parametrize(
        ("features", "precision"),
        [
            ({"avx2": True, "avx512f": True}, None),
            ({"avx512bf16": False, "amx-bf16": False}, None),
            ({"avx512bf16": True}, "bfloat16"),
            ({"amx-bf16": True}, "bfloat16"),
            ({"bf16": True}, "bfloat16"),
            ({}, None),
        ],
    )
    def test_instructions(self, monkeypatch, features, precision):
        monkeypatch.setattr(binding, "get_host_cpu_features", lambda: features)
        assert find_cpu() == Device("CPU", precision, is_accelerator=False)

    def test_this_one(self):
        assert find_cpu().half_precision in (None, "bfloat16")
