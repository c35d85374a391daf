"""From the mounted, flat, read-only dataset back to the files under their own names, in scratch space.

Files are linked, not copied. Sizes are always checked; hashes up to 64 MiB a file, because hashing tens
of gigabytes of weights would cost minutes of the contest's time.
"""

from __future__ import annotations

from pathlib import Path

from kit.errors import InputError, MissingError, cannot_write
from kit.kaggle.manifest import Entry, load_manifest, sha256_of

MAX_HASHED_BYTES = 64 << 20
MODEL_FOLDER = "model"
TRM_FOLDER = "trm"


def restore(dataset: Path, into: Path) -> Path:
    """Link every file of `dataset` to its original path below `into`; returns `into`.

    Raises: MissingError or InputError naming the first file that is missing, cut short or altered;
    StorageError if `into` cannot be written.
    """
    for entry in load_manifest(dataset).entries:
        source = dataset / entry.file
        _check(source, entry)
        _link(source, into / entry.path)
    return into


def _check(source: Path, entry: Entry) -> None:
    mend = "build and upload the dataset again"
    if not source.is_file():
        raise MissingError(f"{source}: missing from the dataset (holds {entry.path}); {mend}")
    size_bytes = source.stat().st_size
    if size_bytes != entry.size_bytes:
        raise InputError(f"{source}: {size_bytes} bytes, the manifest says {entry.size_bytes}; {mend}")
    if size_bytes <= MAX_HASHED_BYTES and sha256_of(source) != entry.sha256:
        raise InputError(f"{source}: its SHA-256 is not the manifest's; {mend}")


def _link(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(source.resolve())
    except OSError as error:
        raise cannot_write(target, error) from error
