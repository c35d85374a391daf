"""`kit simulate`: solver and boundary, to be broken, and policies on a virtual clock, to be compared."""

from __future__ import annotations

import argparse
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.commands.progress import count_bar
from kit.config import nested
from kit.errors import EngineError, InputError

if TYPE_CHECKING:
    from kit.simulation.comparison import Interval, Row
    from kit.simulation.competition import CheckedCompetition
    from kit.simulation.recording import Recording
    from kit.simulation.shares import ComparisonPlan, ShareResult
    from kit.simulation.stress import Checked
    from kit.solver.journal import Journal

SHARES = (0.6, 0.8, 0.9, 1.0, 1.1, 1.3, math.inf)
"""Of the baseline's natural time; the competition's own is about 1, or more."""
_WIDTH = 140


def add(commands: Any) -> None:
    """Declare the command."""
    simulate = commands.add_parser(
        "simulate",
        help="check solver and boundary in random scenarios, or compare policies on recorded runs",
        description="Run the solver in virtual time. Without options: random scenarios of 1 to 200 problems with "
        "faults (crashes, hangs, slow and empty answers, a clock near its end), each checked against what must "
        "always hold; then random competitions of four seconds on a real clock, in which the boundary that Kaggle "
        "calls meets blocked loops, loads that hang, panics and processes that are killed and resumed. A failure "
        "prints its seed; --replay shows that scenario. With --compare: score, time, samples "
        "and tokens of stopping policies on the same scenarios.",
    )
    simulate.add_argument("--scenarios", type=int, default=1000, metavar="N", help="default: %(default)s")
    simulate.add_argument(
        "--competitions", type=int, default=16, metavar="N", help="8 at once, 6 s each (default: %(default)s)"
    )
    simulate.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of the first scenario and competition (default: 0)"
    )
    simulate.add_argument("--replay", type=int, metavar="SEED", help="run one random scenario and show it")
    simulate.add_argument("--compare", action="store_true", help="compare policies; the first is the baseline")
    simulate.add_argument(
        "--recording", type=Path, action="append", default=[], metavar="FILE",
        help="a CSV with problem_id, answer, gold and time_s or total_tokens, one line an attempt, or a journal.jsonl "
        "of the kit; may be given again (default: problems made up from the learned prior)",
    )  # fmt: skip
    simulate.add_argument("--gold", type=Path, metavar="CSV", help="an AIMO CSV with the answers, for journals")
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
        "--kept", type=Path, metavar="FILE",
        help="keep each replicate of a comparison in this file; the same command goes on from there",
    )  # fmt: skip
    simulate.add_argument("--policy", action="append", default=[], metavar="NAME", help="only these and the baseline")
    simulate.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE",
        help="a setting of the solver, such as width=6 or stop.rule=votes(3); adds the policy 'yours'",
    )  # fmt: skip
    simulate.add_argument("--plot", type=Path, metavar="FILE", help="draw score against time, as .svg or .png")
    simulate.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="default: one for each core"
    )
    simulate.set_defaults(run=simulate_command, goes_on=False)


def simulate_command(args: argparse.Namespace) -> int:
    """Check, replay or compare."""
    for name in ("scenarios", "replicates", "per_replicate", "processes"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} must be >= 1, got {getattr(args, name)}")
    if not 0 <= args.repeat <= 1:
        raise InputError(f"--repeat must be in [0, 1], got {args.repeat:g}")
    if args.stream_cost is not None and not args.stream_cost >= 0:
        raise InputError(f"--stream-cost must be >= 0, got {args.stream_cost:g}")
    if args.competitions < 0:
        raise InputError(f"--competitions must be >= 0, got {args.competitions}")
    if not all(share > 0 for share in args.share):
        raise InputError(f"--share must be > 0, got {', '.join(map(str, args.share))}")
    idle = [name for name in ("share", "policy", "set", "plot", "stream_cost", "kept") if getattr(args, name)]
    if idle and not args.compare:
        raise InputError(f"--{idle[0].replace('_', '-')} is for comparisons; add --compare")
    args.goes_on = args.kept is not None
    from kit.simulation.run import quiet

    quiet()
    if args.compare:
        return _compare(args)
    from kit.simulation.recording import read_runs

    recordings = [recording for run in read_runs(args.recording, gold=args.gold).values() for recording in run]
    if args.replay is not None:
        return _replay(args.replay, recordings)
    _check(args, recordings)
    if args.competitions:
        _check_competitions(range(args.seed, args.seed + args.competitions))
    return 0


