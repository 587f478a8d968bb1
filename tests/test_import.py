"""What is imported when, and how the method gets to kikuchipy's signals.

Most tests have a process of their own, as in this one everything is imported.
"""

import os
import subprocess
import sys

import pytest

import kikuchipy_cnn
from kikuchipy_cnn import simulation
from kikuchipy_cnn.cli import main
from kikuchipy_cnn.training import IterativeSettings
from kikuchipy_cnn.training.labelled import LEVELS
from kikuchipy_cnn.training.protocol import PRECISIONS, SCHEDULES, STATISTICS, TRAINABLE
from kikuchipy_cnn.training.splits import CLAIMS

HEAVY = (
    *("dask", "diffsims", "h5py", "hyperspy", "keras", "kikuchipy", "matplotlib", "numba"),
    *("numpy", "orix", "scipy", "shap", "sklearn", "skimage", "tensorflow", "tqdm"),
)
COMMANDS = (
    *("", "classify", "models", "demo", "export", "compare", "explain", "simulate"),
    *("simulate phases", "simulate master-patterns", "simulate patterns"),
    *("train", "evaluate", "adapt", "watch"),
)


def output_of(*lines):
    """What a new process prints that runs lines of code."""
    process = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_package_imports_nothing_heavy():
    loaded = output_of("import sys, kikuchipy_cnn", "print(*sys.modules)").split()
    assert "kikuchipy_cnn" in loaded
    assert not {*HEAVY, "kikuchipy_cnn.signal"}.intersection(loaded)


def test_help_imports_nothing_heavy():
    loaded = output_of(
        "import contextlib, io, sys",
        "from kikuchipy_cnn.cli import main",
        f"for command in {COMMANDS}:",
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):",
        "        main([*command.split(), '--help'])",
        "print(*sys.modules)",
    ).split()
    assert "kikuchipy_cnn._adapt_command" in loaded
    assert not {*HEAVY, "kikuchipy_cnn.training"}.intersection(loaded)


def test_help_says_what_the_package_knows(capsys):
    def help_of(command):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        return " ".join(capsys.readouterr().out.split())

    train = help_of("train")
    choices = {
        "level": LEVELS,
        "split-by": CLAIMS,
        "schedule": SCHEDULES,
        "trainable": TRAINABLE,
        "statistics": STATISTICS,
        "precision": PRECISIONS,
    }
    for option, known in choices.items():
        assert f"--{option} {{{','.join(known)}}}" in train
    settings = IterativeSettings()
    adapt = help_of("adapt")
    assert f"most rounds; default is {settings.max_rounds} " in adapt
    assert f"of a self-label; default is {settings.confidence} " in adapt
    assert f"that are used; default is {settings.n_patterns} " in adapt


@pytest.mark.parametrize("package", [kikuchipy_cnn, simulation])
def test_all_names_are_there(package):
    assert dir(package) == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def test_attached_when_signals_are_imported():
    # Patterns are loaded in this way: HyperSpy imports the module by its name.
    out = output_of(
        "import sys, kikuchipy_cnn",
        "import kikuchipy.signals.ebsd as ebsd",
        "print({'keras', 'tensorflow', 'sklearn'}.isdisjoint(sys.modules))",
        "method = kikuchipy_cnn.classify_space_group",
        "print(ebsd.LazyEBSD.classify_space_group is method is ebsd.EBSD.classify_space_group)",
        "print(not any('kikuchipy_cnn' in repr(finder) for finder in sys.meta_path))",
    )
    assert out.split() == ["True"] * 3


def test_attached_to_imported_signals():
    out = output_of(
        "from kikuchipy.signals import EBSD",
        "import sys",
        "finders = list(sys.meta_path)",
        "import kikuchipy_cnn",
        "print(EBSD.classify_space_group is kikuchipy_cnn.classify_space_group)",
        "print(sys.meta_path == finders)",
    )
    assert out.split() == ["True"] * 2


def test_method_does_not_import_signals():
    # It is imported at the end of their import, whose module is not complete before that.
    loaded = output_of("import sys, kikuchipy_cnn.signal", "print(*sys.modules)").split()
    assert "kikuchipy.signals.ebsd" not in loaded


class TestHook:
    """With a kikuchipy that is quick to import."""

    PREPARE = (
        "import importlib.util, inspect, sys, types",
        "finders = list(sys.meta_path)",
        "import kikuchipy_cnn",
        "method = types.SimpleNamespace(classify_space_group='method')",
        "sys.modules['kikuchipy_cnn.signal'] = method",
    )

    @pytest.fixture
    def signals(self, tmp_path, monkeypatch):
        folder = tmp_path / "kikuchipy" / "signals"
        folder.mkdir(parents=True)
        for package in (folder, folder.parent):
            (package / "__init__.py").touch()
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        return folder / "ebsd.py"

    def test_leaves_no_trace(self, signals):
        signals.write_text("class EBSD: pass\n")
        out = output_of(
            *self.PREPARE,
            "name = 'kikuchipy.signals.ebsd'",
            "print(importlib.util.find_spec(name).loader.get_filename(name))",
            "print(len(sys.meta_path) - len(finders))",
            "import kikuchipy.signals.ebsd as ebsd",
            "print(ebsd.EBSD.classify_space_group, sys.meta_path == finders)",
            "print(type(ebsd.__loader__).__name__, ebsd.__loader__ is ebsd.__spec__.loader)",
            "print(inspect.getsource(ebsd))",
        ).splitlines()
        assert out[0] == str(signals)
        assert out[1:] == [
            *("1", "method True", "SourceFileLoader True"),
            *("class EBSD: pass", ""),
        ]

    @pytest.mark.parametrize("prepare", [(), PREPARE])
    def test_failing_import_is_reported(self, signals, prepare):
        signals.write_text("import sys, no_such_module\nclass EBSD: pass\n")
        out = output_of(
            *prepare,
            "import sys, types",
            "try:",
            "    import kikuchipy.signals.ebsd",
            "except ImportError as error:",
            "    print(type(error).__name__, error, error.__cause__, error.__context__)",
            "sys.modules['no_such_module'] = types",
            "from kikuchipy.signals.ebsd import EBSD",
            "print(hasattr(EBSD, 'classify_space_group'))",
        ).splitlines()
        assert out == [
            "ModuleNotFoundError No module named 'no_such_module' None None",
            str(bool(prepare)),
        ]
