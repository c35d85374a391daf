"""Candidates for the kit's stopping and pacing against "8 attempts, stop at 4 equal", where the competition is.

    python -m benchmarks.policy_candidates RUN.csv… --candidate "price 0.4: pacing.price=0.4" … [--kept FILE]

A candidate is a name and settings of the solver (none: the kit's defaults). Gains are in problems of 50, paired by
replicate, with the middle 95 % of the replicates; each is the mean of `--per-replicate` scenarios of 50 problems. One
table a recorded run, one for the mixture (kit.simulation.mixture) and one for the mean over the runs.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from kit.config import nested, replaced
from kit.simulation.comparison import Replicate, Row, Setting, rows_of, run_all, settings_under, with_mixture
from kit.simulation.policy import BASELINE, KIT, POLICIES, Policy
from kit.simulation.recording import comparable, read_runs
from kit.simulation.run import quiet
from kit.simulation.shares import ComparisonPlan
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
        pools=pools_of(args),
        shares=tuple(args.share),
        num_replicates=args.replicates,
        num_processes=args.processes,
    )
    with Journal.open(args.kept, run=plan.head) if args.kept else nullcontext() as journal:
        by_share = {share: replicates_under(share, plan, journal) for share in plan.shares}
    for name in next(iter(by_share.values())):
        print_table(name, policies, {share: replicates[name] for share, replicates in by_share.items()})


def candidate(text: str) -> Policy:
    """The kit's policy with changes: `name: pacing.price=0.4 width=8`."""
    name, _, settings = text.partition(":")
    return Policy(name=name.strip(), solver=replaced(KIT.solver, nested(settings.split())))


def pools_of(args: argparse.Namespace) -> tuple[Setting, ...]:
    speeds = MEASURED if args.stream_cost is None else linear(args.stream_cost)
    runs = comparable(read_runs(args.runs, needs_gold=True))
    pools = [
        Setting(
            name=name,
            recordings=recordings,
            share_s=math.inf,
            speeds=speeds,
            repeat=args.repeat,
            num_scenarios=args.per_replicate,
        )
        for name, recordings in runs.items()
    ]
    return tuple(with_mixture(pools, BASELINE))


def replicates_under(share: float, plan: ComparisonPlan, journal: Journal | None) -> Mapping[str, list[Replicate]]:
    """By the pool's name, `all` for the mean over the recorded runs."""
    settings = settings_under(share, plan.pools, BASELINE)
    found = run_all(
        plan.policies,
        settings,
        num_replicates=plan.num_replicates,
        num_processes=plan.num_processes,
        journal=journal,
    )
    names = dict(zip([setting.name for setting in settings], [pool.name for pool in plan.pools], strict=True))
    return {names.get(name, name): replicates for name, replicates in found.items()}


def print_table(name: str, policies: Sequence[Policy], by_share: Mapping[float, list[Replicate]]) -> None:
    rows = {share: rows_of(policies, replicates) for share, replicates in by_share.items()}
    print(f"\n**{name}**\n")
    print("| policy | " + " | ".join("no limit" if math.isinf(share) else f"{share:g}" for share in rows) + " |")
    print("|---|" + "---|" * len(rows))
    for place, policy in enumerate(policies):
        cells = [told(of_share[place], is_baseline=place == 0) for of_share in rows.values()]
        print(f"| {policy.name} | " + " | ".join(cells) + " |", flush=True)


def told(row: Row, *, is_baseline: bool) -> str:
    """The baseline's score and unspent time, or a gain with its interval and the time beside the baseline's."""
    if is_baseline:
        return f"{NUM_PROBLEMS * row.score.mean:.1f}, {100 * row.unspent:.0f} % left"
    gain = row.gain
    low, mean, high = (NUM_PROBLEMS * each for each in (gain.low, gain.mean, gain.high))
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}] ×{row.pace.mean:.2f}"


if __name__ == "__main__":
    main()
