"""What the command lines of the two shipped models share: a recipe's flags, Ctrl-C as a wish to stop, errors, the log.

In: a recipe's dataclass, a parser, an entry. Out: flags, an exit status, a line of JSON. Nothing is trained here.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from kit.errors import KitError


def add_recipe(parser: argparse.ArgumentParser, recipe: type) -> None:
    """A flag for each field of the recipe; `run_dir` has no default and is required."""
    for field in fields(recipe):
        flag = "--" + field.name.replace("_", "-")
        if field.name == "run_dir":
            parser.add_argument(flag, type=Path, required=True)
        elif isinstance(field.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=field.default)
        else:
            parser.add_argument(flag, type=type(field.default), default=field.default)


def run_command(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Call the function `run` of the command that is named, with its other options; the exit status."""
    options = vars(parser.parse_args(arguments))
    run: Callable[..., int] = options.pop("run")
    try:
        return run(**options)
    except KitError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def asked_to_stop() -> Callable[[], bool]:
    """Whether Ctrl-C or SIGTERM has come since; neither ends the process from now on."""
    stop = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stop.set())
    return stop.is_set


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """One more line of a log."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
