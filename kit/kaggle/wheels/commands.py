"""`kit wheels lock | fetch | check`: each reads the target, calls one function and prints; returns the exit status."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from kit.errors import InputError, MissingError
from kit.kaggle.checkout import SOURCE
from kit.kaggle.wheels.closure import check
from kit.kaggle.wheels.fetch import fetch
from kit.kaggle.wheels.index import Index, configured_index
from kit.kaggle.wheels.lockfile import Lock, load_lock, lock_path
from kit.kaggle.wheels.resolve import resolve
from kit.kaggle.wheels.target import TARGETS_NAME, Target, load_target

_TEXT, _BAR = TextColumn("{task.description}"), BarColumn()


def lock_wheels(name: str, console: Console, *, project: Path = SOURCE, index: Index | None = None) -> int:
    """Resolve a target and write its lock into the project's `wheels/`.

    Raises: as `resolve`, and for a target that is not there.
    """
    target, index = _target(name, project), index or configured_index()
    with console.status(f"resolving {name}"):
        lock = resolve(target, index)
    path = lock_path(project / "wheels", name)
    lock.save(path)
    console.print(f"{len(lock.wheels)} wheels, {lock.size_bytes:,} bytes: {path}", soft_wrap=True)
    return 0


def fetch_wheels(name: str, out: Path, console: Console, *, project: Path = SOURCE, index: Index | None = None) -> int:
    """Download the wheels of a target's lock into `out`, or those of them that are missing.

    Raises: as `fetch`; InputError if the lock is older than its target.
    """
    lock = current_lock(name, project)
    columns = (_TEXT, _BAR, DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"fetching {name}", total=lock.size_bytes)
        on_bytes = lambda num_bytes: progress.advance(task, num_bytes)  # noqa: E731
        fetched = fetch(lock, out, index or configured_index(), on_bytes=on_bytes)
    console.print(
        f"{len(lock.wheels)} wheels, {lock.size_bytes:,} bytes, verified: {out} "
        f"({fetched.num_present} were there, {fetched.num_bytes:,} bytes downloaded)",
        soft_wrap=True,
    )
    return 0


def check_wheels(name: str, folder: Path, console: Console, *, project: Path = SOURCE) -> int:
    """Prove that `folder` alone is enough to install a target's lock; 1 and the faults if it is not.

    Raises: MissingError or InputError for a target or lock that is not there, damaged or out of date.
    """
    lock = current_lock(name, project)
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such folder; `kit wheels fetch --target {name} --out {folder}` fills it")
    closure = check(lock, folder)
    for fault in closure.faults:
        console.print(fault, style="red", markup=False, highlight=False, soft_wrap=True)
    verdict = f"{len(closure.faults)} faults" if closure.faults else "nothing missing, no conflict"
    console.print(
        f"{name}: {len(lock.wheels)} wheels in {folder}: {verdict} (asked: {closure.witness})",
        soft_wrap=True,
    )
    return 1 if closure.faults else 0


def _target(name: str, project: Path) -> Target:
    return load_target(name, targets=project / "wheels" / TARGETS_NAME, project=project)


def current_lock(name: str, project: Path = SOURCE) -> Lock:
    """The committed lock of a target.

    Raises: InputError if the target has changed since; MissingError, InputError as `load_lock` and `load_target`.
    """
    path = lock_path(project / "wheels", name)
    lock = load_lock(path)
    if lock.target != _target(name, project):
        raise InputError(f"{path}: its target has changed since; make it anew with `kit wheels lock --target {name}`")
    return lock
