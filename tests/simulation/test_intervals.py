"""Intervals against a plain reference."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.simulation.intervals import Interval


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
