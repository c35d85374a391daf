"""`kit settings`: what --set and a recipe file take."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.commands.choosing import add_settings

_WIDTH = 34


def add(commands: Any) -> None:
    """Declare the command."""
    settings = commands.add_parser(
        "settings",
        help="list what --set takes, or write a recipe file of it",
        description="List every setting by the name that --set takes, with a submission's value and, where it "
        "differs, a dry run's: those that matter first with a line of help, then all others by group. With --write, "
        "a recipe file with all of them, for --config.",
    )
    add_settings(settings)
    settings.add_argument(
        "--write", type=Path, metavar="FILE",
        help="write a recipe: what --set and --config choose in force, all else as comments",
    )  # fmt: skip
    settings.set_defaults(run=settings_command)


def settings_command(args: argparse.Namespace) -> int:
    """`kit settings`: list them, or write the recipe."""
    from kit.config import flattened, replaced
    from kit.kaggle.dry_run.choices import squeezed
    from kit.recipes.recipe_file import chosen, write_recipe
    from kit.recipes.settings import Settings

    choices = chosen(args.config, args.set)
    if args.write is not None:
        write_recipe(args.write, choices)
        print(f"{args.write}: change what you like, then `kit dry-run --config {args.write}`")
        return 0
    with choices.located():
        settings = replaced(Settings(), choices.changes)
    values, in_dry_run = flattened(settings), flattened(squeezed(choices.changes) or settings)
    lines = {name: _line(name, value, in_dry_run[name]) for name, value in values.items()}
    _print_first(lines)
    _print_others(settings, lines)
    return 0


def _line(name: str, value: object, in_dry_run: object) -> tuple[str, str]:
    """A setting as it is set, and what a dry run makes of it, if that differs."""
    return f"{name}={json.dumps(value)}", "" if value == in_dry_run else f"(dry run: {json.dumps(in_dry_run)})"


def _print_first(lines: Mapping[str, tuple[str, str]]) -> None:
    from kit.recipes.settings import FIRST

    print("What matters first. `--set NAME=VALUE` changes one; `kit settings --write FILE` makes a file of all.")
    for title, helps in FIRST.items():
        print(f"\n{title}")
        for name, text in helps.items():
            set_as, in_dry_run = lines[name]
            print(f"  {set_as:<{_WIDTH}}  {text} {in_dry_run}".rstrip())


def _print_others(settings: Any, lines: Mapping[str, tuple[str, str]]) -> None:
    from kit.recipes.recipe_file import explanation, groups
    from kit.recipes.settings import FIRST

    first = {name for helps in FIRST.values() for name in helps}
    print("\nAll others, by group. What each does is said in the file that --write makes.")
    for group, config in groups(settings):
        names = [name for name in lines if name.rpartition(".")[0] == group and name not in first]
        if names:
            print(f"\n{group}: {explanation(config).partition(chr(10))[0]}")
        for name in names:
            print("  " + "  ".join(filter(None, lines[name])))
