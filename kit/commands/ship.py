"""`kit ship`: from a model on this machine to a submission, the other commands one after another."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit.commands.build import add_contents
from kit.commands.push import USERNAME_HELP, add_attached, add_machine, kernel_of, quoted, same_notebook
from kit.commands.submit import add_message
from kit.errors import InputError
from kit.kaggle.dataset.handle import DEFAULT_SLUG, DatasetHandle
from kit.kaggle.facts import LICENCES
from kit.kaggle.upload.kernel import NOTEBOOK, Kernel, check_notebook


def add(commands: Any) -> None:
    """Declare the command."""
    ship = commands.add_parser(
        "ship",
        help="from a model to a submission: doctor, build, verify, upload, push, wait, submit",
        description="Look at this machine, build the dataset, verify and upload it, push the notebook, wait for its "
        "run, compare what Kaggle made of it with what was asked, and submit it. Each step is a command of its own and "
        "is shown as it is run; the first that fails ends it, and the same command goes on from there. It asks before "
        "it submits. For --title, --notes, --public, --no-upload, --fresh and --ready-within of `kit upload`, run the "
        "steps one by one.",
    )
    add_contents(ship)
    ship.add_argument("--username", metavar="NAME", help=USERNAME_HELP)
    ship.add_argument(
        "--slug", default=DEFAULT_SLUG,
        help="the dataset's name in addresses; the notebook's is SLUG-submission (default: %(default)s)",
    )  # fmt: skip
    ship.add_argument("--licence", default="other", choices=LICENCES, metavar="NAME", help="default: %(default)s")
    add_machine(ship)
    add_attached(ship)
    add_message(ship)
    ship.add_argument(
        "--out", type=Path, default=Path("out"), metavar="DIR",
        help="holds the dataset, and what was pushed (default: %(default)s)",
    )  # fmt: skip
    ship.add_argument("--yes", action="store_true", help="submit without asking, for scripts")
    ship.set_defaults(run=ship_command, model=None)


def ship_command(args: argparse.Namespace) -> int:
    """`kit ship`. Raises: what the steps raise, and InputError for one whose checks failed."""
    from kit.kaggle.upload.account import owner

    if not (args.yes or sys.stdin.isatty()):
        raise InputError("nobody can be asked here whether to submit; run it on a terminal, or with --yes")
    place = DatasetHandle(owner=owner(args.username, environ=os.environ), slug=args.slug, licence=args.licence)
    push = ("push", *_push_options(args, place))
    kernel = kernel_of(args.parser.parse_args(push))  # refused before anything is built, if it is
    check_notebook(args.notebook or NOTEBOOK, environ=os.environ)
    _look_at_machine()
    for step in _dataset_steps(args, place):
        _run(args, step)
    _push(args, push, kernel)
    _run(args, ("status", "--follow", *_notebook(args, kernel)))
    if not (args.yes or _is_wanted(kernel)):
        same = same_notebook(username=args.username, slug=kernel.slug, out=_work(args))
        print(f"not submitted: {quoted('submit', *same)} does it later")
        return 0
    _run(args, ("submit", "--message", args.message, *_notebook(args, kernel)))
    return 0


def _look_at_machine() -> None:
    """As `kit doctor`, but for the dataset, which is built and verified next."""
    from kit.commands.checks import print_checks
    from kit.commands.doctor import RUNS
    from kit.kaggle.checks.doctor import examine

    _tell("doctor")
    if print_checks("this machine", tuple(examine(os.environ, scratch=Path(tempfile.gettempdir()), runs=RUNS))):
        raise _stopped("doctor")


def _dataset_steps(args: argparse.Namespace, place: DatasetHandle) -> tuple[tuple[str, ...], ...]:
    dataset = str(args.out / "dataset")
    given = {
        "--model": args.model,
        "--trm": args.trm,
        "--adapter": args.adapter,
        "--model-source": args.model_source,
        "--wheels": args.wheels,
        "--wheels-folder": args.wheels_folder,
        "--wheels-source": args.wheels_source,
    }
    chosen = [part for name, value in given.items() if value is not None for part in (name, str(value))]
    chosen += [part for file in args.model_file for part in ("--model-file", str(file))]
    to = ("--username", place.owner, "--slug", place.slug, "--licence", place.licence)
    return (
        ("build", *chosen, "--out", dataset),
        ("verify", dataset),
        ("upload", "--dataset", dataset, *to),
    )


def _push_options(args: argparse.Namespace, place: DatasetHandle) -> tuple[str, ...]:
    """All that `kit push` is given: where its result is kept, what is attached, and on which machine it runs."""
    outputs = [*([] if args.wheels_source is None else [args.wheels_source]), *args.kernel_source]
    given = [
        ("--dataset", place.ref),
        ("--model-source", args.model_source),
        *(("--kernel-source", ref) for ref in dict.fromkeys(outputs)),
        *(("--further-dataset", ref) for ref in args.further_dataset),
        ("--notebook", args.notebook),
        ("--accelerator", args.accelerator),
        ("--image", args.image),
    ]
    named = ("--username", place.owner, "--slug", f"{place.slug}-submission", "--out", str(_work(args)))
    return (*named, *(part for name, value in given if value is not None for part in (name, str(value))))


def _push(args: argparse.Namespace, push: Sequence[str], kernel: Kernel) -> None:
    """As `kit push` with these words, but for what runs already."""
    from kit.commands.progress import upload_progress
    from kit.kaggle.upload.shipping import push_once

    _tell(*push)
    with upload_progress() as on_event:
        pushed = push_once(
            kernel,
            args.notebook or NOTEBOOK,
            dataset=args.out / "dataset",
            work=_work(args),
            environ=os.environ,
            on_event=on_event,
        )
    print(f"version {pushed.version} of {pushed.ref}: {pushed.url}")


def _notebook(args: argparse.Namespace, kernel: Kernel) -> tuple[str, ...]:
    return "--username", kernel.owner, "--slug", kernel.slug, "--out", str(_work(args))


def _work(args: argparse.Namespace) -> Path:
    work: Path = args.out / "kernel"
    return work


def _run(args: argparse.Namespace, step: Sequence[str]) -> None:
    """One command, as if it had been typed."""
    _tell(*step)
    parsed = args.parser.parse_args(list(step))
    if parsed.run(parsed):
        raise _stopped(step[0])


def _tell(*step: str) -> None:
    print(f"\n$ kit {shlex.join(step)}", flush=True)


def _stopped(step: str) -> InputError:
    return InputError(f"stopped at `kit {step}`, which says above what is wrong; the same command goes on from there")


def _is_wanted(kernel: Kernel) -> bool:
    try:
        answer = input(f"\nsubmit {kernel.ref} now? AIMO3 takes one submission a day [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")
