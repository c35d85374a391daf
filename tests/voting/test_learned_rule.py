"""The learned stop rule: what it promises, simulated on problems drawn from its own prior."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest

from kit.errors import InputError
from kit.voting.learned import LEARNED, LearnedPrior, VoteKind
from kit.voting.parsing import parse_rule
from kit.voting.rules import VoteHistory

NUM_SAMPLES = 12


def history(*answers: int | None, of: int = NUM_SAMPLES) -> VoteHistory:
    return VoteHistory(answers=answers, weights=(1.0,) * len(answers), num_remaining=of - len(answers))


@pytest.mark.parametrize(
    ("answers", "enough"),
    [((), False), ((7,), False), ((7, 7, 7), True), ((7, 8), False), ((7, 8, 7, 8), False), ((None, None), False)],
)
def test_unanimity_is_enough_early_and_a_split_is_not(answers: tuple[int | None, ...], enough: bool) -> None:
    assert LearnedPrior(0.003).is_enough(history(*answers)) is enough


def test_a_split_is_enough_once_hardly_anything_is_left_to_draw() -> None:
    answers = (7, 7, 8)
    assert not LearnedPrior(0.01).is_enough(history(*answers, of=16))
    assert LearnedPrior(0.01).is_enough(history(*answers, of=4))


def test_its_text_reads_back() -> None:
    assert parse_rule("learned(0.003)") == LearnedPrior(0.003)
    assert str(parse_rule("votes(4) | learned(0.01)")) == "votes(4) | learned(0.01)"
    with pytest.raises(InputError, match="tolerance"):
        parse_rule("learned(0)")


@pytest.mark.parametrize("tolerance", [0.003, 0.03])
def test_stopping_costs_no_more_than_the_tolerance_on_problems_from_its_prior(tolerance: float) -> None:
    rng, rule = Random(11), LearnedPrior(tolerance)
    losses, saved = [], 0
    for _ in range(4000):
        votes = [_attempt(rng, problem) for problem in [rng.choices(LEARNED.kinds, LEARNED.weights)[0]]
                 for _ in range(NUM_SAMPLES)]  # fmt: skip
        num = next((num for num in range(NUM_SAMPLES) if rule.is_enough(history(*votes[:num]))), NUM_SAMPLES)
        saved += NUM_SAMPLES - num
        losses.append(_score(votes) - _score(votes[:num]))
    mean = math.fsum(losses) / len(losses)
    error = math.sqrt(math.fsum((loss - mean) ** 2 for loss in losses)) / len(losses)
    assert mean <= tolerance + 4 * error
    assert saved > NUM_SAMPLES * len(losses) / 4  # and it does stop


def _attempt(rng: Random, kind: VoteKind) -> int:
    value = rng.random()
    if value < kind.right:
        return 1
    return 2 if value < kind.right + kind.trap else rng.randrange(10, 10**9)


def _score(votes: list[int]) -> float:
    """1 if the right answer leads, an equal share of it if several do."""
    counts = Counter(votes)
    leaders = [answer for answer, count in counts.items() if count == max(counts.values())]
    return (1 in leaders) / len(leaders)