def _check(args: argparse.Namespace, recordings: Sequence[Recording]) -> None:
    from kit.simulation.stress import check_scenarios

    seeds = range(args.seed, args.seed + args.scenarios)
    checked: list[Checked] = []
    with count_bar("scenarios", args.scenarios) as on_count:
        for each in check_scenarios(seeds, num_processes=args.processes, recordings=recordings):
            checked.append(each)
            on_count(len(checked))
            for violation in each.violations:
                print(f"seed {each.seed}: {violation}")
    faults = Counter(kind for each in checked for kind in each.faults)
    print(
        f"{len(checked):,} scenarios, {sum(each.num_problems for each in checked):,} problems, "
        f"{sum(each.num_samples for each in checked):,} samples, {sum(each.num_broken for each in checked):,} broken, "
        f"{sum(each.num_cancelled for each in checked):,} cancelled"
    )
    print("faults: " + ", ".join(f"{count:,} {kind}" for kind, count in sorted(faults.items())))
    bad = [each.seed for each in checked if each.violations]
    if bad:
        raise EngineError(f"{len(bad)} scenarios broke what must hold; see one again: kit simulate --replay {bad[0]}")
    print("every problem answered in range and in time, no sample lost, none starved, equal seeds equal traces")


def _check_competitions(seeds: range) -> None:
    from kit.simulation.competition import check_competitions

    checked: list[CheckedCompetition] = []
    with count_bar("competitions", len(seeds)) as on_count:
        for each in check_competitions(seeds):
            checked.append(each)
            on_count(len(checked))
            for violation in each.violations:
                print(f"competition {each.seed}: {violation}")
    faults = Counter(kind for each in checked for kind in each.faults)
    print(f"{len(checked):,} competitions on a real clock, {sum(each.num_predicts for each in checked):,} predicts")
    print("faults: " + ", ".join(f"{kind} in {count:,}" for kind, count in sorted(faults.items())))
    bad = [each.seed for each in checked if each.violations]
    if bad:
        raise EngineError(
            f"{len(bad)} competitions broke what must hold; see one again: "
            f"kit simulate --scenarios 1 --competitions 1 --seed {bad[0]}"
        )
    print("every predict answered by its share and slack, each whole by its limit, what was settled stays settled")


def _replay(seed: int, recordings: Sequence[Recording]) -> int:
    from kit.simulation.invariants import violations
    from kit.simulation.random_scenarios import random_scenario
    from kit.simulation.run import run

    outcome = run(random_scenario(seed, recordings=recordings))
    scenario = outcome.scenario
    print(f"seed {seed}: {len(scenario.recordings)} problems from {scenario.start_s:.1f} s, {scenario.budget}")
    print(scenario.solver)
    for fault in scenario.faults:
        print(f"fault: {fault.kind.value} from {fault.begin_s:.1f} to {fault.end_s:.1f} s")
    for solution in outcome.solutions:
        print(
            f"{solution.begun_s:>9.1f} s +{solution.seconds:<8.1f} of {solution.allotted_s:<8.1f} "
            f"problem {solution.problem_id:>3}: {solution.answer:>5} {solution.votes} {solution.reason.value}"
            + (f"; guessed: {solution.guess}" if solution.guess else "")
        )
    found = violations(outcome)
    print(f"ended at {outcome.ended_s:.1f} s of {scenario.budget.limit_s:.1f}; trace {outcome.trace[:16]}")
    for violation in found:
        print(f"violated: {violation}")
    return 1 if found else 0


def _compare(args: argparse.Namespace) -> int:
    from rich.console import Console

    from kit.simulation.shares import draw_last, time_at_equal_score

    plan = _plan(args)
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
    from kit.simulation.comparison import Setting, with_mixture
    from kit.simulation.policy import chosen_policies
    from kit.simulation.recording import made_up_run
    from kit.simulation.shares import ComparisonPlan
    from kit.simulation.speeds import MEASURED, linear

    policies = chosen_policies(args.policy, nested(args.set))
    pools = [
        Setting(
            name=name,
            recordings=recordings,
            share_s=math.inf,
            speeds=MEASURED if args.stream_cost is None else linear(args.stream_cost),
            repeat=args.repeat,
            num_scenarios=args.per_replicate,
        )
        for name, recordings in (_comparable(args) or {"made up": made_up_run(args.seed)}).items()
    ]
    return ComparisonPlan(
        policies=policies,
        pools=tuple(with_mixture(pools, policies[0])),
        shares=tuple(sorted(args.share or SHARES)),
        num_replicates=args.replicates,
        num_processes=args.processes,
        seed=args.seed,
    )


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
