from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kit.data.examples import AnswerForm, MathExample
from kit.data.sets import load
from kit.errors import InputError
from kit.evaluation.prompts import PromptStyle, prompt_of, stops_of
from kit.problem import Problem
from kit.prompting import INSTRUCTION
from kit.sampling import Message, Prompt


def example(text: str, solution: str = "", as_written: str = "") -> MathExample:
    return MathExample(
        problem=Problem(text, text), gold="5", form=AnswerForm.INTEGER, solution=solution, as_written=as_written
    )


ASKED = example("2 + 3?")
SHOTS = (example("1 + 1?", "1+1 = <<1+1=2>>2\n#### 2"), example("It's?", "That’s 4\n#### 4", as_written="It’s?"))


def test_boxed_is_the_kits_own_prompt() -> None:
    assert prompt_of(ASKED, PromptStyle.BOXED) == Prompt((Message("user", f"2 + 3?\n{INSTRUCTION}"),))
    assert stops_of(PromptStyle.BOXED) == ()


def test_worked_examples_are_earlier_turns_with_clean_boxed_answers() -> None:
    prompt = prompt_of(ASKED, PromptStyle.BOXED, SHOTS)
    assert [message.role for message in prompt.messages] == ["user", "assistant"] * 2 + ["user"]
    assert prompt.messages[1].content == "1+1 = 2\nThe final answer is $\\boxed{2}$."
    assert prompt.messages[2].content == f"It's?\n{INSTRUCTION}"


def test_lm_eval_is_a_raw_text_as_the_set_writes_it() -> None:
    expected = (
        "Question: 1 + 1?\nAnswer: 1+1 = <<1+1=2>>2\n#### 2\n\n"
        "Question: It’s?\nAnswer: That’s 4\n#### 4\n\n"
        "Question: 2 + 3?\nAnswer:"
    )
    assert prompt_of(ASKED, PromptStyle.LM_EVAL, SHOTS) == Prompt.raw(expected)
    assert prompt_of(ASKED, PromptStyle.LM_EVAL) == Prompt.raw("Question: 2 + 3?\nAnswer:")
    assert stops_of(PromptStyle.LM_EVAL) == ("Question:", "</s>", "<|im_end|>")


@pytest.mark.parametrize("style", PromptStyle)
def test_a_worked_example_without_a_solution_or_with_the_problem_itself_is_refused(style: PromptStyle) -> None:
    with pytest.raises(InputError, match="problem '1 \\+ 1\\?' has no worked solution"):
        prompt_of(ASKED, style, (example("1 + 1?"),))
    with pytest.raises(InputError, match="is among its own worked examples"):
        prompt_of(ASKED, style, (example("2 + 3?", "5"),))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_gsm8ks_prompt_is_that_of_its_lines(shared_data: Path) -> None:
    """An independent spelling of lm-evaluation-harness's template, from the raw lines."""
    raw = {split: _lines(shared_data / f"problems/gsm8k_{split}.jsonl") for split in ("train", "test")}
    shots = load(f"gsm8k={shared_data}/problems/gsm8k_train.jsonl", split="train", limit=5).examples
    for asked, row in zip(
        load(f"gsm8k={shared_data}/problems/gsm8k_test.jsonl", limit=50).examples, raw["test"], strict=False
    ):
        blocks = [f"Question: {shot['question']}\nAnswer: {shot['answer']}" for shot in raw["train"][:5]]
        expected = "\n\n".join([*blocks, f"Question: {row['question']}\nAnswer:"])
        assert prompt_of(asked, PromptStyle.LM_EVAL, shots).text == expected
