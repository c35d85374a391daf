"""What a second is worth: whether the next vote on this problem is worth more than the same time elsewhere.

Gain comes from the learned prior (kit.voting.learned): by how much further votes raise the chance that the
leader is right. Time comes from the attempts themselves: how long they take here, given how long the ones
in flight have run already. The price of a second rises as the queue's share of time shrinks.
Pure bookkeeping; the solver asks, and the hard limits are kit.budget's.

Source: optimal allocation sells every second at one price, the Lagrange multiplier of the time limit (as in
arXiv 2506.12721 for sampling budgets). The price curve is ours, fitted on recorded competitions
(benchmarks/results/policies_*.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from kit.errors import check_fields
from kit.voting.learned import LEARNED, Shape, VoteModel


@dataclass(frozen=True, slots=True, kw_only=True)
class PacingConfig:
    """How a problem's worth is weighed against the queue's.

    kind: `value` stops where time is worth more elsewhere; `off` leaves stopping to the rule and the limits.
    price: gain, in probability of a right answer, that one attempt's duration must promise when there is no time
    to share at all. decay: how fast the price falls: by e^-decay for each attempt's duration that the even share
    of the remaining time is long. prior_attempts: how many attempts the competition's mean duration counts for beside a
    problem's own. review_s: how often a vote is looked at again while no attempt ends.
    Raises: InputError for a value outside its range.
    """

    kind: Literal["value", "off"] = "value"
    price: float = 0.8
    decay: float = 2.6
    prior_attempts: float = 2.0
    review_s: float = 5.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("price", self.price >= 0, ">= 0"),
                ("decay", self.decay >= 0, ">= 0"),
                ("prior_attempts", self.prior_attempts > 0, "> 0"),
                ("review_s", self.review_s > 0, "> 0"),
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How one problem stands.

    shape: of the votes. num_left: attempts that may still end. num_running: those in flight.
    num_ended, running_s: attempts that ended, and the seconds that all attempts have run, in flight or ended.
    share_s: the even share of the competition's remaining time.
    """

    shape: Shape
    num_left: int
    num_running: int
    num_ended: int
    running_s: float
    share_s: float


class Pacer:
    """Weighs gain against time; learns over the competition how long attempts take."""

    def __init__(self, config: PacingConfig, model: VoteModel = LEARNED) -> None:
        self._config = config
        self._model = model
        self._num_ended = 0
        self._running_s = 0.0

    def note(self, *, num_ended: int, running_s: float) -> None:
        """Learn from a problem that is done: attempts that ended, and seconds that all its attempts ran."""
        self._num_ended += num_ended
        self._running_s += running_s

    def num_slots(self, width: int, *, share_s: float) -> int:
        """How many of `width` attempts to have in flight, at most.

        Fewer are each faster: where an even share is not long enough for a mean attempt at full width and half of
        another, they are as many fewer, and two at the least.
        """
        if self._config.kind == "off" or not self._num_ended:
            return width
        mean_s = self._mean_s(share_s, self._num_ended, self._running_s)
        return min(width, max(2, round(width * share_s / (_SPACIOUS * mean_s))))

    def mean_attempt_s(self, progress: Progress) -> float:
        """How long an attempt of this problem takes, seconds.

        The posterior mean of an exponential duration, so that attempts which run on without ending lengthen it.
        """
        return self._mean_s(self._past_mean_s(progress), progress.num_ended, progress.running_s)

    def competition_mean_s(self, progress: Progress) -> float:
        """How long an attempt of the competition takes, this problem's included, seconds."""
        num_ended, running_s = self._num_ended + progress.num_ended, self._running_s + progress.running_s
        return self._mean_s(progress.share_s, num_ended, running_s)

    def _past_mean_s(self, progress: Progress) -> float:
        return self._mean_s(progress.share_s, self._num_ended, self._running_s)

    def _mean_s(self, prior_s: float, num_ended: int, running_s: float) -> float:
        """What is thought after `num_ended` attempts in `running_s` seconds of what was thought before.

        The first thought of a competition is that an attempt takes an even share.
        """
        prior = self._config.prior_attempts
        return max(_LEAST_S, (prior * prior_s + running_s) / (prior + num_ended))

    def is_worth_more(self, progress: Progress) -> bool:
        """Whether going on promises at least what the time would bring elsewhere."""
        if self._config.kind == "off":
            return True
        vote_s = self.mean_attempt_s(progress) / max(1, progress.num_running)
        mean_s = self.competition_mean_s(progress)
        price_per_s = self._config.price * math.exp(-self._config.decay * progress.share_s / mean_s) / mean_s
        return self._model.best_rate(progress.shape, progress.num_left) >= price_per_s * vote_s


_SPACIOUS = 1.5
_LEAST_S = 1e-3  # nothing that is sampled is quicker, and nothing is divided by zero
