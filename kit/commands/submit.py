"""`kit submit`: take part in the competition with a version of the notebook that is on Kaggle."""

from __future__ import annotations

import argparse
import os
from typing import Any

from kit.commands.progress import upload_progress
from kit.commands.push import add_kernel
from kit.kaggle.upload.account import owner
from kit.kaggle.upload.kernel import Kernel
from kit.kaggle.upload.submission import DEFAULT_MESSAGE, submit


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "submit",
        help="submit a version of the pushed notebook",
        description="Submit a version of the notebook to the competition with the `kaggle` client. AIMO3 takes one "
        "submission a day.",
    )
    add_kernel(parser)
    parser.add_argument("--version", type=int, metavar="N", help="of the notebook (default: the one pushed last)")
    add_message(parser)
    parser.set_defaults(run=submit_command)


def add_message(parser: argparse.ArgumentParser) -> None:
    """The option that describes a submission."""
    parser.add_argument(
        "--message", default=DEFAULT_MESSAGE, metavar="TEXT", help="a description (default: %(default)r)"
    )


def submit_command(args: argparse.Namespace) -> int:
    """`kit submit`. Raises: what `submit` raises."""
    kernel = Kernel(owner=owner(args.username, environ=os.environ), slug=args.slug)
    with upload_progress() as on_event:
        done = submit(
            kernel, version=args.version, message=args.message, work=args.out, environ=os.environ, on_event=on_event
        )
    print(f"version {done.version} of {done.ref} is submitted: {done.words}")
    return 0
