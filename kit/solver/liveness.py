"""Whether the picks of a selector may be trusted, and the orders of the candidates that make the picks telling.

A selector reads K candidates and a planted control, in several rounds and in another order in each, and picks one.
It is dead if it guesses, looks at the place and not at the content, or falls for the control.

The test, over P rounds with a readable pick and K candidates: some candidate must have at least m picks, where m is
the least number with K * P(Binomial(P, 1/K) >= m) <= 10 %. The null is a selector that sees through the control but
cannot tell the candidates apart, so that each has chance 1/K; the union bound over them makes its false alarm at
most 10 %. One that looks at the place is no likelier to pass: each block of K rounds has every candidate at every
place once, so its counts spread less than the binomial's (Hoeffding 1956). One that picks among all K + 1 options at
random passes more rarely still. The rates at 8 rounds, and at 16 for two candidates:

    rounds  K   m   false alarm at most   at random   live if each pick is right with chance 0.8, 0.9, 0.95
       8    2   7          7.0 %             0.5 %                                           0.50, 0.81, 0.94
       8    3   6          5.9 %             1.3 %                                           0.80, 0.96, 0.99
       8    4   6          1.7 %             0.5 %                                           0.80, 0.96, 0.99
      16    2  12          7.7 %             0.2 %                                           0.80, 0.98, 1.00

The control may besides have one pick in eight rounds, so that a selector which slips in 2 % of them fails by it once
in a hundred times. The test cannot see a taste that is constant and wrong, such as for the longest text.

It asks no model: `kit.solver.genselect` does. Source: the table by this module's own formulas, checked against every
pick that chance could make (tests/solver/test_liveness.py); the reason for the test: a public verifier that said 0.5 in
20 of 20 rows (docs/peers.md#verifier).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

MAX_FALSE_ALARM = 0.1
"""Chance, at most, that a selector which cannot tell the candidates apart is declared live."""

MIN_ROUNDS = 5
"""Fewer rounds cannot convince of two candidates even if all agree: 2 * (1/2)^4 > 10 %."""

CONTROL_ROUNDS = 8
"""Of so many rounds, one pick of the control is a slip."""


class Liveness(StrEnum):
    """Whether the picks may be listened to; the first that applies."""

    UNTESTED = "untested"  # selection is off, out of time before it began, or has nothing to choose between
    TOO_FEW_PARSED = "too few parsed"  # under half of the rounds, or too few to convince whatever they say
    POSITION_ONLY = "position only"  # one place was picked as often as convinces, and more often than any option
    INDIFFERENT = "indifferent"  # no option was picked more often than chance explains
    FAILED_CONTROL = "failed control"  # the planted text was picked oftener than by a slip
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Pick:
    """One readable round. option: a candidate's number, or K for the control. place: where it stood."""

    option: int
    place: int


def liveness_of(picks: Sequence[Pick], *, num_candidates: int, num_rounds: int) -> Liveness:
    """Whether the readable picks of `num_rounds` rounds show an eye for content; the module's text tells the test."""
    least = least_picks(len(picks), num_candidates)
    if 2 * len(picks) < num_rounds or least is None:
        return Liveness.TOO_FEW_PARSED
    by_option = Counter(pick.option for pick in picks)
    most_of_option = max(by_option.values())
    most_of_place = max(Counter(pick.place for pick in picks).values())
    if most_of_place >= least and most_of_place > most_of_option:
        return Liveness.POSITION_ONLY
    if most_of_option < least:
        return Liveness.INDIFFERENT
    if by_option[num_candidates] > max(1, len(picks) // CONTROL_ROUNDS):
        return Liveness.FAILED_CONTROL
    return Liveness.LIVE


def least_picks(num_picks: int, num_candidates: int) -> int | None:
    """m, the picks of one candidate among `num_picks` that convince; None if even all of them would not."""
    counts = range(num_picks + 1)
    return next((m for m in counts if false_alarm_rate(num_picks, num_candidates, m) <= MAX_FALSE_ALARM), None)


def false_alarm_rate(num_picks: int, num_candidates: int, least: int) -> float:
    """Bound on the chance that picks at random among K candidates give `least` or more of them to one."""
    chance = 1 / num_candidates
    tail = (math.comb(num_picks, k) * chance**k * (1 - chance) ** (num_picks - k) for k in range(least, num_picks + 1))
    return num_candidates * math.fsum(tail)


def rotated_orders(num_candidates: int, random: Random) -> Iterator[tuple[int, ...]]:
    """Orders of the candidates and the control, which has the number K, without end.

    In each block of K every candidate stands at every place among the candidates once (a shuffle and its
    rotations); in each block of K + 1 the control stands at every place of all once.
    """
    control_places = _blocks(num_candidates + 1, random)
    while True:
        shuffled = random.sample(range(num_candidates), num_candidates)
        for turn in range(num_candidates):
            order = [*shuffled[turn:], *shuffled[:turn]]
            order.insert(next(control_places), num_candidates)
            yield tuple(order)


def _blocks(num: int, random: Random) -> Iterator[int]:
    while True:
        yield from random.sample(range(num), num)
