"""`kit wheels lock | fetch | check`: the wheelhouse, from its lock to the proof that it is whole."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.commands.progress import byte_bar

if TYPE_CHECKING:
    from kit.kaggle.dataset.plan import Wheelhouse

OUT = Path("out/wheels")


def add(commands: Any) -> None:
    """Declare the command and its three steps."""
    wheels = commands.add_parser(
        "wheels",
        help="lock, fetch and check the wheels that go into the dataset",
        description="The wheels of one target of wheels/targets.toml, from the index that pip is configured with.",
    )
    steps = wheels.add_subparsers(title="steps", required=True, metavar="STEP")
    _add_step(steps, "lock", lock_command, "resolve the target anew, into wheels/pylock.TARGET.toml (needs uv)")
    fetch = _add_step(steps, "fetch", fetch_command, "download exactly what the lock names; interrupted, go on")
    fetch.add_argument("--out", type=Path, metavar="DIR", help="default: out/wheels/TARGET")
    check = _add_step(steps, "check", check_command, "prove that the folder alone is enough to install the lock")
    check.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="default: out/wheels/TARGET")


def lock_command(args: argparse.Namespace) -> int:
    """`kit wheels lock`."""
    from kit.kaggle.wheels.committed import lock_anew

    print(f"resolving {args.target} …", flush=True)
    path, lock = lock_anew(args.target)
    print(f"{len(lock.wheels)} wheels, {lock.size_bytes:,} bytes: {path}")
    return 0


def fetch_command(args: argparse.Namespace) -> int:
    """`kit wheels fetch`."""
    _fetch(args.target, args.out or OUT / args.target)
    return 0


def check_command(args: argparse.Namespace) -> int:
    """`kit wheels check`; 1 and the faults if the folder is not enough."""
    from kit.kaggle.wheels.committed import check_folder, current_lock

    lock, folder = current_lock(args.target), args.folder or OUT / args.target
    closure = check_folder(lock, folder)
    for fault in closure.faults:
        print(fault)
    verdict = f"{len(closure.faults)} faults" if closure.faults else "nothing missing, no conflict"
    print(f"{args.target}: {len(lock.wheels)} wheels in {folder}: {verdict} (asked: {closure.witness})")
    return 1 if closure.faults else 0


def wheelhouse(target: str, folder: Path | None = None) -> Wheelhouse:
    """The wheels of a target, in `folder` or where `kit wheels fetch` puts them."""
    from kit.checkout import PROJECT
    from kit.kaggle.dataset.plan import Wheelhouse
    from kit.kaggle.wheels.lockfile import lock_path

    return Wheelhouse(lock_path(PROJECT / "wheels", target), folder or OUT / target)


def fetched_wheelhouse(target: str, folder: Path) -> Wheelhouse:
    """The same, those that are missing fetched."""
    _fetch(target, folder)
    return wheelhouse(target, folder)


def own_needs() -> Wheelhouse:
    """What the kit itself needs, for every dataset; wheels that are missing are fetched."""
    from kit.kaggle.wheels.committed import KIT_TARGET, current_lock
    from kit.kaggle.wheels.fetch import ensure
    from kit.kaggle.wheels.index import configured_index

    needs = wheelhouse(KIT_TARGET)
    ensure(current_lock(KIT_TARGET), needs.folder, configured_index)
    return needs


def _add_step(steps: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    step: argparse.ArgumentParser = steps.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    add_target(step)
    step.set_defaults(run=run)
    return step


def add_target(parser: argparse.ArgumentParser) -> None:
    """The option that names a target."""
    parser.add_argument(
        "--target",
        default="kaggle-cp312",
        metavar="NAME",
        help="kaggle-cp312, kaggle-cp313, cpu, … (default: kaggle-cp312)",
    )


def _fetch(target: str, out: Path) -> None:
    from kit.kaggle.wheels.committed import current_lock
    from kit.kaggle.wheels.fetch import fetch
    from kit.kaggle.wheels.index import configured_index

    lock = current_lock(target)
    print(
        f"{target}: {len(lock.wheels)} wheels, {lock.size_bytes:,} bytes, those that are missing are fetched …",
        flush=True,
    )
    with byte_bar(f"fetching {target}") as on_bytes:
        fetched = fetch(lock, out, configured_index(), on_bytes=lambda num: on_bytes(num, lock.size_bytes))
    print(
        f"{len(lock.wheels)} wheels, {lock.size_bytes:,} bytes, verified: {out} "
        f"({fetched.num_present} were there, {fetched.num_bytes:,} bytes downloaded)"
    )
