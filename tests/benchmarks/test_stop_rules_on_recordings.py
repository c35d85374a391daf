"""Stop rules on recorded samples, where the truth can be counted by hand."""

from __future__ import annotations

import itertools

import pytest

from benchmarks.stop_rules_on_recordings import BASELINE, RULES, RecordedSample, orders, rows_of, stopped
from kit.solver.stopping import StopConfig


def sample(answer: int | None, *, right: int = 7, num_tokens: int = 10) -> RecordedSample:
    return RecordedSample(answer, answer == right, num_tokens)


def test_a_rule_stops_where_its_votes_are_and_counts_what_it_used() -> None:
    samples = [sample(7), sample(5), sample(7), sample(None), sample(7), sample(7), sample(7)]
    found = stopped(samples, StopConfig(num_samples=7, rule="votes(3)"), [range(7)])
    assert (found.right, found.num_samples, found.num_tokens) == (1.0, 5, 50)


def test_over_all_orders_the_first_answer_is_right_as_often_as_a_sample_is() -> None:
    samples = [sample(7), sample(7), sample(5), sample(3)]
    every = list(itertools.permutations(range(4)))
    assert stopped(samples, StopConfig(num_samples=4, rule="votes(1)"), every).right == 0.5


def test_samples_that_all_agree_cost_each_rule_its_least() -> None:
    rows = {row.rule: row for row in rows_of([[sample(7)] * 8] * 3, num_samples=8, num_orders=2)}
    assert set(rows) == set(RULES)
    assert {row.right for row in rows.values()} == {1.0}
    assert {row.gain for row in rows.values()} == {0.0}
    assert (rows[BASELINE].num_samples, rows["votes(2)"].num_samples, rows["lead(3,rest) | votes(4)"].samples) == (
        4, 2, 0.75,
    )  # fmt: skip


def test_a_problem_that_only_a_late_vote_gets_right_is_lost_by_a_hasty_rule() -> None:
    samples = [sample(5), sample(5), *[sample(7)] * 6]
    hasty = stopped(samples, StopConfig(num_samples=8, rule="votes(2)"), [range(8)])
    assert (hasty.right, stopped(samples, StopConfig(num_samples=8, rule=BASELINE), [range(8)]).right) == (0.0, 1.0)


def test_orders_are_fixed_by_the_seed_and_name_each_sample_once() -> None:
    found = orders(16, 8, 50, seed=1)
    assert found == orders(16, 8, 50, seed=1) != orders(16, 8, 50, seed=2)
    assert all(len(set(each)) == 8 and set(each) <= set(range(16)) for each in found)


@pytest.mark.parametrize("num_samples", [4, 8])
def test_no_rule_uses_more_samples_than_there_may_be(num_samples: int) -> None:
    problems = [[sample(each) for each in range(8)], [sample(None)] * 8]
    rows = rows_of(problems, num_samples=num_samples, num_orders=3)
    assert max(row.num_samples for row in rows) == num_samples
