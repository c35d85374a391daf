"""The targets and locks that the project holds, by name: what `kit wheels` works on."""

from __future__ import annotations

from pathlib import Path

from kit.checkout import PROJECT
from kit.errors import InputError, MissingError
from kit.kaggle.wheels.closure import Closure, check
from kit.kaggle.wheels.index import Index, configured_index
from kit.kaggle.wheels.lockfile import Lock, load_lock, lock_path
from kit.kaggle.wheels.resolve import resolve
from kit.kaggle.wheels.target import TARGETS_NAME, Target, load_target

KIT_TARGET = "kit"
"""What the kit itself needs: pure Python, one set for the Pythons of all other targets."""


def lock_anew(name: str, *, project: Path = PROJECT, index: Index | None = None) -> tuple[Path, Lock]:
    """Resolve a target and write its lock into the project's `wheels/`; the file, and what is in it.

    Raises: as `resolve`, and for a target that is not there.
    """
    lock, path = resolve(_target(name, project), index or configured_index()), lock_path(project / "wheels", name)
    lock.save(path)
    return path, lock


def current_lock(name: str, project: Path = PROJECT) -> Lock:
    """The committed lock of a target.

    Raises: InputError if the target has changed since; MissingError, InputError as `load_lock` and `load_target`.
    """
    path = lock_path(project / "wheels", name)
    lock = load_lock(path)
    if lock.target != _target(name, project):
        raise InputError(f"{path}: its target has changed since; make it anew with `kit wheels lock --target {name}`")
    return lock


def check_folder(lock: Lock, folder: Path) -> Closure:
    """Whether `folder` alone is enough to install the lock.

    Raises: MissingError for a folder that is not there; as `check`.
    """
    if not folder.is_dir():
        fill = f"`kit wheels fetch --target {lock.target.name} --out {folder}`"
        raise MissingError(f"{folder}: no such folder; {fill} fills it")
    return check(lock, folder)


def _target(name: str, project: Path) -> Target:
    return load_target(name, targets=project / "wheels" / TARGETS_NAME, project=project)
