"""`kit push`: bring the submission notebook to Kaggle, where it runs at once."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

from kit.commands.progress import upload_progress
from kit.kaggle import facts
from kit.kaggle.upload.account import owner
from kit.kaggle.upload.kernel import DEFAULT_SLUG, NOTEBOOK, Kernel, push

OUT = Path("out/kernel")
USERNAME_HELP = "your Kaggle username (default: the credentials' own)"


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "push",
        help="push the submission notebook to Kaggle",
        description="Push notebooks/submission.ipynb with the `kaggle` client as a private notebook: internet off, the "
        "competition's H100, the competition and your dataset attached; then read back what Kaggle made of it. Kaggle "
        "runs it at once; `kit status --follow` waits for that, and `kit submit` submits it.",
    )
    add_kernel(parser)
    parser.add_argument("--dataset", metavar="OWNER/SLUG", help="the uploaded dataset (default: NAME/mathllm-kit)")
    add_session(parser)
    add_attached(parser)
    parser.set_defaults(run=push_command)


def add_kernel(parser: argparse.ArgumentParser) -> None:
    """The options that say which notebook on Kaggle is meant."""
    parser.add_argument("--username", metavar="NAME", help=USERNAME_HELP)
    parser.add_argument("--slug", default=DEFAULT_SLUG, help="the notebook's name in addresses (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="DIR",
        help="where it is kept which version was pushed last (default: %(default)s)",
    )  # fmt: skip


def add_session(parser: argparse.ArgumentParser) -> None:
    """The options that say what a pushed notebook runs with."""
    parser.add_argument(
        "--model-source", action="append", default=[], metavar="REF",
        help="a Kaggle Model to attach, owner/model/framework/variation/version; may be given again",
    )  # fmt: skip
    add_machine(parser)


def add_machine(parser: argparse.ArgumentParser) -> None:
    """The options that say on which machine it runs."""
    aliases = {alias: f"another name for {name}" for alias, name in facts.ACCELERATOR_ALIASES.items()}
    shapes = "; ".join(f"{name}: {words}" for name, words in {**facts.ACCELERATORS, **aliases}.items())
    parser.add_argument(
        "--accelerator", default=facts.ACCELERATOR, metavar="NAME",
        help=f"the GPU, as Kaggle names it (default: %(default)s). {shapes}",
    )  # fmt: skip
    parser.add_argument(
        "--image", metavar="NAME@sha256:DIGEST",
        help="the image to pin (default: the one that the notebook was first run with)",
    )  # fmt: skip


def add_attached(parser: argparse.ArgumentParser) -> None:
    """The options for what else is attached, and which notebook it is attached to."""
    parser.add_argument(
        "--kernel-source", action="append", default=[], metavar="OWNER/SLUG",
        help="a notebook whose output to attach, such as that of `kit push-wheels`; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--further-dataset", action="append", default=[], metavar="OWNER/SLUG",
        help="another dataset to attach; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--notebook", type=Path, metavar="FILE",
        help="one of `kit notebook --self-contained`, which needs no dataset (default: the project's)",
    )  # fmt: skip


def push_command(args: argparse.Namespace) -> int:
    """`kit push`. Raises: what `push` raises."""
    kernel = kernel_of(args)
    with upload_progress() as on_event:
        pushed = push(kernel, args.notebook or NOTEBOOK, work=args.out, environ=os.environ, on_event=on_event)
    same = same_notebook(username=args.username, slug=args.slug, out=args.out)
    print(f"version {pushed.version} of {pushed.ref} is pushed and runs: {pushed.url}")
    print(f"{quoted('status', '--follow', *same)} waits for its end; when it is complete: {quoted('submit', *same)}")
    return 0


def kernel_of(args: argparse.Namespace) -> Kernel:
    """The notebook that the options of `kit push` ask for. Raises: InputError, and as `owner`."""
    return Kernel(
        owner=owner(args.username, environ=os.environ),
        slug=args.slug,
        dataset=args.dataset,
        model_sources=tuple(args.model_source),
        accelerator=args.accelerator,
        image=args.image,
        further_datasets=tuple(args.further_dataset),
        kernel_sources=tuple(args.kernel_source),
        holds_kit=args.notebook is not None,
    )


def same_notebook(*, username: str | None, slug: str, out: Path) -> tuple[str, ...]:
    """The options by which another command means this notebook: those that are not the default."""
    options = (("--username", username, None), ("--slug", slug, DEFAULT_SLUG), ("--out", out, OUT))
    return tuple(part for name, value, default in options if value != default for part in (name, str(value)))


def quoted(*words: str) -> str:
    """A command of the kit as a message names it."""
    return f"`{shlex.join(('kit', *words))}`"
