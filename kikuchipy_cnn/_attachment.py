# SPDX-License-Identifier: GPL-3.0-or-later

"""The method on kikuchipy's EBSD signals, added when these are imported, which takes seconds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

# HyperSpy imports this module by name, not kikuchipy's package of signals.
_MODULE = "kikuchipy.signals.ebsd"


def attach_when_imported() -> None:
    """Add the method to kikuchipy's EBSD now if it is there, or else when it is imported."""
    if _MODULE in sys.modules:
        # Not the module that is there, which another thread may not have finished.
        from kikuchipy.signals.ebsd import EBSD

        attach(EBSD)
    elif _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def attach(signal: type) -> None:
    """Add the method to a class of signals, which lazy and sliced ones inherit from.

    Parameters
    ----------
    signal
        kikuchipy's EBSD. A method of the same name that it has is left.
    """
    from kikuchipy_cnn.signal import classify_space_group

    if not hasattr(signal, "classify_space_group"):
        signal.classify_space_group = classify_space_group


class _Finder:
    """Lets the other finders find the module of EBSD, and passes over all other modules."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _MODULE:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader:
    """Lets another loader load the module of EBSD, and adds the method.

    Parameters
    ----------
    loader
        The other loader, which also answers what is asked of a module that is not to be loaded.
    """

    def __init__(self, loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str):
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        attach(module.EBSD)
        # A new list, as another thread may be going through the old one and would miss a finder.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not _FINDER]


_FINDER = _Finder()
