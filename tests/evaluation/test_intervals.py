from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.evaluation.intervals import Z_95, bootstrap, estimated, estimated_gain, replicate_means, stderr, wilson
from tests.oracles.metrics_reference import bootstrap_means_by_loop, wilson_by_bisection

SHARES = st.lists(st.integers(0, 8).map(lambda eighths: eighths / 8), min_size=1, max_size=40)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_the_set_of_shares_that_the_score_test_does_not_reject(counts: tuple[int, int]) -> None:
    assert wilson(*counts) == pytest.approx(wilson_by_bisection(*counts, Z_95), abs=1e-10)


def test_wilson_gives_the_published_values() -> None:
    """Newcombe 1998 (doi 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E), table I, method 3."""
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for counts, interval in published.items():
        assert wilson(*counts) == pytest.approx(interval, abs=5e-5)


@given(SHARES)
def test_an_estimate_is_the_mean_and_its_interval_stays_between_0_and_1(values: list[float]) -> None:
    found = estimated(values)
    assert found.value == pytest.approx(statistics.fmean(values))
    assert 0.0 <= found.low <= found.high <= 1.0


@given(SHARES.filter(lambda values: len(values) > 1))
def test_the_standard_error_is_that_of_the_mean(values: list[float]) -> None:
    assert stderr(values) == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)))


def test_the_standard_error_of_one_value_is_not_known() -> None:
    assert stderr([0.5]) is None


def test_a_run_that_is_all_wrong_has_an_interval_with_a_width() -> None:
    assert estimated([0.0] * 64).high == pytest.approx(0.0566, abs=1e-4)


@given(SHARES, st.integers(0, 2**32))
def test_the_bootstrap_is_the_same_for_the_same_seed(values: list[float], seed: int) -> None:
    assert bootstrap(values, seed=seed) == bootstrap(values, seed=seed)


def test_the_bootstrap_agrees_with_a_plain_loop_up_to_its_own_noise() -> None:
    values = [0.0, 0.125, 0.5, 0.5, 0.625, 1.0, 1.0, 0.25] * 5
    loop = bootstrap_means_by_loop(values, 20_000, seed=3)
    fast = replicate_means(values, num_replicates=20_000, seed=4)
    assert np.quantile(fast, (0.025, 0.5, 0.975)) == pytest.approx(np.quantile(loop, (0.025, 0.5, 0.975)), abs=0.01)
    assert fast.std() == pytest.approx(np.std(values) / math.sqrt(len(values)), rel=0.03)


def test_a_bootstrap_of_many_problems_is_drawn_in_blocks_whose_means_spread_as_theory_says() -> None:
    """2,000 draws of 5,000 problems are more than one block."""
    values = [float(number % 5) / 4 for number in range(5_000)]
    means = replicate_means(values, num_replicates=2_000, seed=0)
    assert means.mean() == pytest.approx(0.5, abs=1e-3)
    assert means.std() == pytest.approx(np.std(values) / math.sqrt(5_000), rel=0.1)
    assert means[:400].std() == pytest.approx(means[-400:].std(), rel=0.2)


def test_nothing_cannot_be_estimated() -> None:
    with pytest.raises(ValueError, match="at least one problem"):
        estimated([])


@given(SHARES)
def test_no_estimate_is_more_certain_than_its_problems_allow(values: list[float]) -> None:
    """One problem with half of its samples right gave 50 % [50, 50], and so did a hundred of them."""
    found = estimated(values)
    assert found.low <= found.value + 1e-12
    assert found.high >= found.value - 1e-12
    if len(set(values)) == 1:
        assert (found.low, found.high) == pytest.approx(wilson(sum(values), len(values)))
        assert found.low < found.high


@given(st.lists(st.integers(-8, 8).map(lambda eighths: eighths / 8), min_size=1, max_size=40))
def test_a_gain_turns_round_with_the_runs_and_has_a_width(values: list[float]) -> None:
    found, turned = estimated_gain(values), estimated_gain([-value for value in values])
    assert found.value == pytest.approx(-turned.value)
    assert -1 - 1e-12 <= found.low <= found.high <= 1 + 1e-12
    if len(set(values)) == 1:
        assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low))
        assert found.low < found.high


def test_two_runs_alike_on_every_problem_may_differ_as_far_as_none_of_so_many_tells() -> None:
    """It was 0.0 [0.0, 0.0], of 4 problems as of 1,000."""
    assert estimated_gain([0.0] * 4).high == pytest.approx(0.4899, abs=1e-4)
    assert estimated_gain([0.0] * 1000).low == pytest.approx(-0.0038, abs=1e-4)
    assert estimated_gain([1.0] * 4).high == 1.0
    assert estimated_gain([1.0] * 4).low == pytest.approx(1 - 2 * 0.4899, abs=1e-4)
