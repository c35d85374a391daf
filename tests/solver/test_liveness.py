"""The liveness test against every pick that chance could make."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.solver.liveness import (
    MAX_FALSE_ALARM,
    Liveness,
    Pick,
    false_alarm_rate,
    least_picks,
    liveness_of,
    rotated_orders,
)


def rounds(places: Sequence[int], orders: Sequence[Sequence[int]]) -> list[Pick]:
    return [Pick(order[place], place) for place, order in zip(places, orders, strict=True)]


def orders_of(num_candidates: int, num_rounds: int, random: Random) -> list[tuple[int, ...]]:
    return list(itertools.islice(rotated_orders(num_candidates, random), num_rounds))


def is_live(picks: Sequence[Pick], num_candidates: int, num_rounds: int) -> bool:
    return liveness_of(picks, num_candidates=num_candidates, num_rounds=num_rounds) is Liveness.LIVE


def live_share(
    num_candidates: int, num_rounds: int, pick: Callable[[Sequence[int], Random], int], num_trials: int
) -> float:
    """The share of simulated comparisons that are declared live. pick: (order, random) -> place."""
    random = Random(f"{num_candidates}|{num_rounds}")
    live = 0
    for _ in range(num_trials):
        orders = orders_of(num_candidates, num_rounds, random)
        live += is_live(rounds([pick(order, random) for order in orders], orders), num_candidates, num_rounds)
    return live / num_trials


def stated_rate(num_rounds: int, num_candidates: int) -> float:
    least = least_picks(num_rounds, num_candidates)
    assert least is not None
    return false_alarm_rate(num_rounds, num_candidates, least)


@pytest.mark.parametrize(("num_rounds", "num_candidates"), [(5, 2), (8, 2), (8, 3), (5, 4)])
def test_of_all_the_picks_that_guessing_could_make_no_more_are_live_than_the_stated_rate(
    num_rounds: int, num_candidates: int
) -> None:
    """Exhaustive: a selector that sees through the control and guesses makes every sequence equally likely."""
    orders = orders_of(num_candidates, num_rounds, Random(0))
    cases = list(itertools.product(range(num_candidates), repeat=num_rounds))
    num_live = sum(
        is_live([Pick(option, order.index(option)) for option, order in zip(case, orders, strict=True)],
                num_candidates, num_rounds)
        for case in cases
    )  # fmt: skip
    stated = stated_rate(num_rounds, num_candidates)
    assert 0.5 * stated < num_live / len(cases) <= stated + 1e-12 <= MAX_FALSE_ALARM


def test_picks_at_random_among_two_candidates_and_the_control_are_live_in_one_of_200() -> None:
    """By hand, of 3^8: seven or eight picks of either candidate, the control then at most once."""
    orders = orders_of(2, 8, Random(0))
    num_live = sum(is_live(rounds(places, orders), 2, 8) for places in itertools.product(range(3), repeat=8))
    assert num_live == 2 * (8 * 2 + 1)
    assert num_live / 3**8 == pytest.approx(0.005, abs=5e-4)


def indifferent(order: Sequence[int], random: Random) -> int:
    return random.randrange(len(order))


def mostly_the_first(order: Sequence[int], random: Random) -> int:
    return 0 if random.random() < 0.6 else random.randrange(len(order))


def mostly_the_first_candidate(order: Sequence[int], random: Random) -> int:
    places = [place for place, option in enumerate(order) if option != len(order) - 1]
    return places[0] if random.random() < 0.6 else random.choice(places)


def one_of_the_first_two(order: Sequence[int], random: Random) -> int:
    return random.randrange(2)


@pytest.mark.parametrize("num_candidates", [2, 3, 4])
@pytest.mark.parametrize("num_rounds", [8, 11])
@pytest.mark.parametrize("pick", [indifferent, mostly_the_first, mostly_the_first_candidate, one_of_the_first_two])
def test_a_selector_without_an_eye_for_content_is_dead_at_the_stated_rate(
    pick: Callable[[Sequence[int], Random], int], num_rounds: int, num_candidates: int
) -> None:
    stated = stated_rate(num_rounds, num_candidates)
    share = live_share(num_candidates, num_rounds, pick, 1500)
    assert share <= stated + 2 * (stated / 1500) ** 0.5


@pytest.mark.parametrize(
    ("num_rounds", "num_candidates", "chance", "stated"),
    [
        (8, 2, 0.8, 0.50),
        (8, 2, 0.9, 0.81),
        (8, 2, 0.95, 0.94),
        (8, 3, 0.8, 0.80),
        (8, 4, 0.9, 0.96),
        (16, 2, 0.9, 0.98),
    ],
)
def test_a_good_selector_is_live_at_the_stated_rate(
    num_rounds: int, num_candidates: int, chance: float, stated: float
) -> None:
    """Its mistakes fall on the other candidates, never on the control."""

    def pick(order: Sequence[int], random: Random) -> int:
        wanted = 0 if random.random() < chance else random.randrange(1, num_candidates)
        return order.index(wanted)

    assert live_share(num_candidates, num_rounds, pick, 3000) == pytest.approx(stated, abs=0.02)


def test_a_selector_that_often_likes_the_control_is_dead_although_it_likes_one_candidate_most() -> None:
    picks = [Pick(0, place % 4) for place in range(6)]
    assert is_live([*picks, Pick(3, 0), Pick(1, 1)], 3, 8)
    assert liveness_of([*picks, Pick(3, 0), Pick(3, 1)], num_candidates=3, num_rounds=8) is Liveness.FAILED_CONTROL


def test_fewer_than_half_of_the_rounds_are_too_few_however_clear() -> None:
    picks = [Pick(0, place % 3) for place in range(7)]
    assert is_live(picks, 2, 14)
    assert liveness_of(picks, num_candidates=2, num_rounds=15) is Liveness.TOO_FEW_PARSED
    assert liveness_of(picks[:4], num_candidates=2, num_rounds=5) is Liveness.TOO_FEW_PARSED
    assert liveness_of([], num_candidates=2, num_rounds=8) is Liveness.TOO_FEW_PARSED


@pytest.mark.parametrize(
    ("num_rounds", "num_candidates", "least", "rate"),
    [(8, 2, 7, 0.0703), (8, 3, 6, 0.0590), (8, 4, 6, 0.0169), (16, 2, 12, 0.0768)],
)
def test_the_table_of_the_modules_text(num_rounds: int, num_candidates: int, least: int, rate: float) -> None:
    assert least_picks(num_rounds, num_candidates) == least
    assert false_alarm_rate(num_rounds, num_candidates, least) == pytest.approx(rate, abs=5e-5)
    assert false_alarm_rate(num_rounds, num_candidates, least - 1) > MAX_FALSE_ALARM


@given(st.integers(2, 16), st.integers(1, 40), st.integers())
def test_every_option_has_its_turn_at_every_place(num_candidates: int, num_rounds: int, seed: int) -> None:
    orders = orders_of(num_candidates, num_rounds, Random(seed))
    assert all(sorted(order) == list(range(num_candidates + 1)) for order in orders)
    among_candidates = [[each for each in order if each != num_candidates] for order in orders]
    counts = Counter(seat for order in among_candidates for seat in enumerate(order))
    full = num_rounds // num_candidates
    assert set(counts.values()) <= {full, full + 1}
    control = Counter(order.index(num_candidates) for order in orders)
    full = num_rounds // (num_candidates + 1)
    assert set(control.values()) <= {full, full + 1}
