"""The worth of a second against plain sums, and in words: what makes it rise and fall."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kit.errors import InputError
from kit.solver.pacing import Pacer, PacingConfig, Progress
from kit.voting.learned import LEARNED, Shape

NUM_SAMPLES = 16
FIRST_SHARE = 0.75
UNANIMOUS = (Shape((2,)), Shape((3,)), Shape((4,)))
CONTESTED = (Shape((1, 1)), Shape((2, 1)), Shape((2, 2)), Shape((3, 2, 1), 1))


def pacer(config: PacingConfig | None = None, *, num_ended: int = 0, mean_s: float = 0.0) -> Pacer:
    """One that has seen `num_ended` attempts of `mean_s` seconds."""
    made = Pacer(config or PacingConfig())
    made.note(num_ended=num_ended, running_s=num_ended * mean_s)
    return made


def progress(
    shape: Shape, *, share_s: float, running_s: float = 0.0, num_running: int = 8, num_ended: int | None = None
) -> Progress:
    num_votes = sum(shape.counts) + shape.num_scattered
    return Progress(
        shape=shape,
        num_left=NUM_SAMPLES - num_votes,
        num_running=num_running,
        num_ended=num_votes if num_ended is None else num_ended,
        running_s=running_s,
        share_s=share_s,
    )


shapes = st.builds(
    lambda answers: Shape.of([answer or None for answer in answers]),
    st.lists(st.integers(0, 4), min_size=1, max_size=NUM_SAMPLES - 1),
)
histories = st.builds(
    lambda num_ended, mean_s: pacer(num_ended=num_ended, mean_s=mean_s), st.integers(0, 400), st.floats(0.1, 1000)
)
standings = st.builds(
    progress,
    shapes,
    share_s=st.floats(0, 5000),
    running_s=st.floats(0, 20_000),
    num_running=st.integers(0, 16),
    num_ended=st.integers(0, 16),
)


# ------------------------------------------------------------------------------- how long an attempt takes


def posterior_mean_s(*, prior_mean_s: float, prior_attempts: float, num_ended: int, running_s: float) -> float:
    """The mean of 1 / rate, by adding up a Gamma prior times an exponential likelihood on a fine grid of rates.

    Gamma(prior_attempts + 1, prior_attempts * prior_mean_s) has 1 / rate of mean prior_mean_s. An attempt in flight
    has only not ended yet, so all seconds count in the exponent and ended attempts alone in the power.
    """
    centre = math.log((num_ended + prior_attempts) / (running_s + prior_attempts * prior_mean_s))
    rates = [math.exp(centre + step / 40) for step in range(-1000, 200)]
    logs = [
        (prior_attempts + num_ended + 1) * math.log(rate) - rate * (prior_attempts * prior_mean_s + running_s)
        for rate in rates  # the power is one higher than Gamma's, since the grid is even in log(rate)
    ]
    weights = [math.exp(each - max(logs)) for each in logs]
    return math.fsum(weight / rate for weight, rate in zip(weights, rates, strict=True)) / math.fsum(weights)


@given(
    share_s=st.floats(1, 2000),
    running_s=st.floats(0, 20_000),
    num_ended=st.integers(0, 16),
    prior_attempts=st.floats(1, 8),
)
def test_an_attempt_takes_the_posterior_mean_of_an_exponential_duration(
    share_s: float, running_s: float, num_ended: int, prior_attempts: float
) -> None:
    mean_s = pacer(PacingConfig(prior_attempts=prior_attempts)).mean_attempt_s(
        progress(Shape((1,)), share_s=share_s, running_s=running_s, num_ended=num_ended)
    )
    expected = posterior_mean_s(
        prior_mean_s=share_s / FIRST_SHARE, prior_attempts=prior_attempts, num_ended=num_ended, running_s=running_s
    )
    assert mean_s == pytest.approx(expected, rel=1e-6)


def test_a_competition_that_has_seen_attempts_expects_the_next_to_be_like_them() -> None:
    """At first an even share is three quarters of an attempt, and that counts for sixteen."""
    begun = progress(Shape(()), share_s=300, num_ended=0)
    assert pacer().mean_attempt_s(begun) == pytest.approx(400)
    assert pacer(num_ended=16, mean_s=48).mean_attempt_s(begun) == pytest.approx((400 + 48) / 2)
    assert pacer(num_ended=10**6, mean_s=48).mean_attempt_s(begun) == pytest.approx(48, rel=1e-3)


def test_a_competitions_problems_add_up() -> None:
    twice = pacer(num_ended=3, mean_s=100)
    twice.note(num_ended=5, running_s=40)
    begun = progress(Shape(()), share_s=10)
    assert twice.mean_attempt_s(begun) == pacer(num_ended=8, mean_s=340 / 8).mean_attempt_s(begun)


def test_the_pace_is_the_mean_of_the_attempts_that_no_limit_ended() -> None:
    judge = pacer()
    assert judge.pace_s(120.0) == pytest.approx(114.0)  # nothing is known yet
    judge.note(num_ended=8, running_s=800.0)
    assert judge.pace_s(120.0) == math.inf  # all were cut
    judge.note(num_ended=6, running_s=900.0, num_whole=4, whole_s=400.0)
    judge.note(num_ended=1, running_s=80.0, num_whole=1, whole_s=50.0)
    assert judge.pace_s(120.0) == pytest.approx(90.0)


@given(histories, standings)
def test_the_competitions_mean_is_that_of_all_its_attempts_and_of_those_it_first_thought_of(
    judge: Pacer, now: Progress
) -> None:
    unbiased = judge.competition_mean_s(now)
    judge.note(num_ended=now.num_ended, running_s=now.running_s)
    begun = dataclasses.replace(now, num_ended=0, running_s=0.0)
    assert judge.competition_mean_s(begun) == pytest.approx(unbiased)
    assert judge.mean_attempt_s(begun) == pytest.approx(unbiased)


@pytest.mark.parametrize(
    ("share", "num_slots"), [(0.1, 2), (0.35, 2), (0.42, 3), (0.5, 4), (0.6, 6), (0.69, 8), (0.7, 8), (3.0, 8)]
)
def test_attempts_are_fewer_at_once_by_the_square_of_a_short_share(share: float, num_slots: int) -> None:
    """share: in mean attempts; full width is from 0.7 on."""
    assert pacer(num_ended=10**7, mean_s=100).num_slots(8, share_s=100 * share) == num_slots


@pytest.mark.parametrize("config", [PacingConfig(kind="off"), PacingConfig(full_width=0)])
def test_attempts_run_at_full_width_where_that_is_asked(config: PacingConfig) -> None:
    assert pacer(config, num_ended=1000, mean_s=100).num_slots(8, share_s=1.0) == 8


def test_a_competition_begins_at_full_width_and_at_no_price() -> None:
    begun = progress(Shape((1,)), share_s=50, running_s=8 * 20, num_ended=1)
    assert pacer().num_slots(8, share_s=50) == 8
    assert pacer().worth(begun).price == 0.0


# --------------------------------------------------------------------------------------- what more is worth


@given(histories, standings)
def test_more_is_worth_it_if_a_vote_promises_more_than_its_seconds_cost(judge: Pacer, now: Progress) -> None:
    """The sums of the module's text in other words: all times counted in attempts of the competition's mean length."""
    competition_mean_s = judge.competition_mean_s(now)
    share = now.share_s / competition_mean_s
    length = judge.mean_attempt_s(now) / competition_mean_s
    rate = 0.2 if share <= 0.4 else 0.0 if share >= 0.65 else 0.2 * (0.65 - share) / 0.25
    cost = rate * length / (now.num_running or 1)
    gain = LEARNED.best_rate(now.shape, now.num_left)
    assume(not math.isclose(gain, cost, rel_tol=1e-9, abs_tol=1e-15) or not cost)
    assert judge.is_worth_more(now) is (gain >= cost)


@given(histories, standings, st.floats(1.001, 100))
def test_more_time_to_share_never_makes_it_less_willing(judge: Pacer, now: Progress, factor: float) -> None:
    richer = dataclasses.replace(now, share_s=now.share_s * factor)
    assert judge.is_worth_more(now) <= judge.is_worth_more(richer)


@given(standings, st.floats(1, 20_000))
def test_attempts_that_drag_on_never_make_it_more_willing(now: Progress, more_s: float) -> None:
    judge = pacer(num_ended=10_000, mean_s=200)  # of a competition that they alone hardly change
    later = dataclasses.replace(now, running_s=now.running_s + more_s)
    assert judge.is_worth_more(later) <= judge.is_worth_more(now)


@pytest.mark.parametrize("shape", CONTESTED)
def test_what_was_worth_going_on_with_is_not_once_the_attempts_drag_on(shape: Shape) -> None:
    judge = pacer(num_ended=100, mean_s=60)
    assert judge.is_worth_more(progress(shape, share_s=45, running_s=60 * 8))
    assert not judge.is_worth_more(progress(shape, share_s=45, running_s=3_600_000))


@pytest.mark.parametrize("shape", CONTESTED)
def test_the_price_of_a_second_falls_as_the_share_grows(shape: Shape) -> None:
    judge = pacer(num_ended=100, mean_s=300)
    assert not judge.is_worth_more(progress(shape, share_s=10, running_s=300 * 8, num_running=2))
    assert judge.is_worth_more(progress(shape, share_s=2000, running_s=300 * 8, num_running=2))


def test_more_attempts_in_flight_make_a_vote_cheaper() -> None:
    judge = pacer(num_ended=100, mean_s=300)
    assert judge.is_worth_more(progress(Shape((1, 1)), share_s=100, running_s=2400, num_running=8))
    assert not judge.is_worth_more(progress(Shape((1, 1)), share_s=100, running_s=2400, num_running=1))


@pytest.mark.parametrize("shape", [*UNANIMOUS, *CONTESTED, Shape((), 5)])
def test_with_endless_time_and_a_history_only_the_rule_stops(shape: Shape) -> None:
    assert pacer(num_ended=200, mean_s=60).is_worth_more(progress(shape, share_s=10**6, running_s=60 * 8))


def test_quick_attempts_of_the_first_problem_already_tell_that_time_is_plenty() -> None:
    """Bug of an earlier version: without a history every competition looked as long as one attempt a problem."""
    assert pacer().is_worth_more(progress(Shape((2,)), share_s=17_400, running_s=10 * 8, num_ended=2))


@pytest.mark.parametrize("shape", UNANIMOUS)
def test_with_hardly_any_time_the_first_agreement_is_enough(shape: Shape) -> None:
    judge = pacer(num_ended=200, mean_s=300)
    assert not judge.is_worth_more(progress(shape, share_s=5, running_s=300 * 8))


def test_no_time_at_all_and_no_attempt_at_all_can_be_weighed() -> None:
    nothing = progress(Shape(()), share_s=0, num_running=0)
    assert pacer().mean_attempt_s(nothing) > 0
    assert not pacer(num_ended=1, mean_s=9).is_worth_more(dataclasses.replace(nothing, num_left=0))


@given(standings)
def test_turned_off_it_always_goes_on(now: Progress) -> None:
    off = pacer(PacingConfig(kind="off"), num_ended=10, mean_s=1000)
    assert off.is_worth_more(now)


@given(standings)
def test_at_no_price_it_always_goes_on(now: Progress) -> None:
    assert pacer(PacingConfig(price=0)).is_worth_more(now)


@given(histories, standings, st.floats(0.1, 5000))
def test_until_an_attempt_ends_a_problem_only_falls_in_worth(judge: Pacer, now: Progress, later_s: float) -> None:
    """What kit.simulation.fast relies on: time passes for all attempts in flight and for the share alike."""
    running = max(1, now.num_running)
    now = dataclasses.replace(now, num_running=running)
    later = dataclasses.replace(now, running_s=now.running_s + running * later_s, share_s=now.share_s + 1.0)
    now = dataclasses.replace(now, share_s=later.share_s + later_s / 50)
    assert judge.worth(later).price >= judge.worth(now).price * (1 - 1e-9)
    assert judge.worth(later).gain == judge.worth(now).gain


@pytest.mark.parametrize(
    "change",
    [
        {"price": -0.1},
        {"short": -1},
        {"ample": 0.4},
        {"full_width": -1},
        {"prior_attempts": 0},
        {"competition_prior": 0},
        {"review_s": 0},
    ],
)
def test_refuses_settings_that_make_no_sense(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        PacingConfig(**change)  # type: ignore[arg-type]
