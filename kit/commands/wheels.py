"""`kit wheels lock | fetch | check`: the wheelhouse, from its lock to the proof that it is whole."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kit.kaggle.dataset.bundle import Wheelhouse

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
    from kit.kaggle.wheels.commands import lock_wheels

    return lock_wheels(args.target, _console())


def fetch_command(args: argparse.Namespace) -> int:
    """`kit wheels fetch`."""
    from kit.kaggle.wheels.commands import fetch_wheels

    return fetch_wheels(args.target, args.out or OUT / args.target, _console())


def check_command(args: argparse.Namespace) -> int:
    """`kit wheels check`."""
    from kit.kaggle.wheels.commands import check_wheels

    return check_wheels(args.target, args.folder or OUT / args.target, _console())


def wheelhouse(target: str, folder: Path | None = None) -> Wheelhouse:
    """The wheels of a target, in `folder` or where `kit wheels fetch` puts them."""
    from kit.kaggle.checkout import SOURCE
    from kit.kaggle.dataset.bundle import Wheelhouse
    from kit.kaggle.wheels.lockfile import lock_path

    return Wheelhouse(lock_path(SOURCE / "wheels", target), folder or OUT / target)


def fetched_wheelhouse(target: str, folder: Path) -> Wheelhouse:
    """The same, those that are missing fetched."""
    from kit.kaggle.wheels.commands import fetch_wheels

    fetch_wheels(target, folder, _console())
    return wheelhouse(target, folder)


def _add_step(steps: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    step: argparse.ArgumentParser = steps.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    step.add_argument(
        "--target",
        default="kaggle-cp312",
        metavar="NAME",
        help="kaggle-cp312, kaggle-cp313, cpu, … (default: kaggle-cp312)",
    )
    step.set_defaults(run=run)
    return step


def _console() -> Any:
    from rich.console import Console

    return Console()
