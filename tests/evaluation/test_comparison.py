from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InputError
from kit.evaluation.comparison import compare, condition, differences, mcnemar
from kit.evaluation.metrics import Grading
from tests.evaluation.runs import answered, completion, example, run
from tests.oracles.metrics_reference import mcnemar_by_enumeration

RIGHTS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12)


def of_rights(rights: list[bool]) -> list[list[str | None]]:
    return [["7" if is_right else "9"] for is_right in rights]


@given(st.integers(0, 7), st.integers(0, 7))
def test_mcnemar_is_the_share_of_coin_tosses_at_least_as_uneven(one: int, other: int) -> None:
    assert mcnemar(one, other) == pytest.approx(float(mcnemar_by_enumeration(one, other)), abs=1e-12)


def test_mcnemar_gives_the_values_of_a_binomial_table() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(0, 6) == pytest.approx(0.03125)
    assert mcnemar(10, 25) == pytest.approx(0.01667, abs=1e-5)
    assert 0.0 <= mcnemar(400, 900) < 1e-40


@given(RIGHTS)
def test_a_comparison_counts_every_problem_once_and_turns_round_with_the_runs(rights: list[tuple[bool, bool]]) -> None:
    one, other = answered(of_rights([pair[0] for pair in rights])), answered(of_rights([pair[1] for pair in rights]))
    forth, back = compare(one, other), compare(other, one)
    counts = forth.num_first_only, forth.num_second_only, forth.num_both_right, forth.num_both_wrong
    assert counts == tuple(rights.count(pair) for pair in ((True, False), (False, True), (True, True), (False, False)))
    assert forth.p_value == back.p_value
    assert forth.gain.value == pytest.approx(-back.gain.value)
    assert forth.gain.value == pytest.approx((forth.num_second_only - forth.num_first_only) / len(rights))
    assert forth.gain.low <= forth.gain.high
    assert len(forth.discordant) == forth.num_first_only + forth.num_second_only


def test_discordant_problems_are_listed_both_ways_with_what_each_run_answered() -> None:
    found = compare(answered([["7"], ["9"], ["7"], [None]]), answered([["9"], ["7"], ["7"], ["8"]]))
    first, second = found.discordant
    assert (first.problem.partition(":")[0], first.is_first_right, first.first_answer, first.gold) == (
        "p0",
        True,
        "7",
        "7",
    )
    assert (second.problem.partition(":")[0], second.is_first_right, second.second_answer) == ("p1", False, "7")
    assert json.loads(json.dumps(found.as_json()))["num_problems"] == 4


def test_several_samples_are_right_by_their_vote_and_accurate_by_their_share() -> None:
    found = compare(answered([["7", "7", "9"]]), answered([["9", "9", "7"]]))
    assert (found.num_first_only, found.first, found.second) == (1, pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_only_the_problems_of_both_are_compared_and_that_is_said() -> None:
    examples = [example(number) for number in range(4)]
    one = run(examples[:3], [completion(of, 0, "7") for of in examples[:3]])
    other = run(examples[1:], [completion(of, 0, "7") for of in examples[1:]])
    found = compare(one, other)
    assert found.num_problems == 2
    assert "2 problems are common, of 3 and 3" in found.warnings


def test_runs_without_a_common_problem_are_refused() -> None:
    with pytest.raises(InputError, match="no problem in common"):
        compare(
            run([example(0)], [completion(example(0), 0, "7")]), run([example(1)], [completion(example(1), 0, "7")])
        )


def test_runs_that_differ_in_data_prompt_or_limits_are_compared_with_a_warning_that_names_what_differs() -> None:
    one = answered([["7"]])
    other = answered(
        [["7"]], prompt={"variant": "plain"}, sampling={"temperature": 0.0, "max_new_tokens": 512, "seed": 9}
    )
    assert compare(one, other).warnings == (
        "the runs differ in prompt.variant: boxed, plain",
        "the runs differ in sampling.max_new_tokens: 256, 512",
    )
    assert differences({"data": None}, {"data": {"name": "x"}}) == ["data: None, {'name': 'x'}"]


def test_a_run_that_is_not_whole_is_compared_with_a_warning() -> None:
    examples = [example(0), example(1)]
    torn = run(examples, [completion(examples[0], 0, "7")])
    whole = run(examples, [completion(of, 0, "7") for of in examples])
    assert "the second run is not whole" in compare(whole, torn).warnings


def test_two_depths_of_one_run_are_compared() -> None:
    examples = [example(number) for number in range(3)]
    made = [completion(of, 0, "7" if depth == 3 else "9", depth=depth) for of in examples for depth in (1, 3)]
    swept = run(examples, made, depths=(1, 3))
    found = compare(swept, swept, depths=(1, 3))
    assert (found.first, found.second, found.first_depth, found.second_depth) == (0.0, 1.0, 1, 3)


def test_a_depth_names_a_condition_of_an_engine_that_recurses_and_the_only_one_of_any_other() -> None:
    plain, swept = run([], []), run([], [], depths=(1, 3, 10))
    assert condition(plain, 3) is None
    assert condition(run([], [], depths=(3,)), None) == 3
    assert condition(swept, 10) == 10
    with pytest.raises(InputError, match=r"has the depths 1, 3, 10: choose one with --depth"):
        condition(swept, None)
    with pytest.raises(InputError, match=r"no depth 30; it has 1, 3, 10 \(did you mean 3"):
        condition(swept, 30)


def test_the_lenient_grade_is_compared_where_it_is_asked_for() -> None:
    of = example(0)
    one, other = run([of], [completion(of, 0, None)]), run([of], [completion(of, 0, None, lenient="7")])
    assert compare(one, other).num_second_only == 0
    assert compare(one, other, grading=Grading.LENIENT).num_second_only == 1
