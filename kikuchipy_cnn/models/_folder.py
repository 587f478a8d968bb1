# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders of models on disk, with checksums, written at once or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

BUNDLE_FORMAT = 2
JSON, CARD = "bundle.json", "card.md"


class BundleError(ValueError):
    """A model bundle is missing, incomplete, altered or of an unknown format.

    Examples
    --------
    >>> from kikuchipy_cnn.models import BundleError, load_bundle
    >>> try:
    ...     load_bundle("no_such_folder")
    ... except BundleError as error:
    ...     print(error)
    no_such_folder is no model bundle: bundle.json cannot be read (...).
    """


def with_description(description: Mapping, contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Add the description of a bundle to its other files.

    Parameters
    ----------
    description
        What the model is, ready for JSON.
    contents
        Other files by name.

    Returns
    -------
    contents
        All files by name. The description holds the format and the SHA-256 of all.
    """
    sums = {file: _sha256(content) for file, content in contents.items()}
    description = {"format": BUNDLE_FORMAT, **description, "sha256": sums}
    description["sha256"][JSON] = _sha256_of_description(description)
    return {**contents, JSON: (json.dumps(description, indent=2) + "\n").encode()}


def write_folder(
    folder: str | os.PathLike, contents: Mapping[str, bytes], overwrite: bool = False
) -> Path:
    """Write the files of a bundle to a folder.

    Parameters
    ----------
    folder
        Folder to make.
    contents
        Files by name, which may begin with that of a folder.
    overwrite
        Whether to replace a bundle of this name.

    Returns
    -------
    folder
        Where the bundle lies.

    Raises
    ------
    FileExistsError
        If the folder exists and is not to be replaced, or is something else than a bundle.
    """
    folder = Path(folder)
    check_bundle_folder(folder, overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    old = temporary.with_name(f"{temporary.name}.old")
    try:
        for file, content in contents.items():
            (temporary / file).parent.mkdir(exist_ok=True)
            (temporary / file).write_bytes(content)
        temporary.chmod(0o755)
        if folder.exists():
            # The old bundle goes only when the new one is in its place.
            folder.rename(old)
        try:
            temporary.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def check_bundle_folder(folder: str | os.PathLike, overwrite: bool) -> None:
    """Raise FileExistsError if a bundle may not be saved to a folder.

    Parameters
    ----------
    folder
        Folder to make.
    overwrite
        Whether to replace a bundle of this name.
    """
    folder = Path(folder)
    if folder.exists() and not (overwrite and (folder / JSON).is_file()):
        raise FileExistsError(
            f"{folder} exists. Give another name, or overwrite=True if it is a model bundle."
        )


def read_description(folder: str | os.PathLike, sha256: str | None = None) -> dict:
    """Read what a bundle says of itself, without its weights.

    Parameters
    ----------
    folder
        Folder of a saved model.
    sha256
        Expected SHA-256 of its ``bundle.json``.

    Returns
    -------
    description
        Content of ``bundle.json``.

    Raises
    ------
    BundleError
        If there is no such file, or it is not as expected.
    """
    path = Path(folder) / JSON
    return parse_description(_read(path), path, sha256)


def parse_description(content: bytes, path: Path, sha256: str | None = None) -> dict:
    """Check what a bundle says of itself.

    Parameters
    ----------
    content
        Content of its ``bundle.json``.
    path
        Where that is.
    sha256
        Expected SHA-256 of it.

    Returns
    -------
    description
        Content as Python's own types.

    Raises
    ------
    BundleError
        If it is not as expected.
    """
    if sha256 is not None and _sha256(content) != sha256:
        raise BundleError(
            f"{path} was altered: its SHA-256 is {_sha256(content)}, not {sha256}. Install the "
            "package again."
        )
    try:
        description = json.loads(content)
        found = description["format"]
        complete = isinstance(description["sha256"], dict)
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} does not describe a model bundle: {error!r}.") from error
    if complete and description["sha256"].get(JSON) != _sha256_of_description(description):
        raise BundleError(f"{path} is not the file that was saved. Fetch the model again.")
    if found != BUNDLE_FORMAT or not complete:
        raise BundleError(
            f"{path} has bundle format {found!r}; this version of kikuchipy_cnn reads format "
            f"{BUNDLE_FORMAT}."
        )
    return description


def read_parts(folder: str | os.PathLike, description: Mapping) -> dict[str, bytes]:
    """Read the other files of a bundle.

    Parameters
    ----------
    folder
        Folder of a saved model.
    description
        Content of its ``bundle.json``.

    Returns
    -------
    contents
        Files by name.

    Raises
    ------
    BundleError
        If one is missing or was altered.
    """
    contents = {}
    for file, expected in description["sha256"].items():
        if file == JSON:
            continue
        if ".." in Path(file).parts or Path(file).is_absolute():
            raise BundleError(f"{file} of {folder} lies elsewhere. Fetch the model again.")
        contents[file] = _read(Path(folder) / file)
        found = _sha256(contents[file])
        if found != expected:
            raise BundleError(
                f"{Path(folder) / file} is not the file that was saved: its SHA-256 is {found}, "
                f"not {expected}. Fetch the model again."
            )
    return contents


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path.parent} is no model bundle: {path.name} cannot be read ({error.strerror})."
        ) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sha256_of_description(description: Mapping) -> str:
    """Sum over all of a description but the sum itself."""
    sums = {file: value for file, value in description["sha256"].items() if file != JSON}
    return _sha256(json.dumps({**description, "sha256": sums}, sort_keys=True).encode())
