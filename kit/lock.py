"""Files that one process at a time may hold; the hold goes with the process, however it ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from kit.errors import StorageError, cannot_write


def hold(file: IO[Any], path: Path) -> None:
    """Hold an open file until it is closed; closes it if another process holds it.

    Raises: StorageError naming `path` in that case.
    """
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise StorageError(f"{path}: another process is using it; wait for it, stop it, or choose another") from None


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder, made if need be, by a file `.lock` in it.

    Raises: StorageError if another process holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise cannot_write(folder, error) from error
    hold(file, folder)
    with file:
        yield
