"""`kit build`, and `python build_dataset.py`: write the Kaggle dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit import assets
from kit.commands.choosing import add_model
from kit.commands.progress import byte_bar
from kit.commands.wheels import OUT as WHEELS
from kit.commands.wheels import fetched_wheelhouse
from kit.errors import InputError
from kit.kaggle.facts import DATASET_METADATA

if TYPE_CHECKING:
    from kit.kaggle.dataset.bundle import Bundle, Wheelhouse
    from kit.kaggle.dataset.manifest import Entry, Member

_NO_WHEELS = "none"
_SHOWN_BYTES = 256 << 20  # a build that writes more shows its progress


def add(commands: Any) -> None:
    """Declare the command."""
    build = commands.add_parser(
        "build",
        help="write the Kaggle dataset",
        description="Write the kit's wheel, the model (the shipped one with its TRM), wheels and a manifest as one "
        "flat folder that Kaggle accepts, and list what entered it. Run again after an interruption, it goes on; "
        "after a change, only what has changed is written.",
    )
    add_model(build)
    build.add_argument(
        "--model-source", metavar="REF",
        help="leave the model out; it is this Kaggle Model, owner/model/framework/variation/version, attached to "
        "the notebook. With --model, too, the dataset knows its files",
    )  # fmt: skip
    build.add_argument(
        "--wheels", default=_NO_WHEELS, metavar="TARGET",
        help="put in the wheels of a target: kaggle-cp312, cpu, …; those that are missing are fetched "
        "(default: %(default)s)",
    )  # fmt: skip
    build.add_argument("--wheels-folder", type=Path, metavar="DIR", help=f"of the wheels (default: {WHEELS}/TARGET)")
    build.add_argument(
        "--id", metavar="OWNER/SLUG", help=f"for {DATASET_METADATA}; only Kaggle's own command reads that"
    )
    build.add_argument("--out", type=Path, default=Path("out/dataset"), metavar="DIR", help="default: %(default)s")
    build.set_defaults(run=build_command, model=None)


def build_command(args: argparse.Namespace) -> int:
    """`kit build`: write the Kaggle dataset and list what entered it."""
    from kit.engines.text.model_folder import check_model_folder
    from kit.kaggle.checks.model import check_chat
    from kit.kaggle.dataset.bundle import PLACEHOLDER, build
    from kit.kaggle.dataset.handle import DatasetHandle
    from kit.kaggle.findings import raise_first
    from kit.recipes.choices import is_shipped

    model = args.model or (assets.TINY_MODEL if args.model_source is None else None)
    if model is not None:
        check_model_folder(model)  # told before gigabytes of wheels are fetched
        raise_first(each for each in check_chat(model))
    wheels = _wheels(args.wheels, args.wheels_folder)
    with byte_bar("writing", least_bytes=_SHOWN_BYTES) as on_bytes:
        bundle = build(
            args.out,
            model=model,
            model_source=args.model_source,
            trm=args.trm or (assets.TINY_TRM if model is not None and is_shipped(model) else None),
            wheels=wheels,
            metadata=PLACEHOLDER if args.id is None else DatasetHandle.parse(args.id),
            on_bytes=on_bytes,
        )
    _print(bundle)
    if model == assets.TINY_MODEL:
        print(f"{'note':>14}  its model is the shipped toy, which solves no olympiad problem: name yours with --model")
    return 0


def _wheels(target: str, folder: Path | None) -> Wheelhouse | None:
    """The wheels of a target, those that are missing fetched."""
    if target == _NO_WHEELS:
        if folder is not None:
            raise InputError("--wheels-folder needs --wheels TARGET")
        return None
    return fetched_wheelhouse(target, folder or WHEELS / target)


def _print(bundle: Bundle) -> None:
    from kit.kaggle.dataset.manifest import MANIFEST_NAME
    from kit.kaggle.dataset.restoring import WHEELS_FOLDER

    manifest = bundle.manifest
    wheels: list[Entry | Member] = []
    for entry in manifest.entries:
        for each in entry.members or (entry,):
            if each.path.startswith(f"{WHEELS_FOLDER}/"):  # two hundred, whose names stand in their lock
                wheels.append(each)
            else:
                print(f"{each.size_bytes:>14,}  {each.sha256[:12]}  {each.file}")
    if wheels:
        print(f"{sum(each.size_bytes for each in wheels):>14,}  {'':12}  {len(wheels)} files in {WHEELS_FOLDER}/, "
              f"listed in {MANIFEST_NAME}")  # fmt: skip
    for left in bundle.left_out:
        print(f"{'left out':>14}  {left.file}: {left.reason}")
    for link in bundle.followed:
        print(f"{'linked':>14}  {link.file} enters as {link.target}, from outside of its folder: is that meant?")
    if manifest.model_source is not None:
        print(f"{'not in it':>14}  the model: attach {manifest.model_source.ref} to the notebook")
    reused = f" ({bundle.num_reused} were there)" if bundle.num_reused else ""
    num_files = len(manifest.entries)
    print(f"{bundle.size_bytes:>14,}  bytes in {num_files} files{reused}, and the manifest: {bundle.folder}")
