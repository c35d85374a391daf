"""Policies under several shares of time: what is to be run, the rows of each share, time at equal score, a picture.

In: policies, recorded runs and shares, in times of what the baseline takes without a limit. Out: rows (`comparison`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from kit.checkout import commit
from kit.simulation.comparison import Row, at_equal_score, rows_of
from kit.simulation.intervals import Interval
from kit.simulation.policy import Policy
from kit.simulation.pools import settings_under
from kit.simulation.replicates import Replicate, Setting, run_all
from kit.solver.journal import Journal, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonPlan:
    """What is compared.

    policies: the baseline first. pools: what scenarios are drawn from, each the same in all but recordings, name and
    weights. shares: math.inf for no limit. num_replicates: of each pool under each share.
    """

    policies: tuple[Policy, ...]
    pools: tuple[Setting, ...]
    shares: tuple[float, ...]
    num_replicates: int
    num_processes: int = 1
    seed: int = 0

    @property
    def num_replicates_a_share(self) -> int:
        """Over all pools."""
        return len(self.pools) * self.num_replicates

    @property
    def head(self) -> Record:
        """What replicates that are kept hang on: the policies, the pools and the code, not the shares and numbers."""
        pools = hashlib.sha256(repr(self.pools).encode()).hexdigest()
        return {
            "policies": [asdict(policy) for policy in self.policies],
            "pools": [pool.name for pool in self.pools],
            "pools_sha256": pools,
            "commit": commit(),
        }

    def __str__(self) -> str:
        num_scenarios = len(self.shares) * self.num_replicates_a_share * self.pools[0].num_scenarios
        return (
            f"comparing {len(self.policies)} policies on {', '.join(pool.name for pool in self.pools)}: "
            f"{len(self.shares)} shares of time x {self.num_replicates} replicates of {self.pools[0].num_scenarios} = "
            f"{num_scenarios:,} scenarios, each answered by every policy, on "
            f"{self.num_processes} process{'es' if self.num_processes > 1 else ''}"
        )


@dataclass(frozen=True, slots=True)
class ShareResult:
    """Policies under one share of time. rows: by the name of the setting. last: replicates of the last of them."""

    rows: Mapping[str, Sequence[Row]]
    last: Sequence[Replicate]


def replicates_under(
    share: float,
    plan: ComparisonPlan,
    *,
    journal: Journal | None = None,
    on_progress: Callable[[int], object] = lambda num_done: None,
) -> dict[str, list[Replicate]]:
    """All scenarios of one share, by the name of the setting. journal: see `run_all`. on_progress: `compare_under`."""
    return run_all(
        plan.policies,
        settings_under(share, plan.pools, plan.policies[0]),
        num_replicates=plan.num_replicates,
        seed=plan.seed,
        num_processes=plan.num_processes,
        journal=journal,
        on_progress=on_progress,
    )


def compare_under(
    share: float,
    plan: ComparisonPlan,
    *,
    journal: Journal | None = None,
    on_progress: Callable[[int], object] = lambda num_done: None,
) -> ShareResult:
    """Run all scenarios of one share. journal: see `run_all`. on_progress: told how many replicates there are."""
    replicates = replicates_under(share, plan, journal=journal, on_progress=on_progress)
    rows = {name: rows_of(plan.policies, each) for name, each in replicates.items()}
    return ShareResult(rows, list(replicates.values())[-1])


def time_at_equal_score(plan: ComparisonPlan, results: Sequence[ShareResult]) -> Mapping[str, Interval | None] | None:
    """`at_equal_score` of the last settings, shares from short to long; None for a single share."""
    return at_equal_score(plan.policies, [result.last for result in results]) if len(results) > 1 else None


def draw_last(result: ShareResult, path: Path) -> None:
    """Score against time under this share, over all settings where there are several.

    Raises: as `draw_tradeoff`.
    """
    from kit.plots.tradeoff import PolicyPoint, draw_tradeoff  # here, because it loads matplotlib

    rows = list(result.rows.values())[-1]
    points = [
        PolicyPoint(
            name=row.policy,
            seconds=row.seconds.mean,
            seconds_low=row.seconds.low,
            seconds_high=row.seconds.high,
            score=row.score.mean,
            score_low=row.score.low,
            score_high=row.score.high,
            is_baseline=row is rows[0],
        )
        for row in rows
    ]
    draw_tradeoff(points, path)
