"""The public API is documented, and the examples in docstrings do what they say."""

import doctest
import functools
import importlib
import inspect
import pkgutil
from enum import Enum
from types import FunctionType

import pytest
from matplotlib import pyplot as plt
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import Validator, validate

import kikuchipy_cnn

# What takes ten seconds or more on two busy cores.
SLOW = {
    "kikuchipy_cnn.evaluation.shots.shots_curve",
    "kikuchipy_cnn.explanation.sanity.randomisation_test",
}
# Of numpydoc: sections that it knows (GL06), in its order (GL07); a docstring (GL08) with a summary
# (SS01) that is a sentence (SS02, SS03); parameters as in the signature and in its order (PR01 to
# PR03); results (RT01, YD01); and what is said of both (PR07 to PR10, RT03 to RT05).
CHECKS = {
    *("GL06", "GL07", "GL08", "SS01", "SS02", "SS03"),
    *("PR01", "PR02", "PR03", "PR07", "PR08", "PR09", "PR10"),
    *("RT01", "RT03", "RT04", "RT05", "YD01"),
}
MEMBERS = (FunctionType, classmethod, staticmethod, property, functools.cached_property)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def public_names():
    """Functions and classes by the name that they are imported by, each once."""
    of_package = {name: getattr(kikuchipy_cnn, name) for name in kikuchipy_cnn.__all__}
    names = {}
    for module in (kikuchipy_cnn, *filter(inspect.ismodule, of_package.values())):
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing):
                names.setdefault(thing, f"{module.__name__}.{name}")
    return {name: thing for thing, name in names.items()}


def public_members(cls):
    """Methods and properties of a class by name, those of other packages' classes left out."""
    members = {}
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] == "kikuchipy_cnn":
            for name, member in vars(base).items():
                if isinstance(member, MEMBERS) and (name == "__call__" or name[0] != "_"):
                    members.setdefault(name, getattr(member, "__func__", member))
    return members


PUBLIC = public_names()
PUBLIC_MEMBERS = {
    f"{name}.{member}": function
    for name, thing in PUBLIC.items()
    if inspect.isclass(thing)
    for member, function in public_members(thing).items()
}


def examples():
    """Docstrings with examples, of all modules, none of which lends its names to them."""
    finder = doctest.DocTestFinder()
    for module in pkgutil.walk_packages(kikuchipy_cnn.__path__, "kikuchipy_cnn."):
        for test in finder.find(importlib.import_module(module.name), module.name, globs={}):
            if test.examples:
                yield test


EXAMPLES = {test.name: test for test in examples()}


class DocumentedParameters(Validator):
    """Docstring of which parameters are expected that users pass themselves."""

    def __init__(self, obj_name):
        super().__init__(get_doc_object(obj_name))

    @property
    def signature_parameters(self):
        if inspect.isclass(self.obj) and issubclass(self.obj, Enum | Exception):
            return ()
        return tuple(name for name in super().signature_parameters if name[0] != "_")


def mistakes(thing, checks):
    errors = validate(inspect.unwrap(thing), DocumentedParameters)["errors"]
    return [f"{code}: {text}" for code, text in errors if code in checks]


def test_all_of_the_package_is_looked_at():
    assert {
        "kikuchipy_cnn.classify_space_group",
        "kikuchipy_cnn.io.save",
        "kikuchipy_cnn.training.FewShotTrainer",
        "kikuchipy_cnn.watching.PatternStream",
    } <= set(PUBLIC)
    assert {
        "kikuchipy_cnn.SpaceGroupClasses.index",
        "kikuchipy_cnn.SpaceGroupClasses.hermann_mauguin",
        "kikuchipy_cnn.PatternTransform.from_dict",
        "kikuchipy_cnn.PatternTransform.__call__",
        "kikuchipy_cnn.evaluation.Evaluation.true",
    } <= set(PUBLIC_MEMBERS)
    assert {
        *SLOW,
        "kikuchipy_cnn.signal.classify_space_group",
        "kikuchipy_cnn.space_groups.SpaceGroupClasses.sum_by_centring",
    } <= set(EXAMPLES)


def test_mistakes_are_found():
    def undocumented(first):
        return first

    def half_documented(first, second):
        """return something

        Parameters
        ----------
        first
            Number
        """
        return first + second

    assert [i[:4] for i in mistakes(undocumented, CHECKS)] == ["GL08"]
    assert {i[:4] for i in mistakes(half_documented, CHECKS | {"EX01"})} == {
        *("SS02", "SS03", "PR01", "PR09", "RT01", "EX01")
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_functions_and_classes(name):
    assert mistakes(PUBLIC[name], CHECKS | {"EX01"}) == []
    assert doctest.DocTestParser().get_examples(PUBLIC[name].__doc__)


@pytest.mark.parametrize("name", PUBLIC_MEMBERS)
def test_methods_and_properties(name):
    assert mistakes(PUBLIC_MEMBERS[name], CHECKS) == []


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    """Empty folder that examples write to, and figures that nobody sees."""
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("Agg")
    yield tmp_path
    plt.close("all")


@pytest.mark.filterwarnings("error::UserWarning:__main__")
@pytest.mark.parametrize(
    "name",
    [pytest.param(i, marks=pytest.mark.slow if i in SLOW else ()) for i in EXAMPLES],
)
def test_examples(name, working_folder):
    test, output = EXAMPLES[name], []
    results = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=output.append)
    assert results.failed == 0, "".join(output)
    # None is left out by "doctest: +SKIP".
    assert results.attempted == len(test.examples)
