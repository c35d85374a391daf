"""What a vote's shape says: how likely its leader is right, and how likely more attempts are to fix it.

A learned prior over problems. Each problem is of a `VoteKind`: an attempt gives the right answer with one
probability, the most tempting wrong one with another, and otherwise scatters: an answer that hardly ever
comes twice, or none. A `VoteModel` weighs the kinds as they were met in recorded runs
(benchmarks/fit_vote_model.py); Bayes' rule does the rest, exactly, by summing over the kinds and over
which of the answers seen is the right and which the tempting one. Pure; does not know time.

Source: the idea of a learned prior over answer shapes of which only the top counts matter, "Optimal Bayesian
stopping", arXiv 2602.05395; the three-way split of an attempt is ours, after the recorded runs, where the
wrong answers of a hard problem scatter while a trap's repeat.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from kit.errors import check_fields
from kit.voting.rules import VoteHistory

_MAX_CANDIDATES = 4  # answers told apart; those with fewer votes can neither win soon nor weigh much
_NEGLIGIBLE = 1e-9
_HORIZONS = (1, 2, 3, 4, 6, 8, 12, 16)  # further on, sums take long and shares of the time are spent


@dataclass(frozen=True, slots=True)
class VoteKind:
    """A kind of problem. right, trap: how likely one attempt gives the right answer, the tempting wrong one."""

    right: float
    trap: float

    def __post_init__(self) -> None:
        assert min(self.right, self.trap, 1 + _NEGLIGIBLE - self.right - self.trap) >= 0, self

    @property
    def scatter(self) -> float:
        """How likely an attempt gives none of the two."""
        return max(0.0, 1 - self.right - self.trap)


@dataclass(frozen=True, slots=True)
class Shape:
    """Votes without their answers. counts: votes of each answer, most first. num_scattered: attempts beyond them,
    without an answer or with one too rare to be told apart."""

    counts: tuple[int, ...]
    num_scattered: int = 0

    @classmethod
    def of(cls, answers: Sequence[int | None]) -> Shape:
        """The shape of what attempts answered, None for those without a usable answer."""
        counts = sorted(Counter(answer for answer in answers if answer is not None).values(), reverse=True)
        kept = tuple(counts[:_MAX_CANDIDATES])
        return cls(kept, len(answers) - sum(kept))


@dataclass(frozen=True, slots=True)
class _Belief:
    """One explanation of a shape: kind, votes of the right answer and of the trap, and its probability."""

    kind: VoteKind
    right: int  # place in the counts; -1: not seen yet
    trap: int
    probability: float


@dataclass(frozen=True, eq=False)  # told apart by identity: a model is a key of the caches below
class VoteModel:
    """Kinds of problems and how common each is.

    weights: of the kinds, summing to 1. repeat: how likely a scattered answer is one that scattered before.
    """

    kinds: tuple[VoteKind, ...]
    weights: tuple[float, ...]
    repeat: float = 0.1

    def right_probability(self, shape: Shape) -> float:
        """How likely the leader is right; without a leader 0, and equals share."""
        if not shape.counts:
            return 0.0
        leaders = [place for place, count in enumerate(shape.counts) if count == shape.counts[0]]
        return math.fsum(each.probability for each in _beliefs(self, shape) if each.right in leaders) / len(leaders)

    def gain(self, shape: Shape, num_more: int) -> float:
        """By how much `num_more` further attempts raise the probability that the leader is right; never below 0."""
        return _gain(self, shape, num_more)

    def best_rate(self, shape: Shape, num_left: int) -> float:
        """The most gain per attempt that any number of further attempts up to `num_left` promises.

        A single attempt often cannot turn a vote around where three can, so it is the best of several horizons.
        """
        return _best_rate(self, shape, num_left)

    def likelihood(self, kind: VoteKind, shape: Shape, right: int, trap: int) -> float:
        """How likely a kind gives votes of this shape, in one order, with the right answer and trap at these places."""
        value = kind.scatter**shape.num_scattered
        for place, count in enumerate(shape.counts):
            if place == right:
                value *= kind.right**count
            elif place == trap:
                value *= kind.trap**count
            else:
                value *= kind.scatter**count * self.repeat ** (count - 1)
        return value


def horizons(num_left: int) -> tuple[int, ...]:
    """Numbers of further attempts that are looked at: a few up to `num_left`, or to the longest horizon."""
    last = min(num_left, _HORIZONS[-1])
    return (*(num for num in _HORIZONS if num < last), last) if last > 0 else ()


@lru_cache(maxsize=1 << 16)
def _beliefs(model: VoteModel, shape: Shape) -> tuple[_Belief, ...]:
    """Every explanation worth a thought, probabilities summing to 1."""
    places = range(-1, len(shape.counts))
    found = [
        (kind, right, trap, weight * model.likelihood(kind, shape, right, trap))
        for kind, weight in zip(model.kinds, model.weights, strict=True)
        for right in places
        for trap in places
        if right != trap or right < 0
    ]
    total = math.fsum(each[3] for each in found)
    if not total:
        return ()
    return tuple(
        _Belief(kind, right, trap, value / total) for kind, right, trap, value in found if value > total * _NEGLIGIBLE
    )


@lru_cache(maxsize=1 << 17)
def _gain(model: VoteModel, shape: Shape, num_more: int) -> float:
    now = model.right_probability(shape)
    later = math.fsum(each.probability * _wins(each, shape, num_more) for each in _beliefs(model, shape))
    return max(0.0, later - now)


@lru_cache(maxsize=1 << 17)
def _best_rate(model: VoteModel, shape: Shape, num_left: int) -> float:
    return max((model.gain(shape, num) / num for num in horizons(num_left)), default=0.0)


def _wins(belief: _Belief, shape: Shape, num_more: int) -> float:
    """How likely the right answer leads after `num_more` further attempts; a tie is half a win."""
    kind = belief.kind
    votes = shape.counts[belief.right] if belief.right >= 0 else 0
    trap = shape.counts[belief.trap] if belief.trap >= 0 else 0
    others = [count for place, count in enumerate(shape.counts) if place not in (belief.right, belief.trap)]
    bar = max(others, default=0)
    if kind.right < _NEGLIGIBLE:
        return _win(votes, max(bar, trap))  # a trap that grows on only makes it worse, as 0 votes cannot win
    return math.fsum(
        probability * _win(votes + more, max(bar, trap + more_trap))
        for more, more_trap, probability in _trinomial(kind.right, kind.trap, num_more)
    )


def _win(votes: int, bar: int) -> float:
    if votes == 0 or votes < bar:
        return 0.0
    return 0.5 if votes == bar else 1.0


@lru_cache(maxsize=1 << 12)
def _trinomial(right: float, trap: float, num: int) -> tuple[tuple[int, int, float], ...]:
    """(right votes, trap votes, probability) of `num` attempts, what is negligible left out."""
    rest = max(0.0, 1 - right - trap)
    terms = (
        (a, b, math.comb(num, a) * math.comb(num - a, b) * right**a * trap**b * rest ** (num - a - b))
        for a in range(num + 1)
        for b in range(num - a + 1)
    )
    return tuple(term for term in terms if term[2] > _NEGLIGIBLE)


_WEIGHTS = (  # right, trap, weight: 67 problems of four recorded runs, by benchmarks/fit_vote_model.py
    (0.0, 0.0, 0.0577),
    (0.0, 0.15, 0.0064),
    (0.0, 0.35, 0.0037),
    (0.0, 0.6, 0.0036),
    (0.0, 0.85, 0.0083),
    (0.1, 0.0, 0.0617),
    (0.1, 0.15, 0.0056),
    (0.1, 0.35, 0.0039),
    (0.1, 0.6, 0.0060),
    (0.1, 0.85, 0.0298),
    (0.25, 0.0, 0.0172),
    (0.25, 0.15, 0.0058),
    (0.25, 0.35, 0.0065),
    (0.25, 0.6, 0.0279),
    (0.4, 0.0, 0.0308),
    (0.4, 0.15, 0.0093),
    (0.4, 0.35, 0.0210),
    (0.4, 0.6, 0.0184),
    (0.55, 0.0, 0.1862),
    (0.55, 0.15, 0.0160),
    (0.55, 0.35, 0.0191),
    (0.7, 0.0, 0.0649),
    (0.7, 0.15, 0.0213),
    (0.85, 0.0, 0.1813),
    (0.85, 0.15, 0.0089),
    (0.97, 0.0, 0.1787),
)

LEARNED = VoteModel(
    kinds=tuple(VoteKind(right, trap) for right, trap, _ in _WEIGHTS),
    weights=tuple(weight for *_, weight in _WEIGHTS),
)
"""What recorded runs of three models on olympiad problems taught. Held out, each run is likelier under a model
fitted to the others than under one fitted to none (5.1–6.3 against 5.6–6.5 nats a problem)."""


@dataclass(frozen=True, slots=True)
class LearnedPrior:
    """No number of the attempts left raises the chance that the leader is right by more than the tolerance.

    Its own statement is Bayesian: on problems like those it learned from, stopping costs at most `tolerance` of a
    problem's score on the average, each time it stops, against drawing everything.
    Source: the idea of arXiv 2602.05395; the prior is ours.
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

    def __str__(self) -> str:
        return f"learned({self.tolerance!r})"
