"""Types of the public names, which mypy takes the users' code by (``tests/typed_use.py``)."""

import inspect
from functools import cached_property
from importlib.resources import files

import pytest

import kikuchipy_cnn

MODULES = [
    module
    for name in kikuchipy_cnn.__all__
    if inspect.ismodule(module := getattr(kikuchipy_cnn, name))
]


def public_functions():
    """Functions, and the methods and properties of classes, by their full names."""
    for module in (kikuchipy_cnn, *MODULES):
        for name in module.__all__:
            thing = getattr(module, name)
            full = f"{module.__name__}.{name}"
            if inspect.isfunction(thing):
                yield full, thing
            elif inspect.isclass(thing):
                yield from methods_of(full, thing)


def methods_of(full, cls):
    for name, thing in vars(cls).items():
        if name.startswith("_") and name != "__init__":
            continue
        thing = thing.__func__ if isinstance(thing, classmethod | staticmethod) else thing
        thing = thing.fget if isinstance(thing, property) else thing
        thing = thing.func if isinstance(thing, cached_property) else thing
        # Dataclasses and named tuples make some of their own.
        if inspect.isfunction(thing) and "<string>" not in thing.__code__.co_filename:
            yield f"{full}.{name}", thing


FUNCTIONS = dict(public_functions())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_is_annotated(name):
    signature = inspect.signature(FUNCTIONS[name])
    missing = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls")
    ]
    if signature.return_annotation is signature.empty:
        missing.append("what is returned")
    assert missing == []


def test_marked_as_typed():
    assert files("kikuchipy_cnn").joinpath("py.typed").is_file()
