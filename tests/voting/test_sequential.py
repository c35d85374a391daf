import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InputError
from kit.voting.rules import Rule, VoteHistory
from kit.voting.sequential import SPRT, AdaptiveConsistency, MajorityCertificate, log_wealth

COUNTS = st.lists(st.integers(1, 20), min_size=1, max_size=8).map(lambda counts: sorted(counts, reverse=True))


def counted(*counts: int) -> VoteHistory:
    """`counts` votes for the answers 0, 1, ..."""
    answers = [answer for answer, num in enumerate(counts) for _ in range(num)]
    return VoteHistory(answers=tuple(answers), weights=(1.0,) * len(answers), num_remaining=8)


def wealth(votes: int, against: int, odds: int) -> Fraction:
    """∫ (1 + odds u)^votes (1 - u)^against du over [0, 1], term by term."""
    return sum(
        (
            Fraction(
                math.comb(votes, i) * odds**i * math.factorial(i) * math.factorial(against),
                math.factorial(i + against + 1),
            )
            for i in range(votes + 1)
        ),
        Fraction(0),
    )


def is_certified(alpha: float, leader: int, others: list[int]) -> bool:
    """The certificate as its docstring has it, for every rank up to 150."""
    zeta_3 = sum(1 / k**3 for k in range(1, 10_000))
    ranked = sorted(others, reverse=True)
    return all(
        wealth(leader, sum(ranked[: rank - 1]), rank - 1) >= Fraction(zeta_3 * (rank - 1) ** 3 / alpha)
        for rank in range(2, 150)
    )


STOPS_AT = [
    *[(AdaptiveConsistency(0.95), first, second) for first, second in [(4, 0), (6, 1), (8, 2), (9, 3), (11, 4)]],
    *[(SPRT(0.05), first, second) for first, second in [(7, 0), (9, 1), (11, 2), (13, 3), (15, 4)]],
    *[(MajorityCertificate(0.05), first, second) for first, second in [(7, 0), (10, 1), (13, 2), (15, 3)]],
]


@pytest.mark.parametrize(("rule", "first", "second"), STOPS_AT)
def test_a_rule_stops_at_the_votes_of_its_table_and_not_one_vote_earlier(rule: Rule, first: int, second: int) -> None:
    assert rule.is_enough(counted(first, second))
    assert rule.is_enough(counted(second, first))
    assert not rule.is_enough(counted(first - 1, second))
    assert not rule.is_enough(counted(first, second + 1))


@pytest.mark.parametrize("votes", [(3, 0), (4, 1)])
def test_adaptive_consistency_is_not_yet_sure_at_three_to_nothing_or_four_to_one(votes: tuple[int, int]) -> None:
    assert not AdaptiveConsistency(0.95).is_enough(counted(*votes))


@given(st.integers(1, 30), st.integers(0, 10), st.floats(0.01, 0.5), st.floats(0.55, 0.95))
def test_the_sprt_compares_walds_product(leader: int, second: int, alpha: float, p1: float) -> None:
    product = (2 * p1) ** leader * (2 - 2 * p1) ** second
    if leader >= second and not math.isclose(product, 1 / alpha, rel_tol=1e-9):
        assert SPRT(alpha, p1).is_enough(counted(leader, second)) == (product >= 1 / alpha)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 30))
def test_the_wealth_is_the_integral(votes: int, against: int, odds: int) -> None:
    assert log_wealth(votes, against, odds=odds) == pytest.approx(math.log(wealth(votes, against, odds)), abs=1e-9)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20))
def test_the_wealth_is_fair_at_the_edge_of_the_null(votes: int, against: int, odds: int) -> None:
    """A martingale where the leader draws one in odds + 1: the mean of the next wealth is this one."""
    share = 1 / (odds + 1)
    won, lost = (log_wealth(votes + a, against + 1 - a, odds=odds) for a in (1, 0))
    mean = share * math.exp(won) + (1 - share) * math.exp(lost)
    assert mean == pytest.approx(math.exp(log_wealth(votes, against, odds=odds)), rel=1e-9)


@given(st.integers(0, 25), st.integers(0, 25), st.integers(1, 30))
def test_the_bound_for_higher_ranks_lies_below_the_wealth_and_rises_with_the_odds(
    votes: int, against: int, odds: int
) -> None:
    bound = log_wealth(votes, against, odds=odds, power=3)
    assert bound <= log_wealth(votes, against, odds=odds) - 3 * math.log(odds) + 1e-12
    assert bound <= log_wealth(votes, against, odds=odds + 1, power=3) + 1e-12


@given(COUNTS, st.sampled_from([0.01, 0.05, 0.2, 0.9]))
def test_what_is_certified_meets_every_rank(counts: list[int], alpha: float) -> None:
    leader, *others = counts
    if MajorityCertificate(alpha).is_enough(counted(*counts)):
        assert is_certified(alpha, leader, others)


@pytest.mark.parametrize("others", [[], [1], [3], [1] * 6, [2, 2, 1], [1] * 15, [5, 1, 1]])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_the_certificate_comes_as_soon_as_every_rank_is_met(others: list[int], alpha: float) -> None:
    """Its short cut for the higher ranks costs no vote here."""
    fewest = next(votes for votes in range(1, 60) if is_certified(alpha, votes, others))
    rule = MajorityCertificate(alpha)
    assert rule.is_enough(counted(fewest, *others))
    assert not rule.is_enough(counted(fewest - 1, *others))


@given(COUNTS, st.integers(1, 4))
def test_more_votes_for_the_leader_keep_a_certificate_and_a_vote_for_another_never_makes_one(
    counts: list[int], more: int
) -> None:
    rule, (leader, *others) = MajorityCertificate(0.05), counts
    if rule.is_enough(counted(leader, *others)):
        assert rule.is_enough(counted(leader + more, *others))
    else:
        assert not rule.is_enough(counted(leader, *others, 1))


@pytest.mark.parametrize(
    ("rule", "margin"),
    [
        (AdaptiveConsistency(0.95), 4),
        (AdaptiveConsistency(0.9375), 3),
        (AdaptiveConsistency(0.51), 1),
        (SPRT(0.05), 7),
        (MajorityCertificate(0.05), 7),
    ],
)
def test_a_rule_stops_on_no_smaller_lead_than_the_one_it_stops_on_first(rule: Rule, margin: int) -> None:
    assert rule.is_enough(counted(margin))
    assert not any(rule.is_enough(counted(second + margin - 1, second)) for second in range(40))


@pytest.mark.parametrize(
    "build",
    [
        lambda: AdaptiveConsistency(0.5),
        lambda: AdaptiveConsistency(1),
        lambda: AdaptiveConsistency(math.nan),
        lambda: SPRT(0),
        lambda: SPRT(1),
        lambda: SPRT(0.05, 0.5),
        lambda: SPRT(0.05, 1),
        lambda: MajorityCertificate(0),
        lambda: MajorityCertificate(1),
    ],
)
def test_a_rule_refuses_a_level_out_of_range(build: object) -> None:
    with pytest.raises(InputError, match="must be in"):
        build()  # type: ignore[operator]
