"""`kit settings`: what --set and a recipe file take."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.commands.choosing import add_settings

if TYPE_CHECKING:
    from kit.recipes.settings import Settings

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
    settings.add_argument(
        "--model", metavar="DIR|HUB_ID",
        help="show what this model itself says of sampling, prompt and lengths, with the source of each value",
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
    if args.model is not None:
        _print_of_model(args.model, settings, chosen=choices.places)
        return 0
    values, in_dry_run = flattened(settings), flattened(squeezed(choices.changes) or settings)
    lines = {name: _line(name, value, in_dry_run[name]) for name, value in values.items()}
    _print_first(lines)
    _print_others(settings, lines)
    return 0


def _print_of_model(model: str, settings: Settings, *, chosen: Collection[str]) -> None:
    """What the model has a say in: each setting as a run with this model has it, and where it comes from."""
    from kit.engines.hub import find_model
    from kit.engines.text.model_folder import read_facts
    from kit.models.own_values import guesses
    from kit.models.recognition import recognise
    from kit.recipes.of_model import origins

    facts = read_facts(find_model(model))
    family = recognise(facts)
    print(f"{model}: {f'family {family.name}' if family else guesses(facts)}")
    for name, (value, source) in origins(settings, facts, chosen).items():
        print(f"  {f'{name}={json.dumps(value)}':<{_WIDTH + 8}}  {source}")
    for name, told in (family.template_values if family else {}).items():
        print(f"  {f'chat template: {name}={json.dumps(told)}':<{_WIDTH + 8}}  family {family.name if family else ''}")
    print(f"  {f'context: {facts.context_tokens}':<{_WIDTH + 8}}  config.json")


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
