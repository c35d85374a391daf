"""Policies compared: score, time, samples and tokens, with paired bootstrap intervals; and time at equal score.

In: replicates (`kit.simulation.replicates`), each the same scenarios answered by every policy. Out: a row a policy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

from kit.simulation.intervals import Interval
from kit.simulation.policy import Policy
from kit.simulation.replicates import Replicate

_NUM_BOOTSTRAPS = 500
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One policy over all replicates; gain and pace are paired with the baseline's.

    gain: its score less the baseline's. pace: its seconds over the baseline's.
    """

    policy: str
    score: Interval
    seconds: Interval
    gain: Interval
    pace: Interval
    num_samples: float
    num_tokens: float
    unspent: float


def rows_of(policies: Sequence[Policy], replicates: Sequence[Replicate]) -> list[Row]:
    """One row a policy, paired with the first."""
    return [
        Row(
            policy=policy.name,
            score=Interval.of([runs[place].score for runs in replicates]),
            seconds=Interval.of([runs[place].seconds for runs in replicates]),
            gain=Interval.of([runs[place].score - runs[0].score for runs in replicates]),
            pace=Interval.of([runs[place].seconds / runs[0].seconds for runs in replicates]),
            num_samples=fmean(runs[place].num_samples for runs in replicates),
            num_tokens=fmean(runs[place].num_tokens for runs in replicates),
            unspent=fmean(runs[place].unspent for runs in replicates),
        )
        for place, policy in enumerate(policies)
    ]


def at_equal_score(
    policies: Sequence[Policy], by_share: Sequence[Sequence[Replicate]], *, seed: int = 0
) -> dict[str, Interval | None]:
    """Each policy's time to the score that the baseline has under the longest share, over the baseline's time to it.

    by_share: replicates under shares from short to long, replicate i asking the same under each. Between shares the
    best score so far is linear in time. None for a policy that gets there in fewer than half of the bootstraps of
    the replicates; the interval is of those in which it does.
    """
    rng = Random(f"equal score {seed}")
    num = len(by_share[-1])
    draws = [rng.choices(range(num), k=num) for _ in range(_NUM_BOOTSTRAPS)]
    times = [[_time_to_baseline(by_share, place, draw) for place in range(len(policies))] for draw in draws]
    return {
        policy.name: _interval_if_reached([each[place] / each[0] for each in times])
        for place, policy in enumerate(policies)
    }


def _time_to_baseline(by_share: Sequence[Sequence[Replicate]], place: int, draw: Sequence[int]) -> float:
    """Mean seconds a problem until a policy first has the baseline's last score; infinity if it never does."""
    target = fmean(by_share[-1][each][0].score for each in draw)
    curve = [
        (fmean(runs[each][place].seconds for each in draw), fmean(runs[each][place].score for each in draw))
        for runs in by_share
    ]
    return _first_time(curve, target)


def _interval_if_reached(ratios: Sequence[float]) -> Interval | None:
    reached = [ratio for ratio in ratios if math.isfinite(ratio)]
    return Interval.of(reached) if 2 * len(reached) >= len(ratios) else None


def _first_time(curve: Sequence[tuple[float, float]], target: float) -> float:
    """When the best score so far of a curve of (seconds, score) first reaches the target; infinity if it never does."""
    best_s, best = curve[0]
    if best >= target - _ROUNDING:
        return best_s
    for seconds, score in curve[1:]:
        if score >= target - _ROUNDING:
            return best_s + (seconds - best_s) * (target - best) / (score - best)
        if score > best:
            best_s, best = seconds, score
    return math.inf
