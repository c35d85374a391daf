"""`kit simulate`: solver and boundary, to be broken, and policies on a virtual clock, to be compared."""

from __future__ import annotations

import argparse
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.commands.progress import count_bar
from kit.commands.simulated_policies import add_comparison, compare, print_own_speeds
from kit.errors import EngineError, InputError

if TYPE_CHECKING:
    from kit.simulation.competition import CheckedCompetition
    from kit.simulation.recording import Recording
    from kit.simulation.stress import Checked

_DESCRIPTION = (
    "Run the solver in virtual time. Without options: random scenarios of 1 to 200 problems with "
    "faults (crashes, hangs, slow and empty answers, a clock near its end), each checked against what must "
    "always hold; then random competitions of four seconds on a real clock, in which the boundary that Kaggle "
    "calls meets blocked loops, loads that hang, panics and processes that are killed and resumed. A failure "
    "prints its seed; --replay shows that scenario. With --compare: score, time, samples "
    "and tokens of stopping policies on the same scenarios."
)


def add(commands: Any) -> None:
    """Declare the command."""
    simulate = commands.add_parser(
        "simulate",
        help="check solver and boundary in random scenarios, or compare policies on recorded runs",
        description=_DESCRIPTION,
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
    add_comparison(simulate)
    simulate.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="default: one for each core"
    )
    simulate.set_defaults(run=simulate_command, goes_on=False)


def simulate_command(args: argparse.Namespace) -> int:
    """Check, replay or compare."""
    _check_options(args)
    args.goes_on = args.kept is not None
    from kit.simulation.run import quiet

    quiet()
    if args.compare:
        return compare(args)
    from kit.simulation.recording import read_runs

    recordings = [recording for run in read_runs(args.recording, gold=args.gold).values() for recording in run]
    print_own_speeds(args.recording)
    if args.replay is not None:
        return _replay(args.replay, recordings)
    _check(args, recordings)
    if args.competitions:
        _check_competitions(range(args.seed, args.seed + args.competitions))
    return 0


def _check_options(args: argparse.Namespace) -> None:
    for name in ("scenarios", "replicates", "per_replicate", "processes"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} must be >= 1, got {getattr(args, name)}")
    if not 0 <= args.repeat <= 1:
        raise InputError(f"--repeat must be in [0, 1], got {args.repeat:g}")
    if args.stream_cost is not None and not 0 <= args.stream_cost < math.inf:
        raise InputError(f"--stream-cost must be >= 0 and finite, got {args.stream_cost:g}")
    if args.plot:
        from kit.plots.style import picture_kind  # matplotlib is heavy

        picture_kind(args.plot)
    if args.competitions < 0:
        raise InputError(f"--competitions must be >= 0, got {args.competitions}")
    if not all(share > 0 for share in args.share):
        raise InputError(f"--share must be > 0, got {', '.join(map(str, args.share))}")
    if args.speeds_of and args.stream_cost is not None:
        raise InputError("--speeds-of and --stream-cost are two answers to one question; give one of them")
    needs_compare = ("share", "policy", "set", "plot", "stream_cost", "speeds_of", "kept")
    idle = [name for name in needs_compare if getattr(args, name) not in (None, [])]
    if idle and not args.compare:
        raise InputError(f"--{idle[0].replace('_', '-')} is for comparisons; add --compare")


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
