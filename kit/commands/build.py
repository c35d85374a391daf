"""`kit build`: write the Kaggle dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kit import assets


def add(commands: Any) -> None:
    """Declare the command."""
    build = commands.add_parser(
        "build", help="write the Kaggle dataset", description="Write the kit's wheel, the model and a manifest."
    )
    add_model(build)
    build.add_argument("--out", type=Path, default=Path("out/dataset"), metavar="DIR", help="default: %(default)s")
    build.set_defaults(run=build_command)


def add_model(command: argparse.ArgumentParser) -> None:
    """The options that name the model to pack."""
    command.add_argument(
        "--model", type=Path, default=assets.TINY_MODEL, metavar="DIR",
        help="a Hugging Face causal LM folder with safetensors (default: the shipped tiny model)",
    )  # fmt: skip
    command.add_argument(
        "--trm", type=Path, metavar="DIR", help="a recursive model (TRM) for this very model, as kit.trm saves it"
    )


def build_command(args: argparse.Namespace) -> int:
    """`kit build`: write the Kaggle dataset and list what entered it."""
    from kit.kaggle.bundle import build

    bundle = build(args.out, model=args.model, trm=args.trm)
    for entry in bundle.manifest.entries:
        print(f"{entry.size_bytes:>14,}  {entry.sha256[:12]}  {entry.file}")
    num_files = len(bundle.manifest.entries)
    print(f"{bundle.size_bytes:>14,}  bytes in {num_files} files, and the manifest: {bundle.folder}")
    return 0
