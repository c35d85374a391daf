"""`kit status` and `kit logs`: where a version's run is, why it failed, and what it printed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kit.commands.progress import harmless, upload_progress
from kit.commands.push import add_kernel, quoted, same_notebook

if TYPE_CHECKING:
    from kit.kaggle.upload.following import Followed, Following

NUM_LINES = 40


def add(commands: Any) -> None:
    """Declare both commands."""
    status = commands.add_parser(
        "status",
        help="where the pushed notebook's run is, and why it failed",
        description="Ask Kaggle where the run of a version is. For one that failed, why, in Kaggle's words, and the "
        "end of its log; status 1 then.",
    )
    add_kernel(status)
    _add_version(status)
    status.add_argument("--follow", action="store_true", help="wait until it has ended")
    status.set_defaults(run=status_command)
    logs = commands.add_parser(
        "logs",
        help="the end of what the pushed notebook printed",
        description="Print the end of a version's log, as far as Kaggle keeps it while the notebook runs.",
    )
    add_kernel(logs)
    _add_version(logs)
    logs.add_argument("--lines", type=int, default=NUM_LINES, metavar="N", help="from the end (default: %(default)s)")
    logs.add_argument("--follow", action="store_true", help="go on with what comes, until the run has ended")
    logs.set_defaults(run=logs_command)


def status_command(args: argparse.Namespace) -> int:
    """`kit status`; 1 for a run that failed."""
    with _following(args) as run:
        seen = run.wait() if args.follow else run.look()
        failed = not (seen.is_running or seen.is_complete)
        lines = run.lines() if failed else ()
    same = same_notebook(username=args.username, slug=args.slug, out=args.out)
    version = () if args.version is None else ("--version", str(args.version))
    return print_run(seen, lines, then=quoted("submit", *version, *same))


def print_run(seen: Followed, lines: Sequence[str], *, then: str) -> int:
    """Where a run is, and of one that failed the end of its log; the exit status. then: the command that submits."""
    if lines:
        print_lines(lines[-NUM_LINES:])
    print(harmless(seen.words))
    if seen.is_complete:
        print(f"to submit it: {then}")
    return 0 if seen.is_running or seen.is_complete else 1


def logs_command(args: argparse.Namespace) -> int:
    """`kit logs`."""
    from kit.errors import InputError

    if args.lines < 0:
        raise InputError(f"--lines must be 0 or more, got {args.lines}")
    num_lines, words = 0, ""
    with _following(args) as run:
        for place, (seen, lines) in enumerate(run.log(follows=args.follow)):
            print_lines(lines if place else lines[max(0, len(lines) - args.lines) :])
            num_lines, words = num_lines + len(lines), seen.words
    if not num_lines:
        print(f"no log yet: {words}")
    return 0


def print_lines(lines: Sequence[str]) -> None:
    """A notebook's lines; nothing in them moves the terminal's cursor."""
    for line in lines:
        print(harmless(line), flush=True)


def _add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", type=int, metavar="N", help="of the notebook (default: the one pushed last)")


@contextmanager
def _following(args: argparse.Namespace) -> Iterator[Following]:
    from kit.kaggle.upload.account import owner
    from kit.kaggle.upload.following import following
    from kit.kaggle.upload.kernel import Kernel

    kernel = Kernel(owner=owner(args.username, environ=os.environ), slug=args.slug)
    with (
        upload_progress() as on_event,
        following(kernel, version=args.version, work=args.out, environ=os.environ, on_event=on_event) as run,
    ):
        yield run
