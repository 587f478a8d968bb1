"""Files that are there complete or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary file to write, and put it in the place of another when it is written.

    Parameters
    ----------
    path
        File to make or to replace.

    Yields
    ------
    temporary
        File with the same suffix, in lower case, in the same folder. After an error it is removed.
    """
    # Replacing a link would leave the file that it points to as it was.
    path = Path(path).resolve()
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix.lower()}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
