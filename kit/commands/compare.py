"""`kit compare`: two evaluations on the problems that both asked."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.commands.report import names_of
from kit.errors import InputError

if TYPE_CHECKING:
    from kit.evaluation.comparison import Comparison

_MOST_SHOWN = 20
_GRADINGS = ("strict", "lenient")  # kit.evaluation.metrics.Grading, which imports numpy


def add(commands: Any) -> None:
    """Declare the command."""
    compare = commands.add_parser(
        "compare",
        help="compare two evaluations pair by pair",
        description="Compare two runs of `kit eval` on the problems that both asked: the gain in accuracy with its "
        "paired 95 % interval, McNemar's exact test, and the problems that one has right and the other wrong. The same "
        "folder twice with two depths compares these.",
    )
    compare.add_argument("first", type=Path, metavar="A", help="the folder of a run")
    compare.add_argument("second", type=Path, metavar="B", help="the folder of the run that may be better")
    compare.add_argument("--grade", choices=_GRADINGS, default=_GRADINGS[0], help="default: %(default)s")
    compare.add_argument(
        "--depth", type=_depths, default=(None, None), metavar="T[,T]",
        help="the depth of both, or of A and of B; needed for a run with several",
    )  # fmt: skip
    compare.add_argument("--json", action="store_true", help="print the whole comparison as JSON")
    compare.set_defaults(run=compare_command)


def compare_command(args: argparse.Namespace) -> int:
    """`kit compare`. Raises: as `read_run` and `compare`."""
    from kit.evaluation.comparison import compare
    from kit.evaluation.metrics import Grading
    from kit.evaluation.reading import read_run

    first, second = read_run(args.first), read_run(args.second)
    try:
        found = compare(first, second, grading=Grading(args.grade), depths=args.depth)
    except InputError as error:
        raise InputError(f"{args.first} and {args.second}: {error}") from None
    if args.json:
        print(json.dumps(found.as_json(), indent=1))
    else:
        _print(found, names_of([args.first, args.second]))
    return 0


def _depths(text: str) -> tuple[int, int]:
    """`3` or `3,5` as the depths of A and B."""
    parts = text.split(",")
    if not 1 <= len(parts) <= 2 or not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"expected one depth or two, as in 3 or 3,5, got {text!r}")
    return int(parts[0]), int(parts[-1])


def _print(found: Comparison, names: list[str]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    first, second = _sides(found, names)
    for warning in found.warnings:
        console.print(Text(f"warning: {warning}", "yellow"), soft_wrap=True)
    console.print(Text(f"{found.num_problems} problems, {found.grading.value} grade"))
    console.print(Text(f"A: {first}: {100 * found.first:.1f} %"), soft_wrap=True)
    console.print(Text(f"B: {second}: {100 * found.second:.1f} %"), soft_wrap=True)
    gain = found.gain
    told = f"B less A: {100 * gain.value:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    console.print(Text(f"{told}, McNemar's exact p = {found.p_value:.3g}"), soft_wrap=True)
    counts = f"right by both {found.num_both_right}, by A alone {found.num_first_only}"
    console.print(
        Text(f"{counts}, by B alone {found.num_second_only}, by neither {found.num_both_wrong}"), soft_wrap=True
    )
    if found.discordant:
        console.print(_table(found))


def _sides(found: Comparison, names: list[str]) -> tuple[str, str]:
    depths = (found.first_depth, found.second_depth)
    first, second = (
        name if depth is None else f"{name}, T = {depth}" for name, depth in zip(names, depths, strict=True)
    )
    return first, second


def _table(found: Comparison) -> Any:
    """The discordant problems, those that A alone has right first."""
    from rich.table import Table
    from rich.text import Text

    rows = sorted(found.discordant, key=lambda each: not each.is_first_right)
    hidden = f"; the first {_MOST_SHOWN} of {len(rows)}, all with --json" if len(rows) > _MOST_SHOWN else ""
    table = Table(title=f"right by one alone{hidden}", title_justify="left")
    for name in ("problem", "right by", "gold", "A", "B"):
        table.add_column(name, overflow="fold")
    for each in rows[:_MOST_SHOWN]:
        cells = (each.problem, "A" if each.is_first_right else "B", each.gold, each.first_answer, each.second_answer)
        table.add_row(*(Text("–" if cell is None else cell[:60]) for cell in cells))
    return table
