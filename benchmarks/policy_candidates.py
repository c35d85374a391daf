"""Candidates for the kit's stopping and pacing against "8 attempts, stop at 4 equal", where the competition is.

    python -m benchmarks.policy_candidates RUN.csv… --candidate "price 0.4: pacing.price=0.4" … [--kept FILE]

A candidate is a name and settings of the solver (none: the kit's defaults). Gains are in problems of 50, paired by
replicate, with the middle 95 % of the replicates; each is the mean of `--per-replicate` scenarios of 50 problems. One
table a recorded run, one for the mixture (kit.simulation.mixture) and one for the mean over the runs; behind them, for
each recorded run, which candidate the other runs alone would have chosen, and what it gains on the one left out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import fmean

from kit.config import nested, replaced
from kit.simulation.comparison import Row, rows_of
from kit.simulation.policy import BASELINE, KIT, POLICIES, Policy
from kit.simulation.pools import MIXTURE, pools_of, settings_under
from kit.simulation.recording import comparable, read_runs
from kit.simulation.replicates import Replicate
from kit.simulation.run import quiet
from kit.simulation.shares import ComparisonPlan, replicates_under
from kit.simulation.speeds import MEASURED, linear
from kit.solver.journal import Journal

SHARES = (0.6, 0.8, 0.9, 1.0, 1.1, 1.3, math.inf)
NUM_PROBLEMS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--candidate", action="append", default=[], metavar="NAME[: SETTING=VALUE …]")
    parser.add_argument("--policy", action="append", default=[], metavar="NAME", help="of `kit simulate --compare`")
    parser.add_argument("--share", type=float, nargs="+", default=list(SHARES))
    parser.add_argument("--replicates", type=int, default=40)
    parser.add_argument("--per-replicate", type=int, default=2)
    parser.add_argument("--repeat", type=float, default=0.1)
    parser.add_argument("--stream-cost", type=float, default=None)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--kept", type=Path, default=None)
    args = parser.parse_args()
    quiet()
    policies = (BASELINE, *(each for each in POLICIES if each.name in args.policy), *map(candidate, args.candidate))
    plan = ComparisonPlan(
        policies=policies,
        pools=pools_of(
            comparable(read_runs(args.runs, needs_gold=True)),
            BASELINE,
            speeds=MEASURED if args.stream_cost is None else linear(args.stream_cost),
            repeat=args.repeat,
            num_scenarios=args.per_replicate,
        ),
        shares=tuple(args.share),
        num_replicates=args.replicates,
        num_processes=args.processes,
    )
    with Journal.open(args.kept, run=plan.head) if args.kept else nullcontext() as journal:
        by_share = {share: by_pool_under(share, plan, journal) for share in plan.shares}
    by_pool = {
        name: {share: replicates[name] for share, replicates in by_share.items()}
        for name in next(iter(by_share.values()))
    }
    for name, replicates in by_pool.items():
        print_table(name, policies, replicates)
    recorded = {name: gains_of(policies, by_pool[name]) for name in by_pool if name not in (MIXTURE, "all")}
    if len(recorded) > 1:
        print_chosen_without(recorded, [policy.name for policy in policies[-len(args.candidate) :]])


def candidate(text: str) -> Policy:
    """The kit's policy with changes: `name: pacing.price=0.4 width=8`."""
    name, _, settings = text.partition(":")
    return Policy(name=name.strip(), solver=replaced(KIT.solver, nested(settings.split())))


def by_pool_under(share: float, plan: ComparisonPlan, journal: Journal | None) -> Mapping[str, list[Replicate]]:
    """By the pool's name, `all` for the mean over the recorded runs."""
    settings = settings_under(share, plan.pools, BASELINE)
    names = dict(zip([setting.name for setting in settings], [pool.name for pool in plan.pools], strict=True))
    found = replicates_under(share, plan, journal=journal)
    return {names.get(name, name): replicates for name, replicates in found.items()}


def print_table(name: str, policies: Sequence[Policy], by_share: Mapping[float, list[Replicate]]) -> None:
    rows = {share: rows_of(policies, replicates) for share, replicates in by_share.items()}
    print(f"\n**{name}**\n")
    print("| policy | " + " | ".join(map(_of_share, rows)) + " |")
    print("|---|" + "---|" * len(rows))
    for place, policy in enumerate(policies):
        cells = [told(of_share[place], is_baseline=place == 0) for of_share in rows.values()]
        print(f"| {policy.name} | " + " | ".join(cells) + " |", flush=True)


Gains = Mapping[str, Mapping[float, float]]
"""Of each policy under each share, in problems of NUM_PROBLEMS over the baseline."""


def gains_of(policies: Sequence[Policy], by_share: Mapping[float, list[Replicate]]) -> Gains:
    rows = {share: rows_of(policies, replicates) for share, replicates in by_share.items()}
    return {
        policy.name: {share: NUM_PROBLEMS * of[place].gain.mean for share, of in rows.items()}
        for place, policy in enumerate(policies)
    }


def worth(gains: Mapping[float, float]) -> float:
    """What a policy is chosen by: its gains, those at the competition's own shares and beyond twice, less ten times
    what any falls below the baseline."""
    finite = {share: gain for share, gain in gains.items() if math.isfinite(share)}
    whole = math.fsum(gain * (2 if share >= 1 else 1) for share, gain in finite.items())
    return whole - 10 * math.fsum(max(0.0, -gain) for gain in gains.values())


def chosen_without(run: str, gains_by_run: Mapping[str, Gains], candidates: Sequence[str]) -> str:
    """The candidate that is worth most on the mean over the other runs; of equals the first."""
    others = [gains for name, gains in gains_by_run.items() if name != run]

    def mean_worth(candidate: str) -> float:
        return worth({share: fmean(gains[candidate][share] for gains in others) for share in others[0][candidate]})

    return max(candidates, key=mean_worth)


def print_chosen_without(gains_by_run: Mapping[str, Gains], candidates: Sequence[str]) -> None:
    shares = next(iter(gains_by_run.values()))[candidates[0]]
    print(f"\n**chosen without each run** (in brackets: {candidates[0]})\n")
    print("| left out | chosen | " + " | ".join(map(_of_share, shares)) + " |\n|---|---|" + "---|" * len(shares))
    for run, gains in gains_by_run.items():
        chosen = chosen_without(run, gains_by_run, candidates)
        cells = [f"{gains[chosen][share]:+.1f} ({gains[candidates[0]][share]:+.1f})" for share in shares]
        print(f"| {run} | {chosen} | " + " | ".join(cells) + " |")


def _of_share(share: float) -> str:
    return "no limit" if math.isinf(share) else f"{share:g}"


def told(row: Row, *, is_baseline: bool) -> str:
    """The baseline's score and unspent time, or a gain with its interval and the time beside the baseline's."""
    if is_baseline:
        return f"{NUM_PROBLEMS * row.score.mean:.1f}, {100 * row.unspent:.0f} % left"
    gain = row.gain
    low, mean, high = (NUM_PROBLEMS * each for each in (gain.low, gain.mean, gain.high))
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}] ×{row.pace.mean:.2f}"


if __name__ == "__main__":
    main()
