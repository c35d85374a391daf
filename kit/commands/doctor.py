"""`kit doctor`: what is wrong with this machine, this bundle or these credentials, in one screen."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from kit.errors import MissingError

DATASET = Path("out/dataset")
RUNS = Path("out/dry-run")


def add(commands: Any) -> None:
    """Declare the command."""
    doctor = commands.add_parser(
        "doctor",
        help="what is wrong with this machine, this dataset or these credentials",
        description="Look at the machine, its sandbox and network, the packages, locks, client and credentials, at a "
        "built dataset, and at what vLLM told of its memory when it last ran. Nothing is sent and no credential is "
        "shown. Status 1 if something stops a dry run from here.",
    )
    doctor.add_argument(
        "dataset", type=Path, nargs="?", metavar="DIR", help=f"a built dataset (default: {DATASET}, if it is there)"
    )
    doctor.set_defaults(run=doctor_command)


def doctor_command(args: argparse.Namespace) -> int:
    """Examine and print; 1 if any check failed."""
    from kit.commands.checks import print_checks
    from kit.commands.verify import checks_of
    from kit.kaggle.checks.doctor import examine

    if args.dataset is not None and not args.dataset.is_dir():
        raise MissingError(f"{args.dataset}: no such folder; build a dataset with `kit build`")
    scratch = Path(tempfile.gettempdir())
    status = print_checks("this machine", tuple(examine(os.environ, scratch=scratch, runs=RUNS)))
    dataset = args.dataset or DATASET
    if not dataset.is_dir():
        print(f"no dataset in {dataset}: `kit build` makes one")
        return status
    return max(status, print_checks(str(dataset), checks_of(dataset, scratch=scratch)))
