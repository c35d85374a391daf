"""The learned prior, against a plain sum over every future written for reading."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.voting.learned import LEARNED, Shape, VoteKind, VoteModel, horizons

SMALL = VoteModel((VoteKind(0.7, 0.0), VoteKind(0.2, 0.5), VoteKind(0.0, 0.3)), (0.5, 0.3, 0.2), repeat=0.1)


def explained(model: VoteModel, counts: tuple[int, ...], scattered: int) -> list[tuple[VoteKind, int, int, float]]:
    """Bayes' rule in full: every kind, every place of the right answer and of the trap, -1 for not seen."""
    found = []
    for kind, weight in zip(model.kinds, model.weights, strict=True):
        rest = 1 - kind.right - kind.trap
        for right, trap in itertools.product(range(-1, len(counts)), repeat=2):
            if right == trap and right >= 0:
                continue
            value = weight * rest**scattered
            for place, count in enumerate(counts):
                if place == right:
                    value *= kind.right**count
                elif place == trap:
                    value *= kind.trap**count
                else:
                    value *= rest**count * model.repeat ** (count - 1)
            found.append((kind, right, trap, value))
    total = sum(value for *_, value in found)
    return [(kind, right, trap, value / total) for kind, right, trap, value in found]


def gain_by_enumeration(model: VoteModel, counts: tuple[int, ...], scattered: int, num_more: int) -> float:
    def wins(votes: dict[object, int]) -> float:
        most = max(votes.values(), default=0)
        if not votes["right"] or votes["right"] < most:
            return 0.0
        return 1.0 if sum(each == most for each in votes.values()) == 1 else 0.5

    gain = 0.0
    for kind, right, trap, probability in explained(model, counts, scattered):
        start = {place: count for place, count in enumerate(counts) if place not in (right, trap)}
        start["right"] = counts[right] if right >= 0 else 0  # type: ignore[index]
        start["trap"] = counts[trap] if trap >= 0 else 0  # type: ignore[index]
        now = wins(dict(start))
        for future in itertools.product(("right", "trap", "scatter"), repeat=num_more):
            chance = math.prod(
                {"right": kind.right, "trap": kind.trap, "scatter": 1 - kind.right - kind.trap}[each] for each in future
            )
            votes: dict[object, int] = dict(start)
            for each in future:
                if each != "scatter":
                    votes[each] += 1
            gain += probability * chance * (wins(votes) - now)
    return gain


@pytest.mark.parametrize("counts", [(), (1,), (2, 1), (3, 1, 1), (2, 2)])
@pytest.mark.parametrize("scattered", [0, 2])
def test_the_gain_is_what_summing_over_every_future_gives(counts: tuple[int, ...], scattered: int) -> None:
    shape = Shape(counts, scattered)
    for num_more in (1, 2, 4):
        expected = gain_by_enumeration(SMALL, counts, scattered, num_more)
        assert SMALL.gain(shape, num_more) == pytest.approx(max(0.0, expected), abs=1e-7)


@given(st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=10), st.randoms())
def test_a_shape_does_not_depend_on_the_order_or_the_names_of_answers(
    answers: list[int | None], rng: random.Random
) -> None:
    renamed = [None if answer is None else 99_999 - answer for answer in answers]
    rng.shuffle(renamed)
    assert Shape.of(renamed) == Shape.of(answers)
    assert sum(Shape.of(answers).counts) + Shape.of(answers).num_scattered == len(answers)


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 5), max_size=4).map(lambda counts: tuple(sorted(counts, reverse=True))), st.integers(0, 4)
)
def test_probabilities_are_probabilities_and_a_gain_never_exceeds_what_is_missing(
    counts: tuple[int, ...], scattered: int
) -> None:
    shape = Shape(counts, scattered)
    right = LEARNED.right_probability(shape)
    assert 0 <= right <= 1 + 1e-9
    for num_more in horizons(9):
        assert 0 <= LEARNED.gain(shape, num_more) <= 1 - right + 1e-9


def test_equals_share_what_they_hold() -> None:
    assert LEARNED.right_probability(Shape((2, 2))) <= 0.5
    assert LEARNED.right_probability(Shape(())) == 0


def test_agreement_is_evidence_and_every_further_vote_is_worth_less() -> None:
    assert [round(LEARNED.right_probability(Shape((n,))), 2) for n in (1, 2, 3, 4)] == sorted(
        round(LEARNED.right_probability(Shape((n,))), 2) for n in (1, 2, 3, 4)
    )
    rates = [LEARNED.best_rate(Shape((n,)), 8) for n in (1, 2, 3, 4)]
    assert rates == sorted(rates, reverse=True)
    assert LEARNED.best_rate(Shape((2, 2)), 8) > LEARNED.best_rate(Shape((4, 2)), 8)


def test_nothing_is_gained_where_nothing_is_left_to_draw() -> None:
    assert horizons(0) == ()
    assert LEARNED.best_rate(Shape((1, 1)), 0) == 0


def test_the_model_predicts_votes_that_are_drawn_from_it() -> None:
    """Simulated: of all votes 3–1 drawn from the model, the leader is right as often as the model says."""
    rng = random.Random(7)
    told, right = 0.0, []
    for _ in range(30_000):
        kind = rng.choices(LEARNED.kinds, LEARNED.weights)[0]
        answers = [_draw(kind, rng) for _ in range(4)]
        shape = Shape.of(answers)
        if shape.counts == (3, 1):
            told = LEARNED.right_probability(shape)
            right.append(Counter(answers).most_common(1)[0][0] == 1)
    error = math.sqrt(told * (1 - told) / len(right))
    # scattered answers are drawn without repeats here, which the model allows for: hence not exactly
    assert abs(sum(right) / len(right) - told) < 4 * error + 0.02


def _draw(kind: VoteKind, rng: random.Random) -> int:
    value = rng.random()
    if value < kind.right:
        return 1
    return 2 if value < kind.right + kind.trap else rng.randrange(10, 10**9)
