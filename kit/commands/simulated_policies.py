"""`kit simulate --compare`: policies on a virtual clock, and what a stream costs where a journal was written."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.commands.progress import count_bar
from kit.config import nested
from kit.errors import InputError

if TYPE_CHECKING:
    from kit.simulation.comparison import Row
    from kit.simulation.intervals import Interval
    from kit.simulation.own_speeds import OwnSpeeds
    from kit.simulation.recording import Recording
    from kit.simulation.shares import ComparisonPlan, ShareResult
    from kit.simulation.speeds import StreamSpeeds
    from kit.solver.journal import Journal

SHARES = (0.6, 0.8, 0.9, 1.0, 1.1, 1.3, math.inf)
"""Of the baseline's natural time; the competition's own is about 1, or more."""
_WIDTH = 140


def add_comparison(simulate: argparse.ArgumentParser) -> None:
    """Declare the options of `--compare`."""
    simulate.add_argument(
        "--share", type=float, action="append", default=[], metavar="X",
        help="the scenario's time for each problem, in times of what the baseline takes without a limit; may be given "
        "again (default: 0.6, 0.8, 0.9, 1, 1.1, 1.3 and no limit)",
    )  # fmt: skip
    simulate.add_argument(
        "--replicates",
        type=int,
        default=40,
        metavar="R",
        help="bootstraps a recording and share (default: %(default)s)",
    )
    simulate.add_argument(
        "--per-replicate", type=int, default=2, metavar="N",
        help="scenarios whose mean is one replicate: more take the luck of a single one out of the intervals "
        "(default: %(default)s)",
    )  # fmt: skip
    simulate.add_argument(
        "--repeat", type=float, default=0.1, metavar="P",
        help="how often a wrong answer that was given once is given again by another attempt (default: %(default)s)",
    )  # fmt: skip
    simulate.add_argument(
        "--stream-cost", type=float, metavar="C",
        help="what each stream adds to a step, as a share of a lone stream's (default: a table measured on an H100)",
    )  # fmt: skip
    simulate.add_argument(
        "--speeds-of", type=Path, metavar="FILE",
        help="a journal.jsonl or a run of `kit eval`: speeds of a stream as on its machine, which are printed for each "
        "--recording that tells them",
    )  # fmt: skip
    simulate.add_argument(
        "--kept", type=Path, metavar="FILE",
        help="keep each replicate of a comparison in this file; the same command goes on from there",
    )  # fmt: skip
    simulate.add_argument("--policy", action="append", default=[], metavar="NAME", help="only these and the baseline")
    simulate.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE",
        help="a setting of the solver, such as width=6 or stop.rule=votes(3); adds the policy 'yours'",
    )  # fmt: skip
    simulate.add_argument("--plot", type=Path, metavar="FILE", help="draw score against time, as .svg or .png")


def print_own_speeds(paths: Sequence[Path]) -> None:
    """Of each journal the speeds of a stream on its machine, or why it cannot tell them."""
    from kit.simulation.own_speeds import speeds_in

    for path in paths:
        if path.suffix == ".csv":  # which has no times at which attempts began
            continue
        try:
            own = speeds_in(path)
        except InputError as error:
            print(error)
            continue
        _print_speeds(path, own)


def compare(args: argparse.Namespace) -> int:
    """Policies under shares of time, a table for each recording and share."""
    from rich.console import Console

    from kit.simulation.shares import draw_last, time_at_equal_score

    plan = _plan(args)
    print_own_speeds(args.recording)
    print(plan, flush=True)
    with _kept(args.kept, plan) as journal:
        results = _results(plan, journal)
    if (times := time_at_equal_score(plan, results)) is not None:
        Console(width=_WIDTH).print(_equal_score_table(times))
    if args.plot:
        draw_last(results[-1], args.plot)
        print(f"drawn: {args.plot}")
    return 0


def _results(plan: ComparisonPlan, journal: Journal | None) -> list[ShareResult]:
    """The shares in turn, each printed as it is done."""
    from rich.console import Console

    from kit.simulation.shares import compare_under

    results = []
    for number, share in enumerate(plan.shares, start=1):
        with count_bar(f"share {number} of {len(plan.shares)}", plan.num_replicates_a_share) as on_count:
            results.append(compare_under(share, plan, journal=journal, on_progress=on_count))
        for name, rows in results[-1].rows.items():
            Console(width=_WIDTH).print(_table(name, rows))
    return results


def _kept(path: Path | None, plan: ComparisonPlan) -> AbstractContextManager[Journal | None]:
    """Where replicates are kept."""
    from kit.solver.journal import Journal

    return nullcontext() if path is None else Journal.open(path, run=plan.head)


def _plan(args: argparse.Namespace) -> ComparisonPlan:
    from kit.simulation.policy import chosen_policies
    from kit.simulation.pools import pools_of
    from kit.simulation.recording import made_up_run
    from kit.simulation.shares import ComparisonPlan

    speeds = _speeds(args)
    policies = chosen_policies(args.policy, nested(args.set))
    return ComparisonPlan(
        policies=policies,
        pools=pools_of(
            _comparable(args) or {"made up": made_up_run(args.seed)},
            policies[0],
            speeds=speeds,
            repeat=args.repeat,
            num_scenarios=args.per_replicate,
        ),
        shares=tuple(sorted(args.share or SHARES)),
        num_replicates=args.replicates,
        num_processes=args.processes,
        seed=args.seed,
    )


def _speeds(args: argparse.Namespace) -> StreamSpeeds:
    from kit.simulation.own_speeds import speeds_in
    from kit.simulation.speeds import MEASURED, linear

    if args.speeds_of:
        return speeds_in(args.speeds_of).stream_speeds
    return MEASURED if args.stream_cost is None else linear(args.stream_cost)


def _comparable(args: argparse.Namespace) -> Mapping[str, tuple[Recording, ...]]:
    """The recorded runs; says which problems are left out."""
    from kit.simulation.recording import LEAST_ATTEMPTS, comparable, read_runs

    runs = read_runs(args.recording, gold=args.gold, needs_gold=True)
    kept = comparable(runs)
    for name, run in runs.items():
        if len(kept[name]) < len(run):
            print(f"{name}: {len(run) - len(kept[name])} problems of under {LEAST_ATTEMPTS} attempts are left out")
    return kept


def _table(name: str, rows: Sequence[Row]) -> Any:
    from rich.table import Table

    table = Table(title=name, title_justify="left", box=None, pad_edge=False)
    table.add_column("policy")
    for head in ("score %", "gain (95 %)", "time ratio (95 %)", "seconds", "samples", "tokens", "left %"):
        table.add_column(head, justify="right")
    for row in rows:
        table.add_row(
            row.policy,
            f"{100 * row.score.mean:.1f}",
            f"{100 * row.gain.mean:+.1f} [{100 * row.gain.low:+.1f}, {100 * row.gain.high:+.1f}]",
            f"{row.pace.mean:.2f} [{row.pace.low:.2f}, {row.pace.high:.2f}]",
            f"{row.seconds.mean:.2f}" if name.startswith("all") else f"{row.seconds.mean:.0f}",
            f"{row.num_samples:.1f}",
            f"{row.num_tokens:,.0f}",
            "" if name.endswith("no limit") else f"{100 * row.unspent:.0f}",
        )
    return table


def _equal_score_table(times: Mapping[str, Interval | None]) -> Any:
    from rich.table import Table

    table = Table(
        title="time to the baseline's score under the longest share", title_justify="left", box=None, pad_edge=False
    )
    table.add_column("policy")
    table.add_column("time ratio (95 %)", justify="right")
    for name, time in times.items():
        table.add_row(name, "not reached" if time is None else f"{time.mean:.2f} [{time.low:.2f}, {time.high:.2f}]")
    return table


def _print_speeds(path: Path, own: OwnSpeeds) -> None:
    from rich.console import Console
    from rich.table import Table

    print(f"{path}: the speed of a stream by streams at once, of {own.num_attempts:,} attempts")
    table = Table(box=None, pad_edge=False)
    for head in ("streams", "attempts", "tokens/s of each (95 %)"):
        table.add_column(head, justify="right")
    for each in own.figures:
        streams = f"{each.first}" if each.first == each.last else f"{each.first}–{each.last}"
        speed = f"{each.speed:.4g} [{each.low:.4g}, {each.high:.4g}]"
        table.add_row(streams, f"{each.num_attempts:.0f}", speed)
    Console(width=_WIDTH).print(table)
    relative = ", ".join(f"{speed:.2f}" for speed in own.stream_speeds.relative)
    print(
        f"by a straight line each stream adds {own.cost:.2f} [{own.cost_low:.2f}, {own.cost_high:.2f}] of a lone "
        "stream's step"
    )
    print(f"--speeds-of takes, for 1 to 8 streams, over the speed of one of 8: {relative}")
