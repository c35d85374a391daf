"""Policies on the same scenarios, where the truth is known; and the intervals against a plain reference."""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.simulation.comparison import (
    Interval,
    Row,
    Run,
    Setting,
    at_equal_score,
    natural_share_s,
    rows_of,
    run_all,
)
from kit.simulation.policy import BASELINE, KIT, POLICIES, Policy
from kit.simulation.recording import RecordedAttempt, Recording
from kit.simulation.speeds import linear
from kit.solver.config import SolverConfig
from kit.solver.pacing import PacingConfig
from kit.solver.stopping import StopConfig
from kit.voting.weights import VotingConfig


def voting(name: str, num_samples: int) -> Policy:
    """Draws them all at once and counts votes."""
    config = SolverConfig(
        stop=StopConfig(num_samples=num_samples, rule="uncatchable"),
        voting=VotingConfig(weighing="count"),
        pacing=PacingConfig(kind="off"),
        width=num_samples,
    )
    return Policy(name=name, solver=config)


ONE, EIGHT = voting("one attempt", 1), voting("eight attempts", 8)


def problem(name: str, num_right: int, *, num: int = 8, work_s: float = 100.0) -> Recording:
    """The right answer 5 so many times; the others scatter."""
    answers = [5] * num_right + list(range(1000, 1000 + num - num_right))
    attempts = tuple(RecordedAttempt(answer=answer, work_s=work_s, num_tokens=50) for answer in answers)
    return Recording(name=name, gold=5, attempts=attempts)


MOSTLY_RIGHT = tuple(problem(f"{place}", 5) for place in range(6))
"""One attempt is right in 5 of 8 cases; the vote of all eight is always right."""


def setting(name: str = "toy", recordings: tuple[Recording, ...] = MOSTLY_RIGHT, **changes: object) -> Setting:
    base = Setting(name=name, recordings=recordings, share_s=math.inf, num_problems=12)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def compare(policies: list[Policy], settings: list[Setting], **more: Any) -> dict[str, list[Row]]:
    return {name: rows_of(policies, each) for name, each in run_all(policies, settings, **more).items()}


def renamed(policy: Policy) -> Policy:
    return dataclasses.replace(policy, name=f"{policy.name} again")


def test_a_policy_that_is_better_by_construction_has_a_gain_above_zero() -> None:
    one, eight = compare([ONE, EIGHT], [setting()], num_replicates=60)["toy"]
    assert eight.score.mean > 0.98  # a resampled problem may by chance hold few right answers
    assert abs(one.score.mean - 5 / 8) < 0.08  # 720 attempts: four standard errors
    assert eight.gain.low > 0
    assert eight.gain.mean == pytest.approx(3 / 8, abs=0.08)
    assert one.num_samples == 1.0
    assert 5 < eight.num_samples <= 8  # those that end together with the deciding one count too


def test_time_is_told_beside_the_baselines() -> None:
    """Alone an attempt of 100 s takes 100 / 1.79 s; eight at once take the 100."""
    one, eight = compare([ONE, EIGHT], [setting()], num_replicates=5)["toy"]
    assert one.seconds.mean == pytest.approx(100 / 1.79)
    assert (one.pace.mean, one.pace.low, one.pace.high) == (1.0, 1.0, 1.0)
    assert eight.seconds.mean == pytest.approx(100.0)
    assert eight.pace.mean == pytest.approx(1.79)
    assert one.num_tokens == 50


def test_a_policy_against_itself_gains_nothing_and_takes_as_long() -> None:
    rows = compare([BASELINE, renamed(BASELINE), KIT, renamed(KIT)], [setting()], num_replicates=12)
    base, again, kit, kit_again = rows["toy"]
    assert again.gain == base.gain == Interval(mean=0.0, low=0.0, high=0.0)
    assert again.pace == base.pace == Interval(mean=1.0, low=1.0, high=1.0)
    assert dataclasses.replace(kit_again, policy="kit") == kit


def test_all_averages_the_settings_and_tells_times_beside_the_baselines() -> None:
    hard = tuple(problem(f"{place}", 2, work_s=300.0) for place in range(4))
    settings = [setting("easy"), setting("hard", hard, num_problems=20)]
    rows = compare([ONE, EIGHT], settings, num_replicates=1)
    assert list(rows) == ["easy", "hard", "all"]
    for place in range(2):
        easy, harder, both = (rows[name][place] for name in ("easy", "hard", "all"))
        assert both.score.mean == pytest.approx((easy.score.mean + harder.score.mean) / 2)
        assert both.gain.mean == pytest.approx((easy.gain.mean + harder.gain.mean) / 2)
        assert both.num_samples == pytest.approx((easy.num_samples + harder.num_samples) / 2)
        assert both.num_tokens == pytest.approx((easy.num_tokens + harder.num_tokens) / 2)
        assert both.seconds.mean == both.pace.mean == pytest.approx((easy.pace.mean + harder.pace.mean) / 2)
    assert rows["all"][0].seconds.mean == 1.0


def test_one_setting_has_no_average() -> None:
    assert list(compare([ONE], [setting()], num_replicates=1)) == ["toy"]


def test_the_number_of_processes_does_not_change_the_result() -> None:
    settings = [setting("a"), setting("b", MOSTLY_RIGHT[:2])]
    ticks: list[int] = []
    alone = compare([BASELINE, KIT], settings, num_replicates=4, seed=3, on_progress=ticks.append)
    assert ticks == [1, 2, 3, 4, 5, 6, 7, 8]
    assert compare([BASELINE, KIT], settings, num_replicates=4, seed=3, num_processes=2) == alone


