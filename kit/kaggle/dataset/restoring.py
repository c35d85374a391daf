"""From the mounted, flat, read-only dataset back to the files under their own names, in scratch space.

Files are linked, not copied; only what lies in an archive that Kaggle left packed is read out. Sizes are always
checked; hashes up to 64 MiB a file, because hashing tens of gigabytes of weights would cost minutes of the
competition's time, and of all that is read out anyway. A model that is attached as a Kaggle Model is linked in the
place of one.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kit.errors import InputError, MissingError, cannot_write
from kit.kaggle.dataset.manifest import Manifest, ModelSource, load_manifest
from kit.kaggle.dataset.mounted import Place, find_model, places
from kit.kaggle.transfer import check_space, partial_of, sha256_of, storing

MAX_HASHED_BYTES = 64 << 20
MODEL_FOLDER = "model"
TRM_FOLDER = "trm"
WHEELS_FOLDER = "wheels"
_BUFFER_BYTES = 1 << 20
_FIX = "build and upload the dataset again"


def restore(dataset: Path, into: Path, *, mounts: Path | None = None, max_hashed_bytes: int = MAX_HASHED_BYTES) -> Path:
    """Put every file of `dataset` at its original path below `into`; returns `into`.

    mounts: where a Kaggle Model is searched if the dataset's model is one. max_hashed_bytes: linked files up to this
    size are hashed, too.
    Raises: MissingError or InputError naming the first file that is missing, cut short or altered;
    StorageError if `into` cannot be written.
    """
    manifest = load_manifest(dataset)
    restore_files(dataset, manifest, into, max_hashed_bytes=max_hashed_bytes)
    if manifest.model_source is not None:
        link_model(manifest.model_source, mounts, into / MODEL_FOLDER)
    return into


def restore_files(dataset: Path, manifest: Manifest, into: Path, *, max_hashed_bytes: int) -> None:
    """Put the dataset's own files at their original paths below `into`.

    Raises: as `restore`.
    """
    found = places(dataset, manifest)
    sources = [_checked(place, dataset) for place in found]
    packed = [place for place in found if place.offset_bytes is not None]
    packed_bytes = sum(place.size_bytes for place in packed)
    check_space(into, packed_bytes, purpose="unpack", fix="choose a larger disk")
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        hashed = [place for place in found if place.offset_bytes is None and place.size_bytes <= max_hashed_bytes]
        list(pool.map(_check_hash, hashed))  # the list raises what a thread raised
        list(pool.map(lambda place: _unpack(place, into / place.path), packed))
    for place, source in zip(found, sources, strict=True):
        if place.offset_bytes is None:
            _link(source, into / place.path)


def link_model(source: ModelSource, mounts: Path | None, into: Path) -> None:
    """Link the attached Kaggle Model to `into`.

    Raises: MissingError if it is not attached, or holds other files than the dataset was built for.
    """
    if mounts is None:
        raise MissingError(f"the dataset's model is the Kaggle Model {source.ref}; say where models are mounted")
    folder = find_model(mounts, source)
    names = [file.file for file in source.files]
    for name in names or sorted(path.name for path in folder.iterdir() if path.is_file()):
        _link(folder / name, into / name)


def _checked(place: Place, dataset: Path) -> Path:
    """The file that holds a place, checked by its size."""
    if place.file is None:
        raise MissingError(f"{dataset / place.expected}: missing from the dataset (holds {place.path}); {_FIX}")
    size_bytes = place.file.stat().st_size
    if place.offset_bytes is None and size_bytes != place.size_bytes:
        raise InputError(f"{place.file}: {size_bytes} bytes, the manifest says {place.size_bytes}; {_FIX}")
    if place.offset_bytes is not None and size_bytes < place.offset_bytes + place.size_bytes:
        raise InputError(f"{place.file}: cut off at {size_bytes} bytes, {place.path} lies behind; {_FIX}")
    return place.file


def _check_hash(place: Place) -> None:
    assert place.file is not None  # _checked
    if sha256_of(place.file) != place.sha256:
        raise InputError(f"{place.file}: its SHA-256 is not the manifest's; {_FIX}")


def _unpack(place: Place, target: Path) -> None:
    """Read a file out of its archive; it gets its name when it is whole."""
    assert place.file is not None  # _checked
    assert place.offset_bytes is not None
    partial = partial_of(target)
    digest, left_bytes = hashlib.sha256(), place.size_bytes
    with storing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with place.file.open("rb") as archive, partial.open("wb") as file:
            archive.seek(place.offset_bytes)
            while left_bytes and (chunk := archive.read(min(left_bytes, _BUFFER_BYTES))):
                digest.update(chunk)
                file.write(chunk)
                left_bytes -= len(chunk)
        if digest.hexdigest() != place.sha256:
            raise InputError(f"{place.file}: the SHA-256 of {place.path} in it is not the manifest's; {_FIX}")
        partial.replace(target)


def _link(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(source.resolve())
    except OSError as error:
        raise cannot_write(target, error) from error
