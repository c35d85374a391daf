"""`kit build`, and `python build_dataset.py`: write the Kaggle dataset."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit import assets
from kit.commands.choosing import add_model, add_model_source
from kit.commands.progress import byte_bar
from kit.commands.wheels import OUT as WHEELS
from kit.commands.wheels import fetched_wheelhouse, own_needs, wheelhouse
from kit.errors import InputError, MissingError
from kit.kaggle.dataset.handle import DatasetHandle
from kit.kaggle.facts import DATASET_METADATA
from kit.kaggle.upload.faults import KaggleError

if TYPE_CHECKING:
    from kit.kaggle.dataset.bundle import Bundle
    from kit.kaggle.dataset.manifest import Entry, ListedFile, Member
    from kit.kaggle.dataset.plan import Wheelhouse

NO_WHEELS = "none"
_SHOWN_BYTES = 256 << 20  # a build that writes more shows its progress


def add(commands: Any) -> None:
    """Declare the command."""
    build = commands.add_parser(
        "build",
        help="write the Kaggle dataset",
        description="Write the kit's wheel, what it needs itself, the model (the shipped one with its TRM), wheels and "
        "a manifest as one flat folder that Kaggle accepts, and list what entered it. Run again after an interruption, "
        "it goes on; after a change, only what has changed is written.",
    )
    add_contents(build)
    build.add_argument(
        "--id", metavar="OWNER/SLUG", help=f"for {DATASET_METADATA}; only Kaggle's own command reads that"
    )
    build.add_argument("--out", type=Path, default=Path("out/dataset"), metavar="DIR", help="default: %(default)s")
    build.set_defaults(run=build_command, model=None)


def add_contents(build: argparse.ArgumentParser) -> None:
    """The options that say what enters a dataset."""
    add_model(build)
    add_model_source(build)
    add_wheels(build)
    build.add_argument("--wheels-folder", type=Path, metavar="DIR", help=f"of the wheels (default: {WHEELS}/TARGET)")


def add_wheels(parser: argparse.ArgumentParser) -> None:
    """The options that say which wheels, and whether they are attached."""
    parser.add_argument(
        "--wheels", default=NO_WHEELS, metavar="TARGET",
        help="the wheels of a target: kaggle-cp312, cpu, …; those that are missing are fetched (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--wheels-source", metavar="OWNER/SLUG",
        help="leave the wheels out; they are the output of this notebook, of `kit push-wheels`, which is attached",
    )  # fmt: skip


def build_command(args: argparse.Namespace) -> int:
    """`kit build`: write the Kaggle dataset and list what entered it."""
    from kit.engines.hub import find_model
    from kit.engines.text.model_folder import check_model_folder
    from kit.kaggle.checks.model import check_chat
    from kit.kaggle.dataset.bundle import build
    from kit.kaggle.dataset.plan import PLACEHOLDER, DatasetPlan
    from kit.kaggle.findings import raise_first
    from kit.recipes.choices import trm_for

    metadata = PLACEHOLDER if args.id is None else DatasetHandle.parse(args.id)
    check_wheels(args, args.wheels_folder)
    model = find_model(args.model) if args.model else None if args.model_source else assets.TINY_MODEL
    if model is not None:
        check_model_folder(model)  # told before gigabytes of wheels are fetched
        raise_first(each for each in check_chat(model))
    wheels = chosen_wheels(args, args.wheels_folder)
    plan = DatasetPlan(
        model=model,
        model_source=args.model_source,
        listing=() if args.model_source is None else listing(args.model_source),
        model_files=tuple(args.model_file),
        trm=trm_for(model, trm=args.trm, adapter=args.adapter),
        adapter=args.adapter,
        wheels=wheels,
        needs=own_needs(),
        metadata=metadata,
    )
    with byte_bar("writing", least_bytes=_SHOWN_BYTES) as on_bytes:
        bundle = build(args.out, plan, on_bytes=on_bytes)
    _print(bundle)
    if model == assets.TINY_MODEL:
        print(f"{'note':>14}  its model is the shipped toy, which solves no olympiad problem: name yours with --model")
    return 0


def listing(ref: str) -> tuple[ListedFile, ...]:
    """What the Kaggle Model holds, if Kaggle can be asked; a build without credentials goes on without it."""
    from kit.kaggle.upload.model_listing import list_model

    try:
        return list_model(ref, environ=os.environ)
    except (MissingError, KaggleError) as error:
        problem = str(error).partition("\n")[0].partition(";")[0]  # the list of places comes after
        print(f"note: Kaggle was not asked what {ref} holds: {problem}")
        print("note: of a copy (--model), all but the weights enters the dataset; without one, nothing is known of it")
        return ()


def check_wheels(args: argparse.Namespace, folder: Path | None = None) -> None:
    """Raises: InputError or MissingError for options that no wheels can have, before anything takes time."""
    from kit.kaggle.wheels.lockfile import locked_target

    source: str | None = args.wheels_source
    if args.wheels == NO_WHEELS:
        for option, value in (("--wheels-folder", folder), ("--wheels-source", source)):
            if value is not None:
                raise InputError(f"{option} needs --wheels TARGET")
        return
    locked_target(wheelhouse(args.wheels).lock)
    if source is not None:
        DatasetHandle.parse(source)  # a notebook's name is of the same form


def chosen_wheels(args: argparse.Namespace, folder: Path | None = None) -> Wheelhouse | None:
    """The wheels of a target, those that are missing fetched; of wheels that are attached the lock alone.

    args, folder: as `check_wheels` let them pass.
    """
    if args.wheels == NO_WHEELS:
        return None
    if args.wheels_source is None:
        return fetched_wheelhouse(args.wheels, folder or WHEELS / args.wheels)
    return replace(wheelhouse(args.wheels), source=args.wheels_source)


def _print(bundle: Bundle) -> None:
    from kit.kaggle.dataset.manifest import MANIFEST_NAME
    from kit.kaggle.dataset.restoring import NEEDS_FOLDER, WHEELS_FOLDER

    manifest = bundle.manifest
    many: dict[str, list[Entry | Member]] = {NEEDS_FOLDER: [], WHEELS_FOLDER: []}  # their names stand in their locks
    for entry in manifest.entries:
        for each in entry.members or (entry,):
            folder = each.path.partition("/")[0]
            if folder in many:
                many[folder].append(each)
            else:
                print(f"{each.size_bytes:>14,}  {each.sha256[:12]}  {each.file}")
    for folder, files in many.items():
        if files:
            size = f"{sum(each.size_bytes for each in files):>14,}"
            print(f"{size}  {'':12}  {len(files)} files in {folder}/, listed in {MANIFEST_NAME}")
    for left in bundle.left_out:
        print(f"{'left out':>14}  {left.file}: {left.reason}")
    for link in bundle.followed:
        print(f"{'linked':>14}  {link.file} enters as {link.target}, from outside of its folder: is that meant?")
    if manifest.model_source is not None:
        print(f"{'not in it':>14}  the model: attach {manifest.model_source.ref} to the notebook")
    if manifest.wheels is not None:
        python = manifest.wheels.python
        fix = "`import sys; sys.version` in a notebook tells; there is a target for each of 3.12 and 3.13"
        print(f"{'note':>14}  its wheels are for Python {python}, which the notebook's image must have: {fix}")
    if manifest.wheels is not None and manifest.wheels.source is not None:
        print(f"{'not in it':>14}  the wheels: attach the output of {manifest.wheels.source} to the notebook")
    reused = f" ({bundle.num_reused} were there)" if bundle.num_reused else ""
    num_files = len(manifest.entries)
    print(f"{bundle.size_bytes:>14,}  bytes in {num_files} files{reused}, and the manifest: {bundle.folder}")
