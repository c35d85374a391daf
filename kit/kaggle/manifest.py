"""What a bundled dataset holds: each file's original path, its flat name, its size and SHA-256.

The manifest is also the marker by which a mounted dataset is found (mount paths changed during 2026).
Kaggle strips `+`, `~` and `=` from file names and drops folders, so the flat names avoid all of them and
`startup` restores the original paths. Source: field notes kaggle.md 3 and 4.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kit.errors import InputError, MissingError

MANIFEST_NAME = "kit-manifest.json"
FORMAT = 1
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One file. path: where it belongs, relative, with `/`. file: its name in the flat dataset."""

    path: str
    file: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All files of a dataset, sorted by path, and what made it."""

    kit_version: str
    commit: str
    entries: tuple[Entry, ...]

    def save(self, folder: Path) -> None:
        """Write the manifest into `folder`; the same content always gives the same bytes."""
        content = {"format": FORMAT, **asdict(self)}
        text = json.dumps(content, indent=1, sort_keys=True) + "\n"
        (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")


def load_manifest(folder: Path) -> Manifest:
    """The manifest of the dataset in `folder`.

    Raises: MissingError if there is none; InputError if it is not one of this kit's, or names a file
    outside the dataset.
    """
    path = folder / MANIFEST_NAME
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise MissingError(f"{path}: not found; build the dataset with `python build_dataset.py`") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); build the dataset again") from None
    return _parse(path, content)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal, read in chunks so that memory stays flat."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _parse(path: Path, content: Mapping[str, Any]) -> Manifest:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: not a manifest of format {FORMAT}; build the dataset with this kit's version")
    try:
        entries = tuple(Entry(**entry) for entry in content["entries"])
        manifest = Manifest(kit_version=content["kit_version"], commit=content["commit"], entries=entries)
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: incomplete ({error}); build the dataset again") from None
    for entry in entries:
        parts = PurePosixPath(entry.path).parts
        if PurePosixPath(entry.path).is_absolute() or ".." in parts or PurePosixPath(entry.file).name != entry.file:
            raise InputError(f"{path}: {entry.path!r} leads out of the dataset; do not use this dataset")
    return manifest
