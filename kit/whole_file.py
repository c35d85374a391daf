"""A file that is written whole or not at all: what was there stays until the new bytes are in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kit.errors import cannot_write


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Where to write what takes the place of `path` when the block ends; an error leaves nothing of it.

    The folder is the caller's to make, in the block if need be. Whoever needs the bytes to outlive a lost machine syncs
    them within the block.
    Raises: StorageError for an OSError, the block's own included.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise
