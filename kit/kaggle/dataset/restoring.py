"""From the mounted, flat, read-only dataset back to the files under their own names, in scratch space.

Files are linked, not copied; only what lies in an archive that Kaggle left packed is read out. Sizes are always
checked; hashes up to 64 MiB a file, because hashing tens of gigabytes of weights would cost minutes of the
competition's time, and of all that is read out anyway. A model that is attached as a Kaggle Model is joined by links
with the files that the dataset holds for it, and so are wheels that another notebook fetched.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kit.errors import InputError, MissingError, cannot_write
from kit.kaggle.dataset.attached import find_model, find_wheels
from kit.kaggle.dataset.integrity import REBUILD, check_files, sha256_of_range
from kit.kaggle.dataset.manifest import WHEELS_MANIFEST_NAME, Manifest, ModelSource, WheelSet, load_manifest
from kit.kaggle.dataset.mounted import Place, places
from kit.kaggle.findings import raise_first
from kit.kaggle.transfer import check_space, partial_of, sha256_of, storing

MAX_HASHED_BYTES = 64 << 20
MODEL_FOLDER = "model"
TRM_FOLDER = "trm"
WHEELS_FOLDER = "wheels"
NEEDS_FOLDER = "needs"
"""Of the kit itself: wheels of pure Python, and their lock."""


def restore(dataset: Path, into: Path, *, mounts: Path | None = None, max_hashed_bytes: int = MAX_HASHED_BYTES) -> Path:
    """Put every file of `dataset` at its original path below `into`; returns `into`.

    mounts: where a Kaggle Model and wheels are searched that the dataset does not hold.
    max_hashed_bytes: linked files up to this size are hashed, too.
    Raises: MissingError or InputError naming the first file that is missing, cut short or altered;
    StorageError if `into` cannot be written.
    """
    manifest = load_manifest(dataset)
    restore_files(dataset, manifest, into, max_hashed_bytes=max_hashed_bytes)
    if manifest.model_source is not None:
        join_model(manifest, manifest.model_source, mounts, into)
    if manifest.wheels is not None and manifest.wheels.source is not None:
        join_wheels(manifest.wheels, mounts, into, max_hashed_bytes=max_hashed_bytes)
    return into


def restore_files(dataset: Path, manifest: Manifest, into: Path, *, max_hashed_bytes: int | None) -> None:
    """Put the dataset's own files at their original paths below `into`.

    Raises: as `restore`.
    """
    found = places(dataset, manifest)
    raise_first(check_files(dataset, found, max_hashed_bytes=max_hashed_bytes))
    packed = [place for place in found if place.offset_bytes is not None]
    packed_bytes = sum(place.size_bytes for place in packed)
    check_space(into, packed_bytes, purpose="unpack", fix="choose a larger disk")
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda place: _unpack(place, into / place.path), packed))  # raises what a thread raised
    for place in found:
        if place.file is not None and place.offset_bytes is None:
            _link(place.file, into / place.path)


def join_model(manifest: Manifest, source: ModelSource, mounts: Path | None, into: Path) -> None:
    """Link the attached Kaggle Model into the model's folder below `into`, beside the dataset's own files there.

    A file of the dataset's comes in the place of the model's of the same name.
    Raises: MissingError if it is not attached, or holds other files than were listed.
    """
    if mounts is None:
        raise MissingError(f"the dataset's model is the Kaggle Model {source.ref}; say where models are mounted")
    folder, own = find_model(mounts, source), set(manifest.paths())
    listed = {file.file for file in source.files}
    for path in sorted(folder.iterdir()):
        place = f"{MODEL_FOLDER}/{path.name}"
        if path.is_file() and place not in own and (not listed or path.name in listed):
            _link(path, into / place)


def join_wheels(wheels: WheelSet, mounts: Path | None, into: Path, *, max_hashed_bytes: int | None) -> None:
    """Link the wheels that a notebook's output holds beside their lock below `into`, which is restored already.

    Raises: MissingError if none of this lock are attached; as `restore` for a wheel that is missing or altered.
    """
    if mounts is None:
        raise MissingError(f"the dataset's wheels are the output of {wheels.source}; say where that is mounted")
    folder = find_wheels(mounts, wheels, sha256_of(into / wheels.lock))
    found = load_manifest(folder, name=WHEELS_MANIFEST_NAME)
    restore_files(folder, found, into, max_hashed_bytes=max_hashed_bytes)


def _unpack(place: Place, target: Path) -> None:
    """Read a file out of its archive; it gets its name when it is whole."""
    assert place.file is not None  # check_files
    assert place.offset_bytes is not None
    partial = partial_of(target)
    with storing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with place.file.open("rb") as archive, partial.open("wb") as file:
            archive.seek(place.offset_bytes)
            sha256 = sha256_of_range(archive, place.size_bytes, file.write)
        if sha256 != place.sha256:
            raise InputError(f"{place.file}: its SHA-256 is not the manifest's (altered: {place.path}); {REBUILD}")
        partial.replace(target)


def _link(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(source.resolve())
    except OSError as error:
        raise cannot_write(target, error) from error
