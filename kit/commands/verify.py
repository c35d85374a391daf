"""`kit verify`: is a dataset whole, installable and loadable, and is this machine fit for it?"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.commands.progress import byte_bar
from kit.errors import MissingError

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
    verify.add_argument(
        "dataset", type=Path, nargs="?", default=Path("out/dataset"), metavar="DIR",
        help="a build, or where a dataset is mounted (default: %(default)s)",
    )  # fmt: skip
    verify.add_argument(
        "--scratch", type=Path, default=Path(tempfile.gettempdir()), metavar="DIR",
        help="for temporary files (default: %(default)s)",
    )  # fmt: skip
    verify.add_argument(
        "--model-source", metavar="REF",
        help="the Kaggle Model that you are going to attach: is the dataset built for this very version?",
    )  # fmt: skip
    verify.set_defaults(run=verify_command)


def verify_command(args: argparse.Namespace) -> int:
    """Verify and print; 1 if any check failed."""
    from kit.commands.checks import print_checks
    from kit.kaggle.dataset.mounted import check_ref

    if not args.dataset.is_dir():
        raise MissingError(f"{args.dataset}: no such folder; build the dataset with `kit build`")
    if not args.scratch.is_dir():
        raise MissingError(f"{args.scratch}: no such folder; make it, or name another with --scratch")
    if args.model_source is not None:
        check_ref(args.model_source)
    checks = checks_of(args.dataset, scratch=args.scratch, model_source=args.model_source)
    return print_checks(str(args.dataset), checks)


def checks_of(folder: Path, *, scratch: Path, model_source: str | None = None) -> tuple[Check, ...]:
    """Every check of the dataset that is in this folder, or mounted below it; shows a progress bar."""
    from kit.kaggle.checks.dataset import verify_folder

    with byte_bar("hashing") as on_bytes:
        return verify_folder(folder, scratch=scratch, environ=os.environ, model_source=model_source, on_bytes=on_bytes)
