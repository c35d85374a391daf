"""`kit push-wheels`: let Kaggle itself fetch the wheels, in a notebook whose output the submission has attached."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from kit.commands.push import USERNAME_HELP, quoted, same_notebook
from kit.commands.wheels import add_target, own_needs, wheelhouse
from kit.kaggle.upload.account import owner
from kit.kaggle.upload.kernel import Kernel, push


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "push-wheels",
        help="let a notebook on Kaggle fetch the wheels, instead of uploading them",
        description="Push a private notebook with the internet on and without a GPU, which fetches the wheels of a "
        "lock on Kaggle and checks each hash. Its output takes the place of gigabytes in the dataset: build that with "
        "--wheels-source, and attach the output with `kit push --kernel-source`.",
    )
    add_target(parser)
    parser.add_argument("--username", metavar="NAME", help=USERNAME_HELP)
    parser.add_argument("--slug", help="the notebook's name in addresses (default: mathllm-kit-wheels-TARGET)")
    parser.add_argument(
        "--out", type=Path, default=Path("out/wheels-kernel"), metavar="DIR",
        help="where the notebook is kept, and which version was pushed last (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=push_wheels_command)


def push_wheels_command(args: argparse.Namespace) -> int:
    """`kit push-wheels`. Raises: what `push` raises."""
    from kit.checkout import build_wheel
    from kit.kaggle.upload.wheels_notebook import write_wheels_notebook
    from kit.kaggle.wheels.committed import current_lock

    lock = current_lock(args.target)  # told before anything is pushed
    owner_name = owner(args.username, environ=os.environ)
    kernel = Kernel(owner=owner_name, slug=args.slug or f"mathllm-kit-wheels-{args.target}", is_utility=True)
    notebook, needs = args.out / "wheels.ipynb", own_needs()
    with tempfile.TemporaryDirectory() as scratch:
        wheel = build_wheel(Path(scratch))
        write_wheels_notebook(notebook, wheelhouse(args.target).lock, kit_wheel=wheel, needs=needs)
    pushed = push(kernel, notebook, work=args.out, environ=os.environ)
    print(f"version {pushed.version} of {pushed.ref} is pushed and fetches {len(lock.wheels)} wheels: {pushed.url}")
    same = same_notebook(username=args.username, slug=kernel.slug, out=args.out)
    print(f"{quoted('status', '--follow', *same)} waits for its end; when it is complete:")
    build = quoted("build", "--wheels", args.target, "--wheels-source", pushed.ref)
    by = () if args.username is None else ("--username", args.username)
    print(f"{build}, upload, and {quoted('push', '--kernel-source', pushed.ref, *by)}")
    return 0
