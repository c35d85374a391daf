"""Targets for the steps before an answer, against a reference that spells them out."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kit.assets import TINY_MODEL
from kit.data.examples import AnswerForm, MathExample
from kit.engines.text.tokenizer import load_tokenizer
from kit.problem import Problem
from kit.training.objective import IGNORED
from kit.training.rows import Rows, rows_of
from kit.training.step_labels import StepLabels, row_steps


@cache
def tiny_tokenizer() -> Any:
    return load_tokenizer(TINY_MODEL)


@pytest.fixture
def tokenizer() -> Any:
    return tiny_tokenizer()


def example(gold: str, *steps: str, solution: str = "") -> MathExample:
    problem = Problem(id=f"{gold} {steps}", text=f"Which box is it after {len(steps) + 1} steps?")
    return MathExample(problem=problem, gold=gold, form=AnswerForm.INTEGER, steps=steps, solution=solution)


def rows(examples: list[MathExample], tokenizer: Any, folder: Path, style: Any = "at_once") -> Rows:
    return rows_of(examples, tokenizer, name="set", max_length=512, style=style, cache=folder)


def said(targets: torch.Tensor, tokenizer: Any) -> str:
    return str(tokenizer.decode(targets[targets != IGNORED]))


def test_each_step_says_its_own_result_and_every_later_one_the_answer(tokenizer: Any, tmp_path: Path) -> None:
    made = rows([example("42", "17", "30"), example("7"), example("5", "9")], tokenizer, tmp_path)
    assert made.steps is not None
    targets_SBK, num_steps_BK = made.steps.targets([0, 1, 2], made.batch([0, 1, 2]).targets_BK)
    spoken = [[said(targets_SBK[step, row], tokenizer) for step in range(3)] for row in range(3)]
    end = "<|im_end|>"
    assert spoken == [
        [r"\boxed{17}", r"\boxed{30}", rf"\boxed{{42}}{end}"],
        [rf"\boxed{{7}}{end}"] * 3,
        [r"\boxed{9}", rf"\boxed{{5}}{end}", rf"\boxed{{5}}{end}"],
    ]
    assert [sorted(set(row.tolist())) for row in num_steps_BK] == [[0, 3], [0, 1], [0, 2]]
    for row, gold in enumerate(("42", "7", "5")):
        assert said(targets_SBK[-1, row][num_steps_BK[row] > 0], tokenizer) == gold


def test_a_result_of_another_length_has_targets_as_far_as_both_go(tokenizer: Any, tmp_path: Path) -> None:
    made = rows([example("42", "7"), example("7", "123")], tokenizer, tmp_path)
    assert made.steps is not None
    answers_BK = made.batch([0, 1]).targets_BK
    targets_SBK, _ = made.steps.targets([0, 1], answers_BK)
    assert said(targets_SBK[0, 0], tokenizer) == r"\boxed{7}"
    num_answer = int((answers_BK[1] != IGNORED).sum())
    full = tokenizer(r"\boxed{123}", add_special_tokens=False)["input_ids"]
    assert targets_SBK[0, 1][:num_answer].tolist() == (full + [IGNORED] * num_answer)[:num_answer]


def test_rows_read_from_the_cache_have_the_same_steps(tokenizer: Any, tmp_path: Path) -> None:
    examples = [example("42", "17"), example("7")]
    first, again = (rows(examples, tokenizer, tmp_path) for _ in range(2))
    assert first.steps is not None
    assert again.steps is not None
    assert first.steps.sha256 == again.steps.sha256
    others = rows([example("42", "18"), example("7")], tokenizer, tmp_path)
    assert others.steps is not None
    assert others.steps.sha256 != first.steps.sha256


def test_a_result_takes_the_place_of_the_answer_and_of_nothing_that_is_spelled_like_it(
    tokenizer: Any, tmp_path: Path
) -> None:
    made = rows([example("e", "2"), example("b", "x")], tokenizer, tmp_path)
    assert made.steps is not None
    targets_SBK, num_steps_BK = made.steps.targets([0, 1], made.batch([0, 1]).targets_BK)
    assert [said(targets_SBK[0, row], tokenizer) for row in range(2)] == [r"\boxed{2}", r"\boxed{x}"]
    assert [said(targets_SBK[-1, row][num_steps_BK[row] > 0], tokenizer) for row in range(2)] == ["e", "b"]


def test_worked_solutions_and_examples_without_steps_have_none(tokenizer: Any, tmp_path: Path) -> None:
    worked = example("7", "3", solution=r"First 3, then \boxed{7}.")
    assert rows([worked], tokenizer, tmp_path, style="worked").steps is None
    assert rows([example("7"), example("8")], tokenizer, tmp_path).steps is None


@given(
    st.lists(
        st.tuples(st.integers(0, 99999), st.lists(st.integers(0, 99999), max_size=4)), min_size=1, max_size=4
    ).filter(lambda rows: any(steps for _, steps in rows))
)
def test_targets_are_those_of_a_reference_that_reads_each_token(told: list[tuple[int, list[int]]]) -> None:
    tokenizer = tiny_tokenizer()
    texts = [(rf"\boxed{{{gold}}}", str(gold), [str(step) for step in steps]) for gold, steps in told]
    labels = StepLabels.of([row_steps(tokenizer, *text) for text in texts])
    ids = [[*tokenizer(answer, add_special_tokens=False)["input_ids"], 1] for answer, _, _ in texts]
    width = max(map(len, ids))
    answers_BK = torch.tensor([row + [IGNORED] * (width - len(row)) for row in ids])
    targets_SBK, num_steps_BK = labels.targets(range(len(told)), answers_BK)
    assert len(targets_SBK) == 1 + max(len(steps) for _, steps in told)
    for row, (gold, steps) in enumerate(told):
        for step, targets_BK in enumerate(targets_SBK):
            wanted = ids[row]
            if step < len(steps):
                wanted = tokenizer(rf"\boxed{{{steps[step]}}}", add_special_tokens=False)["input_ids"]
            for column in range(width):
                has_target = column < min(len(wanted), len(ids[row]))
                assert targets_BK[row, column] == (wanted[column] if has_target else IGNORED)
        digits = tokenizer.decode(answers_BK[row][num_steps_BK[row] == len(steps) + 1])
        assert digits.strip() == str(gold)
