"""Every folder below a mount, each once. Standard library only: it is needed before anything is installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def walk(root: Path) -> Iterator[tuple[Path, frozenset[str]]]:
    """Every folder below `root` with the names of its files, each real folder once, whatever links lead to it."""
    seen: set[str] = set()
    for path, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        real = os.path.realpath(path)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield Path(path), frozenset(files)
