"""`kit verify`: is a dataset whole, installable and loadable, and is this machine fit for it?"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.errors import MissingError
from kit.kaggle.facts import KERNEL_VARIABLE

if TYPE_CHECKING:
    from kit.kaggle.findings import Check


def add(commands: Any) -> None:
    """Declare the command."""
    verify = commands.add_parser(
        "verify",
        help="check a dataset and this machine before they are needed",
        description="Hash every file of a dataset and check that its wheels can be installed, its model loaded and "
        "that this machine is fit for it. Works on a build, on a mounted dataset and on a folder with one in it. "
        "Status 1 if anything is wrong; off Kaggle, what this machine lacks is only told.",
    )
    verify.add_argument("dataset", type=Path, metavar="DIR", help="a build, or where a dataset is mounted")
    verify.add_argument(
        "--scratch", type=Path, default=Path(tempfile.gettempdir()), metavar="DIR",
        help="for temporary files (default: %(default)s)",
    )  # fmt: skip
    verify.set_defaults(run=verify_command)


def verify_command(args: argparse.Namespace) -> int:
    """Verify and print; 1 if any check failed."""
    from kit.commands.checks import print_checks

    for folder in (args.dataset, args.scratch):
        if not folder.is_dir():
            raise MissingError(f"{folder}: no such folder")
    return print_checks(str(args.dataset), checks_of(args.dataset, scratch=args.scratch))


def checks_of(folder: Path, *, scratch: Path) -> tuple[Check, ...]:
    """Every check of the dataset that is in this folder, or mounted below it; shows a progress bar."""
    from kit.kaggle.checks.dataset import Site, verify
    from kit.kaggle.checks.machine import Machine
    from kit.kaggle.dataset.manifest import MANIFEST_NAME
    from kit.kaggle.environment import KaggleEnvironment, Mounts

    dataset = folder if (folder / MANIFEST_NAME).is_file() else Mounts.find(folder).dataset()
    environment = KaggleEnvironment.detect(os.environ)
    site = Site(
        scratch=scratch,
        mounts=environment.input,
        is_kaggle=KERNEL_VARIABLE in os.environ or environment.is_rerun,
        machine=Machine.here(scratch),
    )
    with _progress() as on_bytes:
        return verify(dataset, site, on_bytes=on_bytes)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("hashing"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, transient=True, disable=not Console().is_terminal) as progress:
        task = progress.add_task("hashing", total=None)
        yield lambda num_bytes, total_bytes: progress.update(task, advance=num_bytes, total=total_bytes)
