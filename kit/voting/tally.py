"""Counts votes: who leads, by how much, and whether more samples could change it.

Pure and deterministic: a tally is the same for every order of its votes, and ties are broken by
rule. Does not know engines, time or text.

Ties: higher total weight first, then more votes, then more pieces of code run on the way, then the LARGER answer,
and never the order in which the attempts ended. More code is the one recorded signal that tells right from wrong within
a problem (AUC 0.61, on unseen runs 0.64 [0.59, 0.71]; as a tie-break +0.5 points [0.0, 1.3], +2 on runs with tools).
Small integers and zero are what a confused model falls back on, so between equals the larger is the better bet (the
second place of AIMO2 weighs answers up to 20 by 0.6 for the same reason: docs/peers.md#second-place-of-aimo2).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

MIN_WEIGHT = 0.75
MAX_WEIGHT = 1.25
"""Bounds of one vote's weight. Two votes of the least weight (1.5) beat one of the most (1.25), so no
single confident attempt outvotes even two others (the entropy-weighted winners' notebooks lose votes
to one outlier: docs/peers.md#outliers)."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One sample's answer. weight: within [MIN_WEIGHT, MAX_WEIGHT]. num_calls: pieces of code that it ran."""

    answer: int
    weight: float = 1.0
    num_calls: int = 0

    def __post_init__(self) -> None:
        assert MIN_WEIGHT <= self.weight <= MAX_WEIGHT, self.weight


@dataclass(frozen=True, slots=True)
class Standing:
    """One candidate answer: how many votes it has, their total weight and the pieces of code behind them."""

    answer: int
    num_votes: int
    weight: float
    num_calls: int = 0


class TieBreak(StrEnum):
    """What decided between two answers with equally many votes."""

    NONE = ""  # nothing had to
    WEIGHT = "the greater weight"
    CALLS = "more code run"
    LARGER = "the larger answer"


@dataclass(frozen=True, slots=True)
class Tally:
    """All candidates, best first by the module's tie rule."""

    standings: tuple[Standing, ...]

    @property
    def num_votes(self) -> int:
        """Votes cast so far."""
        return sum(standing.num_votes for standing in self.standings)

    @property
    def leader(self) -> Standing | None:
        """The best candidate; None before the first vote."""
        return self.standings[0] if self.standings else None

    @property
    def tie_break(self) -> TieBreak:
        """What put the leader before the second, where their votes are equally many."""
        first, second = _top_two(self)
        if not first.num_votes or first.num_votes != second.num_votes:
            return TieBreak.NONE
        if first.weight != second.weight:
            return TieBreak.WEIGHT
        return TieBreak.CALLS if first.num_calls != second.num_calls else TieBreak.LARGER

    @property
    def margin(self) -> float:
        """Weight of the leader over the runner-up; 0 before the first vote."""
        first, second = _top_two(self)
        return first.weight - second.weight


def tally(votes: Iterable[Vote]) -> Tally:
    """Count votes by answer. The result does not depend on their order (sums are exact: fsum)."""
    by_answer: dict[int, list[Vote]] = {}
    for vote in votes:
        by_answer.setdefault(vote.answer, []).append(vote)
    standings = (_standing(of_answer) for of_answer in by_answer.values())
    return Tally(tuple(sorted(standings, key=_rank, reverse=True)))


class RunningTally:
    """The tally of votes that come one after another: after each, what `tally` would make of all of them.

    A vote costs about the logarithm of the number of answers, and as much as its answer has votes; `tally` costs as
    much as there are votes, which is asked too much after each of a thousand.
    """

    def __init__(self) -> None:
        self._votes: dict[int, list[Vote]] = {}
        self._standings: list[Standing] = []  # best first
        self._ranks: list[tuple[float, int, int, int]] = []  # of those, each number with its sign turned, so ascending

    def add(self, vote: Vote) -> None:
        """Count one more."""
        of_answer = self._votes.setdefault(vote.answer, [])
        if of_answer:
            place = bisect_left(self._ranks, _turned(_standing(of_answer)))
            del self._ranks[place], self._standings[place]
        of_answer.append(vote)
        standing = _standing(of_answer)
        place = bisect_left(self._ranks, _turned(standing))
        self._ranks.insert(place, _turned(standing))
        self._standings.insert(place, standing)

    @property
    def tally(self) -> Tally:
        """As it is now."""
        return Tally(tuple(self._standings))


def confidence_weight(mean_entropy: float | None) -> float:
    """A vote's weight from its mean token entropy in nats: lower entropy, more weight, bounded.

    Falls linearly from MAX_WEIGHT at 0 nats to MIN_WEIGHT at 1 nat; unknown or NaN weighs 1. The winners
    use 1/entropy, which is unbounded (docs/peers.md#outliers); entropies of finished attempts lie in 0.2–1.
    """
    if mean_entropy is None or math.isnan(mean_entropy):
        return 1.0
    share = min(max(mean_entropy, 0.0), 1.0)
    return MAX_WEIGHT - (MAX_WEIGHT - MIN_WEIGHT) * share


def is_decided(tally: Tally, num_remaining: int) -> bool:
    """True only if no outcome of `num_remaining` further votes can change the leader.

    Sound for any weights within the bounds: the strongest challenge is that all remaining votes go,
    at MAX_WEIGHT, to one other answer, already a candidate or new (and then perhaps larger, so that it
    wins ties). Ties in weight are counted as lost, so float rounding cannot turn a tie around.
    """
    assert num_remaining >= 0, num_remaining
    first = tally.leader
    if first is None:
        return False
    if num_remaining == 0:
        return True
    return tally.margin > num_remaining * MAX_WEIGHT + _ROUNDING


def majority_posterior(tally: Tally) -> float:
    """Adaptive-Consistency's belief that the leader is the majority answer of infinitely many samples.

    P(p > 1/2) for p ~ Beta(v1 + 1, v2 + 1) over the vote counts v1 >= v2 of the top two, by the identity
    = P(Binomial(v1 + v2 + 1, 1/2) <= v1). 4–0 gives 0.969, 3–0 gives 0.9375; no votes give 0.5.
    Counts, not weights: the Beta model is of independent draws.

    Source: Aggarwal et al., arXiv 2305.11860, section 3 (Beta stopping criterion).
    """
    first, second, *_ = *sorted([s.num_votes for s in tally.standings], reverse=True), 0, 0
    trials = first + second + 1
    return sum(math.comb(trials, k) for k in range(first + 1)) / (1 << trials)


def is_confident(tally: Tally, threshold: float) -> bool:
    """True if the leader holds the most votes and `majority_posterior` reaches `threshold`.

    The stated error: the top two being the only candidates, the leader is not the true majority with
    probability at most 1 - threshold under a uniform prior.
    """
    first = tally.leader
    if first is None or first.num_votes < max([standing.num_votes for standing in tally.standings]):
        return False
    return majority_posterior(tally) >= threshold


_ROUNDING = 1e-9  # above any rounding of an fsum over fewer than a million votes
_NOBODY = Standing(answer=-1, num_votes=0, weight=0.0)


def _standing(votes: Sequence[Vote]) -> Standing:
    """Of one answer's votes, at least one."""
    return Standing(
        answer=votes[0].answer,
        num_votes=len(votes),
        weight=math.fsum(vote.weight for vote in votes),
        num_calls=sum(vote.num_calls for vote in votes),
    )


def _turned(standing: Standing) -> tuple[float, int, int, int]:
    weight, num_votes, num_calls, answer = _rank(standing)
    return -weight, -num_votes, -num_calls, -answer


def _rank(standing: Standing) -> tuple[float, int, int, int]:
    return standing.weight, standing.num_votes, standing.num_calls, standing.answer


def _top_two(tally: Tally) -> tuple[Standing, Standing]:
    first, second = (*tally.standings, _NOBODY, _NOBODY)[:2]
    return first, second
