"""A stop rule that has seen votes before: enough once all the attempts left promise hardly anything.

In and out: as `kit.stopping`; what it has seen is `kit.vote_model.LEARNED`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kit.errors import check_fields
from kit.stopping import VoteHistory
from kit.vote_model import LEARNED, Shape, horizons


@dataclass(frozen=True, slots=True)
class LearnedPrior:
    """No number of the attempts left raises the chance that the leader is right by more than the tolerance.

    Its own statement is Bayesian: on problems like those it learned from, stopping costs at most `tolerance` of a
    problem's score on the average, each time it stops, against drawing everything.
    Source: the idea of arXiv 2602.05395; the prior is ours, see kit.vote_model.
    """

    tolerance: float

    def __post_init__(self) -> None:
        check_fields(self, (("tolerance", 0 < self.tolerance < 1, "in (0, 1)"),))

    def is_enough(self, history: VoteHistory) -> bool:
        """Whether the best that is left to gain is within the tolerance; never before the first vote."""
        shape = Shape.of(history.answers)
        if not shape.counts:
            return False
        return all(LEARNED.gain(shape, num) <= self.tolerance for num in horizons(history.num_remaining))

    def error_bound(self, mode: float, rivals: Sequence[float]) -> None:
        """None: it answers for the average over problems, not for the worst one."""

    def __str__(self) -> str:
        return f"learned({self.tolerance!r})"
