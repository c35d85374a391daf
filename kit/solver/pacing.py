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
    price: gain, in probability of a right answer, that one attempt's duration must promise where time is short.
    short, ample: even shares of the remaining time, in mean attempts of the competition: up to `short` the price is
    whole, from `ample` on it is nothing, and linear between. full_width: such a share from which on attempts run at
    full width; below it they are fewer, by the square of the share.
    prior_attempts: how many attempts the competition's mean duration counts for beside a problem's own.
    competition_prior: how many attempts the first thought of a competition, an ample share, counts for beside those
    that it has seen. review_s: how often a vote is looked at again while no attempt ends.
    Raises: InputError for a value outside its range.
    """

    kind: Literal["value", "off"] = "value"
    price: float = 0.2
    short: float = 0.4
    ample: float = 0.65
    full_width: float = 0.7
    prior_attempts: float = 2.0
    competition_prior: float = 16.0
    review_s: float = 5.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("price", self.price >= 0, ">= 0"),
                ("short", self.short >= 0, ">= 0"),
                ("ample", self.ample > self.short, f"above short ({self.short:g})"),
                ("full_width", self.full_width >= 0, ">= 0 (0: always)"),
                ("prior_attempts", self.prior_attempts > 0, "> 0"),
                ("competition_prior", self.competition_prior > 0, "> 0"),
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


@dataclass(frozen=True, slots=True)
class Worth:
    """What going on with a problem promises, and what it must.

    gain: the most that further attempts raise the chance that the leader is right, for each of them. price: what the
    time of one attempt is worth elsewhere, in the same unit.
    """

    gain: float
    price: float

    @property
    def is_enough(self) -> bool:
        """Whether to go on."""
        return self.gain >= self.price


class Pacer:
    """Weighs gain against time; learns over the competition how long attempts take."""

    def __init__(self, config: PacingConfig, model: VoteModel = LEARNED) -> None:
        self._config = config
        self._model = model
        self._num_ended = 0
        self._running_s = 0.0
        self._num_whole = 0
        self._whole_s = 0.0

    def note(self, *, num_ended: int, running_s: float, num_whole: int = 0, whole_s: float = 0.0) -> None:
        """Learn from a problem that is done.

        num_ended: attempts that ended, for want of time or not. running_s: seconds that all its attempts ran.
        num_whole, whole_s: attempts that no limit ended, and the seconds that these ran.
        """
        self._num_ended += num_ended
        self._running_s += running_s
        self._num_whole += num_whole
        self._whole_s += whole_s

    def pace_s(self, share_s: float) -> float:
        """How long an attempt takes that no limit ends, by the mean of those that were seen.

        Nearly an even share before any was begun; without end while none of those begun has ended.
        """
        if self._num_whole:
            return self._whole_s / self._num_whole
        return math.inf if self._running_s else _FIRST_PACE * share_s

    def num_slots(self, width: int, *, share_s: float) -> int:
        """How many of `width` attempts to have in flight, at most: fewer, each of them faster, where time is short."""
        if self._config.kind == "off" or not self._config.full_width:
            return width
        spacious = share_s / self._thought_s(share_s) / self._config.full_width
        return width if spacious >= 1 else min(width, max(_FEWEST, round(width * spacious**2)))

    def mean_attempt_s(self, progress: Progress) -> float:
        """How long an attempt of this problem takes, seconds.

        The posterior mean of an exponential duration, so that attempts which run on without ending lengthen it.
        """
        prior = self._config.prior_attempts
        seconds = prior * self._thought_s(progress.share_s) + progress.running_s
        return max(_LEAST_S, seconds / (prior + progress.num_ended))

    def competition_mean_s(self, progress: Progress) -> float:
        """How long an attempt of the competition takes, this problem's included, seconds."""
        return self._thought_s(progress.share_s, num_ended=progress.num_ended, running_s=progress.running_s)

    def _thought_s(self, share_s: float, *, num_ended: int = 0, running_s: float = 0.0) -> float:
        """What is thought of an attempt after those of the problems before, and these.

        The first thought of a competition is that its time is ample: it acts on scarcity that it has seen.
        """
        prior = self._config.competition_prior
        seconds = prior * share_s / _FIRST_SHARE + self._running_s + running_s
        return max(_LEAST_S, seconds / (prior + self._num_ended + num_ended))

    def is_worth_more(self, progress: Progress) -> bool:
        """Whether going on promises at least what the time would bring elsewhere."""
        return self._config.kind == "off" or self.worth(progress).is_enough

    def worth(self, progress: Progress) -> Worth:
        """What the next attempt promises and what its time is worth elsewhere, both in probability of a right answer.

        Until an attempt ends the gain stays, and the price does not fall.
        """
        vote_s = self.mean_attempt_s(progress) / max(1, progress.num_running)
        mean_s = self.competition_mean_s(progress)
        price = self._price(progress.share_s / mean_s) * vote_s / mean_s
        return Worth(gain=self._model.best_rate(progress.shape, progress.num_left), price=price)

    def _price(self, share: float) -> float:
        """Of one attempt's duration. share: the even share of the remaining time, in mean attempts."""
        config = self._config
        return config.price * min(1.0, max(0.0, (config.ample - share) / (config.ample - config.short)))


_FIRST_SHARE = 0.75
"""Of an attempt, that an even share is at first thought to be: where "8 attempts, 4 equal" takes its natural time, it
is about 0.7 in the recorded runs."""
_FIRST_PACE = 0.95
"""Of an even share, that an attempt is at first thought to take: the first of fifty problems may then take three
shares, and the first of eight a third more than its own. With a whole one each first problem would be held to its own,
which costs 0.04 of 50 problems where time is ample (benchmarks/results/policies_2026-11-26.md)."""
_FEWEST = 2  # attempts at once: one alone would tell nothing of how sure it is
_LEAST_S = 1e-3  # nothing that is sampled is quicker, and nothing is divided by zero
