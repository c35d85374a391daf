import itertools
import math
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.voting.tally import (
    MAX_WEIGHT,
    MIN_WEIGHT,
    RunningTally,
    TieBreak,
    Vote,
    confidence_weight,
    is_confident,
    is_decided,
    majority_posterior,
    tally,
)

VOTES = st.lists(st.builds(Vote, st.integers(0, 4), st.floats(MIN_WEIGHT, MAX_WEIGHT)), max_size=12)


def counted(*answers: int) -> list[Vote]:
    return [Vote(answer) for answer in answers]


def test_the_most_voted_answer_leads_and_zero_can_win() -> None:
    standing = tally(counted(0, 7, 0, 3))
    assert standing.leader is not None
    assert (standing.leader.answer, standing.leader.num_votes) == (0, 2)
    assert standing.num_votes == 4
    assert standing.margin == 1


def test_a_tie_goes_to_more_votes_then_to_the_larger_answer() -> None:
    assert [each.answer for each in tally(counted(3, 8, 5)).standings] == [8, 5, 3]
    heavy, light = Vote(9, 1.25), Vote(1, 0.75)
    assert tally([heavy, heavy, heavy, light, light, light, light, light]).standings[0].answer == 1


def test_nobody_leads_before_the_first_vote() -> None:
    assert tally([]).leader is None
    assert tally([]).margin == 0
    assert not is_decided(tally([]), 0)
    assert not is_confident(tally([]), 0.5)


@given(VOTES, st.randoms())
def test_the_order_of_votes_does_not_matter(votes: list[Vote], random: Random) -> None:
    shuffled = votes.copy()
    random.shuffle(shuffled)
    assert tally(shuffled) == tally(votes)


@given(VOTES)
def test_a_running_tally_is_the_tally_of_the_votes_so_far(votes: list[Vote]) -> None:
    running = RunningTally()
    assert running.tally == tally([])
    for num in range(len(votes)):
        running.add(votes[num])
        assert running.tally == tally(votes[: num + 1])


def test_no_single_vote_outvotes_two_others() -> None:
    assert MAX_WEIGHT < 2 * MIN_WEIGHT
    assert tally([Vote(1, MAX_WEIGHT), Vote(0, MIN_WEIGHT), Vote(0, MIN_WEIGHT)]).standings[0].answer == 0


@given(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)))
def test_a_weight_is_bounded_whatever_the_entropy(entropy: float | None) -> None:
    assert MIN_WEIGHT <= confidence_weight(entropy) <= MAX_WEIGHT


def test_lower_entropy_weighs_more_and_unknown_weighs_one() -> None:
    assert confidence_weight(0.1) > confidence_weight(0.5) > confidence_weight(0.9)
    assert confidence_weight(None) == confidence_weight(math.nan) == 1


def test_is_decided_is_sound_for_every_small_vote() -> None:
    """Exhaustive: whenever it says so, no way of casting the remaining votes changes the winner.

    The remaining votes may take either extreme weight and any answer, a new one above or below included.
    """
    casts = [Vote(answer, weight) for answer in (0, 2, 5, 9) for weight in (MIN_WEIGHT, 1.0, MAX_WEIGHT)]
    past = [Vote(answer, weight) for answer in (2, 5) for weight in (MIN_WEIGHT, MAX_WEIGHT)]
    num_decided = 0
    for size, num_remaining in itertools.product(range(7), range(4)):
        for votes in itertools.combinations_with_replacement(past, size):
            now = tally(votes)
            if not is_decided(now, num_remaining):
                continue
            num_decided += 1
            for future in itertools.combinations_with_replacement(casts, num_remaining):
                later = tally([*votes, *future])
                assert later.standings[0].answer == now.standings[0].answer, (votes, future)
    assert num_decided > 100


def test_is_decided_once_the_rest_cannot_catch_up() -> None:
    assert is_decided(tally(counted(5, 5, 5)), 2)
    assert not is_decided(tally(counted(5, 5, 5)), 3)
    assert not is_decided(tally(counted(5, 5, 5, 3)), 2)
    assert is_decided(tally(counted(5)), 0)


@pytest.mark.parametrize(("first", "second"), [(4, 0), (6, 1), (8, 2), (9, 3), (11, 4)])
def test_the_posterior_reaches_095_where_the_paper_stops_and_one_vote_earlier_it_does_not(
    first: int, second: int
) -> None:
    assert is_confident(tally(counted(*[1] * first, *[2] * second)), 0.95)
    assert not is_confident(tally(counted(*[1] * (first - 1), *[2] * second)), 0.95)


@given(st.integers(0, 12), st.integers(0, 12))
def test_the_posterior_is_the_beta_integral(first: int, second: int) -> None:
    """Against the integral itself: P(p > 1/2) for Beta(a+1, b+1), by exact polynomial integration."""
    top, next_ = max(first, second), min(first, second)
    density = [Fraction(0)] * (top + next_ + 1)
    for k in range(next_ + 1):  # p^top (1-p)^next, expanded
        density[top + k] += (-1) ** k * math.comb(next_, k)
    whole = sum(c / (power + 1) for power, c in enumerate(density))
    lower = sum(c * Fraction(1, 2) ** (power + 1) / (power + 1) for power, c in enumerate(density))
    expected = 1 - lower / whole
    assert majority_posterior(tally(counted(*[1] * first, *[2] * second))) == pytest.approx(float(expected), abs=1e-12)


def test_is_not_confident_in_a_leader_by_weight_who_has_fewer_votes() -> None:
    votes = [Vote(1, MAX_WEIGHT)] * 3 + [Vote(2, MIN_WEIGHT)] * 4
    assert tally(votes).standings[0].answer == 1
    assert not is_confident(tally(votes), 0.5)


# ------------------------------------------------------------------------------------------------- ties


def test_between_equal_weights_more_code_wins_and_then_the_larger_answer() -> None:
    assert [each.answer for each in tally([Vote(9), Vote(4, num_calls=2)]).standings] == [4, 9]
    assert [each.answer for each in tally([Vote(9, num_calls=2), Vote(4, num_calls=2)]).standings] == [9, 4]
    assert [each.answer for each in tally([Vote(9), Vote(9), Vote(4, num_calls=99)]).standings] == [9, 4]


@pytest.mark.parametrize(
    ("votes", "tie_break"),
    [
        ([], TieBreak.NONE),
        ([Vote(9)], TieBreak.NONE),
        ([Vote(9), Vote(9), Vote(4)], TieBreak.NONE),
        ([Vote(9, 1.1), Vote(4)], TieBreak.WEIGHT),
        ([Vote(9), Vote(4, num_calls=1)], TieBreak.CALLS),
        ([Vote(9, num_calls=1), Vote(4, num_calls=1)], TieBreak.LARGER),
    ],
)
def test_a_tie_tells_what_decided_it(votes: list[Vote], tie_break: TieBreak) -> None:
    for order in (votes, votes[::-1]):
        assert tally(order).tie_break is tie_break
