"""`kit notebook`: the submission notebook as a file, if wanted with the kit itself in it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kit.commands.build import NO_WHEELS, add_wheels, check_wheels, chosen_wheels, listing
from kit.commands.choosing import add_model_additions, add_model_source
from kit.commands.wheels import own_needs
from kit.errors import InputError
from kit.kaggle.upload.kernel import NOTEBOOK


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "notebook",
        help="write the submission notebook, if wanted with the kit in it",
        description="Write the submission notebook. With --self-contained it holds the kit, compressed and hashed, so "
        "that a Kaggle Model and wheels are all that is attached: no dataset is built and uploaded.",
    )
    parser.add_argument("--self-contained", action="store_true", help="with the kit in it, and what the model lacks")
    parser.add_argument("--model", type=Path, metavar="DIR", help="a copy of that model, which tells what it holds")
    add_model_additions(parser)
    add_model_source(parser)
    add_wheels(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("out/submission.ipynb"), metavar="FILE", help="default: %(default)s"
    )
    parser.set_defaults(run=notebook_command)


def notebook_command(args: argparse.Namespace) -> int:
    """`kit notebook`."""
    _check_options(args)
    if not args.self_contained:
        return _copy(args)
    from kit.kaggle.upload.self_contained import write_self_contained

    size_bytes = write_self_contained(
        args.out,
        notebook=NOTEBOOK,
        model_source=args.model_source,
        listing=listing(args.model_source),
        model=args.model,
        trm=args.trm,
        adapter=args.adapter,
        model_files=args.model_file,
        wheels=chosen_wheels(args),
        needs=own_needs(),
    )
    print(f"{args.out}: {size_bytes:,} bytes, with the kit in it")
    wheels = "" if args.wheels_source is None else f" --kernel-source {args.wheels_source}"
    print(f"to push it: `kit push --notebook {args.out} --model-source {args.model_source}{wheels}`")
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """What cannot be, told before anything is listed or fetched."""
    if not args.self_contained:
        given = {
            "--model": args.model,
            "--trm": args.trm,
            "--adapter": args.adapter,
            "--model-source": args.model_source,
            "--model-file": args.model_file,
            "--wheels": None if args.wheels == NO_WHEELS else args.wheels,
            "--wheels-source": args.wheels_source,
        }
        if wrong := next((name for name, value in given.items() if value), None):
            raise InputError(f"{wrong} needs --self-contained; the notebook of the project is always the same")
        return
    check_wheels(args)
    if args.model_source is None:
        raise InputError("--model-source is missing: a model does not fit into a notebook, so name the one to attach")
    if args.wheels != NO_WHEELS and args.wheels_source is None:
        from kit.kaggle.upload.self_contained import WHEELS_DO_NOT_FIT

        raise InputError(WHEELS_DO_NOT_FIT)


def _copy(args: argparse.Namespace) -> int:
    from kit.whole_file import written_whole

    with written_whole(args.out) as path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(NOTEBOOK.read_bytes())
    print(f"{args.out}: attach the competition and the dataset of `kit build`, or `kit push` it")
    return 0
