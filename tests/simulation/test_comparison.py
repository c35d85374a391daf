"""Policies on the same scenarios, where the truth is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from kit.simulation.comparison import Row, at_equal_score, rows_of
from kit.simulation.intervals import Interval
from kit.simulation.policy import BASELINE, KIT, Policy
from kit.simulation.replicates import Run, Setting, run_all
from tests.simulation.toy_policies import EIGHT, ONE, problem, setting


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


def test_under_a_limit_a_problem_gets_its_share_and_no_more() -> None:
    """The even share of 150 s for attempts of 400 s: nothing can be answered for long, and all ends in time."""
    slow = tuple(problem(f"{place}", 8, work_s=400.0) for place in range(4))
    (row,) = compare([EIGHT], [setting(recordings=slow, share_s=150.0)], num_replicates=4)["toy"]
    assert 0 < row.score.mean < 1
    assert row.seconds.high <= 150.0 + 1e-9


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
