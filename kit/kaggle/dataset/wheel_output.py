"""Wheels as the output of a notebook of their own: fetched on Kaggle, each with its hash checked, under a manifest.

Runs in the notebook of `kit push-wheels`, which has the internet. In: a lock. Out: a folder that any number of
submission notebooks may have attached, and that `attached.find_wheels` knows by the lock's hash.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import kit
from kit.kaggle.dataset.manifest import WHEELS_MANIFEST_NAME, Entry, Manifest, WheelSet
from kit.kaggle.dataset.restoring import WHEELS_FOLDER
from kit.kaggle.transfer import sha256_of, size_of, storing
from kit.kaggle.wheels.fetch import Fetched, fetch
from kit.kaggle.wheels.index import Index, configured_index
from kit.kaggle.wheels.lockfile import Lock, load_lock, requirements_path

FOLDER = "kit-wheels"


def fetch_output(lock_file: Path, into: Path, *, index: Callable[[], Index] = configured_index) -> Fetched:
    """Fetch the wheels of a lock into the folder `into`, and put lock and manifest beside them, the manifest last.

    Raises: as `fetch`; then there is no manifest, and nobody takes the folder for whole.
    """
    lock = load_lock(lock_file)
    with storing(into):
        (into / WHEELS_MANIFEST_NAME).unlink(missing_ok=True)
    fetched = fetch(lock, into, index())
    with storing(into):
        shutil.copyfile(lock_file, into / lock_file.name)
        _manifest(lock, lock_file.name, into).save(into, name=WHEELS_MANIFEST_NAME)
    return fetched


def wheel_set(lock: Lock, lock_name: str, *, source: str | None = None) -> WheelSet:
    """What a manifest says of the wheels of a lock."""
    return WheelSet(
        target=lock.target.name,
        python=lock.target.python,
        glibc=lock.target.glibc,
        cuda=lock.target.cuda,
        lock=f"{WHEELS_FOLDER}/{lock_name}",
        versions=tuple(f"{wheel.name}=={wheel.version}" for wheel in lock.wheels),
        source=source,
    )


def _manifest(lock: Lock, lock_name: str, folder: Path) -> Manifest:
    beside = (lock_name, requirements_path(folder, lock.target.name).name)
    others = tuple(_entry(name, size_of(folder / name), sha256_of(folder / name)) for name in beside)
    wheels = tuple(_entry(wheel.file, wheel.size_bytes, wheel.sha256) for wheel in lock.wheels)
    return Manifest(
        kit_version=kit.__version__, commit="", entries=(*others, *wheels), wheels=wheel_set(lock, lock_name)
    )


def _entry(file: str, size_bytes: int, sha256: str) -> Entry:
    return Entry(f"{WHEELS_FOLDER}/{file}", file, size_bytes, sha256)
