import json
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.votes_on_recordings import (
    MAX_SUBSETS,
    READINGS,
    Scale,
    WeighedAnswer,
    answers_of,
    as_integer,
    contested,
    is_vote_right,
    knows_anything,
    read_kept,
    rows_of,
    selection_table,
    share_right,
    subsets_of,
    within_problems,
)
from kit.errors import InputError
from kit.evaluation.metrics import Grading, is_majority_right
from kit.evaluation.slices import samples_by_problem
from kit.solver.genselect import SelectionConfig
from kit.voting.weights import WEIGHINGS
from tests.evaluation import runs


def weighed(answer: int | None, weight: float = 1.0) -> WeighedAnswer:
    """An answer where 7 is right; all weighings but the plain one weigh alike."""
    names = [*WEIGHINGS, *(f"{how}, scaled" for how in READINGS)]
    weights = {how: 1.0 if how == "count" else weight for how in names}
    return WeighedAnswer(answer=answer, is_right=answer == 7, weights=weights)


def test_a_weight_can_turn_a_vote_that_is_tied() -> None:
    answers = [weighed(7, 1.2), weighed(9, 0.8)]
    assert not is_vote_right(answers, "count")  # of equals the larger
    assert is_vote_right(answers, "entropy")


def test_a_vote_without_any_answer_is_wrong() -> None:
    assert not is_vote_right([weighed(None)], "count")


@given(st.lists(st.sampled_from(["7", "9", "-3", "1/2", "x", None]), min_size=1, max_size=6))
def test_the_plain_vote_is_the_kits_own_majority(said: list[str | None]) -> None:
    run = runs.answered([said])
    (samples,) = samples_by_problem(run, None).values()
    (answers,) = answers_of([samples], Grading.STRICT)
    assert is_vote_right(answers, "count") is is_majority_right([each.strict for each in samples])


def test_all_subsets_are_taken_where_they_are_few_and_as_many_as_allowed_where_not() -> None:
    assert subsets_of(8, 4) == list(combinations(range(8), 4))
    many = subsets_of(40, 8)
    assert len(many) == MAX_SUBSETS < math.comb(40, 8)
    assert many == subsets_of(40, 8)
    assert all(len(set(subset)) == 8 for subset in many)


def test_a_problem_counts_by_the_share_of_its_subsets() -> None:
    answers = [weighed(7), weighed(9), weighed(7)]
    assert share_right(answers, "count", 2) == pytest.approx(1 / 3)  # 7 and 9 are a tie, which 9 wins
    assert share_right(answers, "count", 3) == 1


def test_a_gain_is_paired_by_problem() -> None:
    helped, hurt, same = (
        [weighed(7, 1.2), weighed(9, 0.8)],
        [weighed(7, 0.8), weighed(5, 1.2)],
        [weighed(7), weighed(7)],
    )
    rows = {row.weighing: row for row in rows_of([helped, hurt, hurt, same], 2)}
    assert (rows["count"].gain, rows["count"].num_fixed, rows["count"].num_spoilt) == (0, 0, 0)
    assert rows["entropy"].gain == pytest.approx(-0.25)
    assert (rows["entropy"].num_fixed, rows["entropy"].num_spoilt) == (1, 2)
    assert rows["entropy"].low <= -0.25 <= rows["entropy"].high


def test_too_large_a_k_is_refused() -> None:
    with pytest.raises(InputError, match="no problem has 3 samples"):
        rows_of([[weighed(7)]], 3)


def test_right_and_wrong_are_compared_within_a_problem_only() -> None:
    apart = [weighed(7, 1.2), weighed(9, 0.8), weighed(None, 0.75)]
    tied = [weighed(7), weighed(9)]
    all_right = [weighed(7, 0.75)]
    assert within_problems([apart, tied, all_right], "entropy") == pytest.approx(0.75)
    assert within_problems([all_right], "entropy") is None


def test_a_weighing_that_weighs_all_alike_knows_nothing() -> None:
    assert knows_anything([[weighed(7, 1.2)], [weighed(9)]], "entropy")
    assert not knows_anything([[weighed(7, 1.2)], [weighed(9)]], "count")


def test_a_scale_is_linear_between_its_ends_and_knows_what_it_does_not_know() -> None:
    scale = Scale(-2.0, 0.0)
    assert [scale.weight(reading) for reading in (-9, -2, -1, 0, 9, None)] == [0.75, 0.75, 1.0, 1.25, 1.25, 1.0]
    assert Scale(1.0, 1.0).weight(1.0) == 1


def test_only_plain_digits_are_integers() -> None:
    assert [as_integer(text) for text in ("12", "-3", "1/2", "", "-", "²", "9" * 12)] == [
        12,
        -3,
        None,
        None,
        None,
        None,
        None,
    ]


def test_contested_problems_show_a_candidate_for_each_answer_in_range() -> None:
    run = runs.answered([["7", "7"], ["9", "7", "7", "-3"], ["8", None]])
    (found,) = contested(run, Grading.STRICT, summary_chars=1000)
    assert found.majority == 7
    assert [(each.answer, each.num_votes) for each in found.candidates] == [(7, 2), (9, 1)]
    assert found.candidates[0].summary == "So it is $\\boxed{7}$."
    assert found.has_right


def kept(answer: int | None, picks: list[list[int]], **values: Any) -> dict[str, Any]:
    return {
        "answer": answer, "picks": picks, "majority": 9, "liveness": "indifferent" if answer is None else "live",
        "num_rounds": 8, "num_parsed": sum(num for _, num in picks), "num_control_picks": 0, "num_tokens": 80, **values,
    }  # fmt: skip


def test_a_selection_that_is_not_live_leaves_the_majority() -> None:
    run = runs.answered([["9", "9", "7"], ["9", "9", "7"], ["9", "7", "9"]])
    problems = contested(run, Grading.STRICT, summary_chars=1000)
    keys = [each.problem.key for each in problems]
    lines = selection_table(problems, {keys[0]: kept(7, [[7, 8]]), keys[1]: kept(None, [[7, 4], [9, 3]])})
    assert "| majority | 0 | 2 |" in lines[2]
    assert "| GenSelect as used | 1 | 2 |" in lines[3]
    assert "live or not | 2 | 2 |" in lines[4]
    assert "selectors: 1 live, 1 indifferent; 15 of 16 rounds readable" in lines[6]


def test_a_kept_selection_of_other_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "picks.jsonl"
    assert read_kept(path, SelectionConfig(num_rounds=8)) == {}
    path.write_text(json.dumps({"problem": "p", "config": {"num_rounds": 5}}) + "\n")
    with pytest.raises(InputError, match="name another file, or delete it"):
        read_kept(path, SelectionConfig(num_rounds=8))
