# SPDX-License-Identifier: GPL-3.0-or-later

"""The packaged models, by name."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

from kikuchipy_cnn.models._folder import read_description
from kikuchipy_cnn.models.bundle import ModelBundle
from kikuchipy_cnn.models.ensemble import Ensemble, joined, load_bundle

# What a user may give for a model: name, path or the model itself.
ModelLike: TypeAlias = str | os.PathLike | ModelBundle | Ensemble

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

    Examples
    --------
    >>> import kikuchipy_cnn
    >>> kikuchipy_cnn.list_models()
    ['ensemble_fewshot', 'fast_fewshot', 'fast_fewshot_ten',
    'xception_fewshot']
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

    Examples
    --------
    >>> import kikuchipy_cnn
    >>> description = kikuchipy_cnn.describe_model("fast_fewshot")
    >>> description["architecture"]
    'xception_narrow'
    >>> description["space_groups"]
    [221, 223, 225, 227, 229, 230]
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

    Examples
    --------
    >>> import kikuchipy_cnn
    >>> kikuchipy_cnn.load_model("fast_fewshot")
    ModelBundle('fast_fewshot', xception_narrow, 71 x 71 pixels, 6 space
    groups: Pm-3m, Pm-3n, Fm-3m, Fd-3m, Im-3m, Ia-3d)
    """
    return load_bundle(*_locate(name))


def as_model(model: ModelLike | Sequence[ModelLike]) -> ModelBundle | Ensemble:
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

    Examples
    --------
    >>> from kikuchipy_cnn.models import as_model
    >>> model = as_model("fast_fewshot")
    >>> as_model(model) is model
    True
    >>> as_model([model, model])
    Ensemble('fast_fewshot + fast_fewshot', 2 members: fast_fewshot,
    fast_fewshot)
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
