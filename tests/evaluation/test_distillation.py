"""Right solutions kept as data for training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.answers.extraction import last_boxed
from kit.data.sets import load
from kit.errors import InputError
from kit.evaluation.distillation import DISTILLED, distilled_rows, write_distilled
from kit.evaluation.metrics import Grading
from kit.sampling import FinishReason
from tests.evaluation.runs import completion, example, run

SUM = example(1, level="3", subject="sums")


def kept(*completions: object, keep: int = 9, grading: Grading = Grading.STRICT) -> list[str]:
    made = run([SUM], completions, num_samples=len(completions))  # type: ignore[arg-type]
    return [row["solution"] for row in distilled_rows(made, keep=keep, grading=grading)]


def test_right_samples_that_ended_are_kept_and_no_others() -> None:
    whole = r"It is \boxed{7}."
    assert kept(
        completion(SUM, 0, "8"),
        completion(SUM, 1, "7", text=whole),
        completion(SUM, 2, "7", text=r"\boxed{7} and then", finish=FinishReason.LENGTH),
        completion(SUM, 3, None),
    ) == [whole]


def test_the_same_words_count_once_and_no_more_than_asked_for_are_kept() -> None:
    texts = [r"a \boxed{7}", "a \n \\boxed{7} ", r"b \boxed{7}", r"c \boxed{7}"]
    samples = [completion(SUM, number, "7", text=text) for number, text in enumerate(texts)]
    assert kept(*samples) == [texts[0], texts[2], texts[3]]
    assert kept(*samples, keep=2) == [texts[0], texts[2]]


def test_an_answer_that_is_not_boxed_gets_its_box_and_counts_by_the_lenient_grade_alone() -> None:
    stated = completion(SUM, 0, None, lenient="7", text="So 7.")
    assert kept(stated) == []
    assert kept(stated, grading=Grading.LENIENT) == ["So 7.\n\nThe final answer is $\\boxed{7}$."]


@given(st.lists(st.sampled_from([None, "7", "8", "77"]), min_size=1, max_size=12), st.integers(1, 5))
def test_every_row_is_right_and_rows_of_a_problem_differ(answers: list[str | None], keep: int) -> None:
    samples = [completion(SUM, n, each, text=f"{n % 3} \\boxed{{{each}}}") for n, each in enumerate(answers)]
    solutions = kept(*samples, keep=keep)
    assert len(set(solutions)) == len(solutions) <= keep
    assert all(last_boxed(solution) == SUM.gold for solution in solutions)
    assert bool(solutions) == ("7" in answers)


def test_what_is_written_loads_as_a_training_set(tmp_path: Path) -> None:
    other = example(2, gold="-12")
    samples = [completion(SUM, 0, "7"), completion(SUM, 1, "7", text=r"x \boxed{7}"), completion(other, 0, "-12")]
    made = write_distilled(
        run([SUM, other, example(3)], samples, num_samples=2), tmp_path, keep=4, grading=Grading.STRICT
    )
    assert (made.num_rows, made.num_problems, made.num_asked, made.num_right) == (3, 2, 3, 3)
    data = load(str(tmp_path), split="train")
    assert [(each.problem.id, each.gold, each.level, each.subject) for each in data.examples] == [
        ("p1-0", "7", "3", "sums"),
        ("p1-1", "7", "3", "sums"),
        ("p2-0", "-12", "", ""),
    ]
    rows = [json.loads(line) for line in (tmp_path / DISTILLED).read_text(encoding="utf-8").splitlines()]
    assert [each.solution for each in data.examples] == [row["solution"] for row in rows]


def test_half_a_character_of_a_problem_is_no_obstacle(tmp_path: Path) -> None:
    halves = example(2, gold="7", text="How \ud800many?")
    write_distilled(
        run([halves], [completion(halves, 0, "7")], num_samples=1), tmp_path, keep=1, grading=Grading.STRICT
    )
    (row,) = (json.loads(line) for line in (tmp_path / DISTILLED).read_text(encoding="utf-8").splitlines())
    assert row["problem"] == "How \ud800many?"


def test_a_run_without_a_right_solution_leaves_an_earlier_file_as_it_was(tmp_path: Path) -> None:
    (tmp_path / DISTILLED).write_text("before")
    with pytest.raises(InputError, match="none of 1 samples is a right solution by the strict grade; take easier"):
        write_distilled(run([SUM], [completion(SUM, 0, "8")]), tmp_path, keep=4, grading=Grading.STRICT)
    assert (tmp_path / DISTILLED).read_text() == "before"
