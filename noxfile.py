"""Checks in clean environments: ``nox -s tests-3.12``, ``nox -s wheel`` and so on."""

import os
import shutil
import tempfile
from pathlib import Path

import nox
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = nox.project.load_toml("pyproject.toml")["project"]
PYTHONS = ["3.11", "3.12", "3.13"]
# What the package index takes of a file, in bytes.
LARGEST_FILE = 100e6

nox.needs_version = ">=2024.3.2"
nox.options.sessions = ["lint", "tests", "wheel"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests."""
    session.install(".[tests]")
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """Run the tests with the oldest versions that are allowed.

    The lower bounds in pyproject.toml become pins: "keras >= 3.10" is the newest 3.10.*, and
    "numpy >= 2" the newest 2.0.*. What has no lower bound is as new as the others allow.
    """
    extras = PROJECT["optional-dependencies"]["tests"]
    pins = Path(session.create_tmp(), "oldest.txt").resolve()
    pins.write_text("\n".join(pinned(PROJECT["dependencies"] + extras)) + "\n")
    session.log(f"Pins: {', '.join(pins.read_text().split())}")
    session.install(".[tests]", "--constraint", str(pins))
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install("ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the public names in what users write, tests/typed_use.py."""
    session.install(".", "mypy")
    session.run("mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site; ``nox -s docs -- -D plot_gallery=0`` does not run the examples."""
    session.install(".[docs]")
    site = "docs/_build/html"
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", *session.posargs, "docs", site)
    session.run("python", "docs/check_links.py", site)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build both distributions into dist/, and try the wheel alone, away from the checkout."""
    session.install("build", "twine")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    files = sorted(Path("dist").resolve().iterdir())
    session.run("twine", "check", "--strict", *map(str, files))
    for file in files:
        size = file.stat().st_size
        session.log(f"{file.name}: {size / 1e6:.1f} MB")
        if size > LARGEST_FILE:
            session.error(f"{file.name} is larger than {LARGEST_FILE / 1e6:.0f} MB.")
    (built,) = (file for file in files if file.suffix == ".whl")
    with tempfile.TemporaryDirectory() as folder:
        # The session's own environment has what builds; this one has the wheel and its needs only.
        session.run("python", "-m", "venv", folder)
        programs = Path(folder, "Scripts" if os.name == "nt" else "bin")
        pip = (str(programs / "python"), "-m", "pip")
        session.run(*pip, "install", "--quiet", str(built), external=True)
        session.run(*pip, "check", external=True)
        command = str(programs / "kikuchipy-cnn")
        with session.chdir(folder):
            session.run(command, "models", external=True)
            session.run(command, "demo", "--no-progress", external=True)


def pinned(requirements: list[str]) -> list[str]:
    """Pins to the lower bounds of those requirements that have one."""
    pins = set()
    for requirement in map(Requirement, requirements):
        for specifier in requirement.specifier:
            if specifier.operator == ">=":
                major, *others = Version(specifier.version).release
                release = ".".join(map(str, (major, *(others or [0]))))
                pins.add(f"{requirement.name}=={release}.*")
    return sorted(pins)
