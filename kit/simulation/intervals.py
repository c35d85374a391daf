"""The middle 95 % of bootstraps, with their mean or alone.

In: one value a bootstrap. Out: its ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over the replicates and the middle 95 % of them; of 40 or fewer, nearly their least and greatest."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """Percentile bootstrap, one value a replicate."""
        ranked = sorted(values)
        low, high = middle(ranked)
        return cls(mean=math.fsum(ranked) / len(ranked), low=low, high=high)


def middle(values: Sequence[float]) -> tuple[float, float]:
    """The ends of the middle 95 %."""
    ranked, last = sorted(values), len(values) - 1
    return ranked[round(0.025 * last)], ranked[round(0.975 * last)]
