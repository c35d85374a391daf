"""`kit completion`: a script by which a shell completes commands, options, choices and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kit.errors import MissingError

_FOLDERS = ("DIR", "DIR|HUB_ID")  # the metavars of options that take a folder, or may


def add(commands: Any) -> None:
    """Declare the command."""
    completion = commands.add_parser(
        "completion",
        help="print a script for a shell's completion",
        description="Print a script by which a shell completes commands, options, choices and files. "
        'bash: put `eval "$(kit completion bash)"` into ~/.bashrc. zsh: `kit completion zsh > DIR/_kit`, with DIR one '
        "of $fpath. Needs shtab: pip install 'mathllm-kit[completion]'.",
    )
    completion.add_argument("shell", choices=("bash", "zsh"), help="whose script")
    completion.set_defaults(run=completion_command)


def completion_command(args: argparse.Namespace) -> int:
    """`kit completion`. Raises: MissingError without shtab."""
    try:
        import shtab
    except ModuleNotFoundError:
        raise MissingError("kit completion needs shtab; pip install 'mathllm-kit[completion]'") from None
    for action in _of_paths(args.parser):
        action.complete = shtab.DIRECTORY if action.metavar in _FOLDERS else shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(args.parser, shell=args.shell))
    return 0


def _of_paths(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option and argument that takes a path, those of the commands too."""
    for action in parser._actions:
        if action.type is Path or action.metavar in _FOLDERS:
            yield action
        elif isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _of_paths(command)
