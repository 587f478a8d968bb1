"""The packaged models, by name."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from kikuchipy_cnn.models._folder import read_description
from kikuchipy_cnn.models.bundle import ModelBundle
from kikuchipy_cnn.models.ensemble import Ensemble, joined, load_bundle

_PACKAGED = Path(str(files("kikuchipy_cnn.models"))) / "packaged"


@lru_cache
def _checksums() -> dict[str, str]:
    """SHA-256 of the description of each packaged model."""
    return json.loads((_PACKAGED / "sha256.json").read_text())


def list_models() -> list[str]:
    """List the packaged models.

    Returns
    -------
    names
        What :func:`load_model` takes.
    """
    return sorted(_checksums())


def describe_model(name: str | os.PathLike) -> dict:
    """Describe a model without loading its weights.

    Parameters
    ----------
    name
        Name of a packaged model, or path of a bundle.

    Returns
    -------
    description
        Architecture, space groups, preprocessing and training of the model.

    Raises
    ------
    ValueError
        If there is no such model.
    """
    return read_description(*_locate(name))


def load_model(name: str | os.PathLike = "xception_fewshot") -> ModelBundle | Ensemble:
    """Load a model.

    Parameters
    ----------
    name
        Name of a packaged model, see :func:`list_models`, or path of a bundle.

    Returns
    -------
    model
        The model, or an ensemble of several. Nothing of it is run while it is loaded.

    Raises
    ------
    ValueError
        If there is no such model. The message lists those there are.
    BundleError
        If a bundle is incomplete or was altered.
    """
    return load_bundle(*_locate(name))


def as_model(
    model: str
    | os.PathLike
    | ModelBundle
    | Ensemble
    | Sequence[str | os.PathLike | ModelBundle | Ensemble],
) -> ModelBundle | Ensemble:
    """Load what is not loaded yet.

    Parameters
    ----------
    model
        Name, path or model, or several of these, which become an ensemble.

    Returns
    -------
    model
        Model or ensemble.

    Raises
    ------
    ValueError
        If there is no such model, or several do not fit together.
    """
    if isinstance(model, ModelBundle | Ensemble):
        return model
    if isinstance(model, str | os.PathLike):
        return load_model(model)
    return joined([as_model(one) for one in model])


def _locate(name: str | os.PathLike) -> tuple[Path, str | None]:
    if isinstance(name, str) and name in _checksums():
        return _PACKAGED / name, _checksums()[name]
    if not Path(name).exists():
        raise ValueError(
            f"There is no model {os.fspath(name)!r}. Packaged models: {', '.join(list_models())}. "
            "The path of a model bundle works too."
        )
    return Path(name), None