def test_the_seed_decides_the_replicates() -> None:
    def rows(seed: int) -> list[Row]:
        return compare([ONE], [setting()], num_replicates=3, seed=seed)["toy"]

    assert rows(1) == rows(1) != rows(2)


def test_under_a_limit_a_problem_gets_its_share_and_no_more() -> None:
    """The even share of 150 s for attempts of 400 s: nothing can be answered for long, and all ends in time."""
    slow = tuple(problem(f"{place}", 8, work_s=400.0) for place in range(4))
    (row,) = compare([EIGHT], [setting(recordings=slow, share_s=150.0)], num_replicates=4)["toy"]
    assert 0 < row.score.mean < 1
    assert row.seconds.high <= 150.0 + 1e-9


def test_the_natural_share_is_what_the_policy_takes_without_a_limit() -> None:
    recordings = problem("a", 8, work_s=60.0), problem("b", 8, work_s=180.0)
    assert natural_share_s(EIGHT, setting(recordings=recordings)) == pytest.approx(120.0)
    assert natural_share_s(EIGHT, setting(recordings=recordings, speeds=linear(0.0))) == pytest.approx(120.0)
    assert natural_share_s(ONE, setting(recordings=recordings, speeds=linear(1.0))) == pytest.approx(120.0 / 8)


def nearest_rank(values: list[float], probability: float) -> float:
    """The value of the rank nearest to the probability, by going through all of them; halves to the even rank."""
    ranked = sorted(values)
    wanted = probability * (len(ranked) - 1)
    distances = [(abs(rank - wanted), rank % 2, rank) for rank in range(len(ranked))]
    return ranked[min(distances)[2]]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=120))
def test_an_interval_is_the_mean_and_the_middle_95_percent(values: list[float]) -> None:
    found = Interval.of(values)
    assert found.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert found.low == nearest_rank(values, 0.025)
    assert found.high == nearest_rank(values, 0.975)


@pytest.mark.parametrize("num", [40, 41, 200, 1000])
def test_the_tails_of_an_interval_hold_a_fortieth_each(num: int) -> None:
    found = Interval.of(range(num))
    assert found.low / num == pytest.approx(0.025, abs=1 / num)
    assert (num - 1 - found.high) / num == pytest.approx(0.025, abs=1 / num)


def test_the_first_policy_is_the_competitions_common_ancestor() -> None:
    stop = BASELINE.solver.stop
    assert POLICIES[0] is BASELINE
    assert (stop.num_samples, stop.rule, BASELINE.solver.width, BASELINE.plan) == (8, "votes(4)", 8, "bank")
    assert (BASELINE.solver.voting.weighing, BASELINE.solver.pacing.kind) == ("entropy", "off")


def test_policies_have_names_of_their_own_and_the_kits_is_what_it_submits() -> None:
    names = [policy.name for policy in POLICIES]
    assert len(set(names)) == len(names)
    assert KIT in POLICIES
    assert KIT.solver == SolverConfig()


def test_plans_scale_with_the_limit_as_tuned_for_fifty_problems_in_five_hours() -> None:
    budget = BASELINE.budget(num_problems=50, share_s=348.0)
    assert (budget.cutoff_s, budget.bank_s, budget.bank_high_s, budget.first_s) == (17_400.0, 300.0, 900.0, 3600.0)
    half = BASELINE.budget(num_problems=50, share_s=174.0)
    assert (half.cutoff_s, half.bank_s, half.bank_high_s, half.first_s) == (8700.0, 150.0, 450.0, 1800.0)


def test_time_at_equal_score_is_where_the_curve_first_reaches_the_baselines_score() -> None:
    """By hand: the baseline scores 0.8 in 100 s; the other policy 0.6 in 20 s and 0.9 in 50 s, so 0.8 in 40 s."""

    def run(score: float, seconds: float) -> Run:
        return Run(score=score, seconds=seconds, num_samples=1, num_tokens=1)

    short = [[run(0.5, 60), run(0.6, 20)]] * 4
    long = [[run(0.8, 100), run(0.9, 50)]] * 4
    times = at_equal_score([ONE, EIGHT], [short, long])
    assert times[ONE.name] is not None
    assert times[EIGHT.name] is not None
    assert times[EIGHT.name].mean == pytest.approx(0.4)
    assert (times[EIGHT.name].low, times[EIGHT.name].high) == pytest.approx((0.4, 0.4))
    assert times[ONE.name].mean == pytest.approx(1.0)


def test_a_policy_that_never_gets_to_the_baselines_score_has_no_time() -> None:
    replicate = [Run(score=score, seconds=10, num_samples=1, num_tokens=1) for score in (0.8, 0.7)]
    assert at_equal_score([ONE, EIGHT], [[replicate], [replicate]])[EIGHT.name] is None


def test_runs_of_the_same_problems_by_two_models_are_asked_alike() -> None:
    """Problems that are always or never solved: the score tells which of them were asked."""
    recordings = tuple(
        Recording(
            name=f"{place}",
            attempts=(RecordedAttempt(answer=place % 2, work_s=9.0, num_tokens=9),) * 8,
            gold=0,
        )
        for place in range(10)
    )
    settings = [dataclasses.replace(setting(), name=name, recordings=recordings) for name in ("one", "other")]
    runs = run_all([EIGHT], settings, num_replicates=6)
    first, second = ([replicate[0].score for replicate in runs[each.name]] for each in settings)
    assert len(set(first)) > 1
    assert first == second
