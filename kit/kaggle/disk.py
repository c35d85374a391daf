"""Room on the disk, asked before it is filled. Standard library only: it is needed before anything is installed."""

from __future__ import annotations

import shutil
from pathlib import Path

from kit.errors import StorageError

_SPARE_BYTES = 64 << 20  # left free by whoever writes at all


def free_bytes(path: Path) -> int:
    """Of the disk that `path` is on, or will be."""
    existing = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    return shutil.disk_usage(existing).free


def check_space(path: Path, needed_bytes: int, *, fix: str) -> None:
    """Refuse to begin what would fill the disk.

    Raises: StorageError.
    """
    free = free_bytes(path)
    if needed_bytes and needed_bytes + _SPARE_BYTES > free:
        raise StorageError(f"{path}: {needed_bytes:,} bytes to write, {free:,} are free; {fix}")
