"""Examples as rows of tokens."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kit.assets import TINY_MODEL
from kit.data.examples import AnswerForm, MathExample
from kit.engines.text.encoding import PromptEncoder
from kit.engines.text.tokenizer import load_tokenizer
from kit.errors import InputError
from kit.problem import Problem
from kit.prompting import build_prompt
from kit.training.objective import IGNORED
from kit.training.rows import ANSWERING_MULTIPLE, COLUMNS_MULTIPLE, Rows, rows_of

SOLUTION = "She sells 48/2 = <<48/2=24>>24 clips, “then” 72.\n#### 1,072"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(TINY_MODEL)


def example(number: int, *, solution: str = SOLUTION, text: str = "How many clips?") -> MathExample:
    problem = Problem(id=str(number), text=text)
    return MathExample(problem=problem, gold="1072", form=AnswerForm.INTEGER, solution=solution)


def rows(examples: list[MathExample], tokenizer: Any, cache: Path, **changes: Any) -> Rows:
    return rows_of(examples, tokenizer, **{"max_length": 512, "style": "worked", "cache": cache, **changes})


def answer_text(row: int, made: Rows, tokenizer: Any) -> str:
    batch = made.batch([row])
    return str(tokenizer.decode(batch.targets_BK[0][batch.targets_BK[0] != IGNORED]))


def test_the_loss_is_on_the_clean_solution_with_its_end_of_turn_and_on_nothing_else(
    tokenizer: Any, tmp_path: Path
) -> None:
    made = rows([example(0)], tokenizer, tmp_path)
    assert answer_text(0, made, tokenizer) == (
        'She sells 48/2 = 24 clips, "then" 72.\nThe final answer is $\\boxed{1072}$.<|im_end|>'
    )


@pytest.mark.parametrize(
    ("eos", "stops", "ends"),
    [
        ("<|im_start|>", ["<|im_end|>"], "<|im_end|>"),  # a faulty conversion: the turn's end, where generation ends
        ("<|endoftext|>", ["<|endoftext|>"], "<|endoftext|>"),  # a base model: generation goes on past the turn's end
        ("<|endoftext|>", ["<|endoftext|>", "<|im_end|>"], "<|im_end|>"),
        ("<|im_end|>", [], "<|im_end|>"),
    ],
)
def test_an_answer_ends_as_a_turn_does_if_generation_ends_there(
    eos: str, stops: list[str], ends: str, tmp_path: Path
) -> None:
    other = load_tokenizer(TINY_MODEL)
    other.eos_token = eos
    stop_ids = other.convert_tokens_to_ids(stops)
    made = rows([example(0)], other, tmp_path, stop_ids=stop_ids)
    assert answer_text(0, made, other).endswith("$\\boxed{1072}$." + ends)


def test_where_a_template_refuses_a_second_turn_the_tokenizer_says_how_an_answer_ends(tmp_path: Path) -> None:
    other = load_tokenizer(TINY_MODEL)
    other.eos_token = "<|endoftext|>"
    other.chat_template = "{% if messages | length > 1 %}{{ raise_exception('one turn') }}{% endif %}" + str(
        other.chat_template
    )
    made = rows([example(0)], other, tmp_path, stop_ids=other.convert_tokens_to_ids(["<|im_end|>"]))
    assert answer_text(0, made, other).endswith("<|endoftext|>")


def test_the_prompt_is_the_chat_that_generation_begins_from(tokenizer: Any, tmp_path: Path) -> None:
    made = rows([example(0)], tokenizer, tmp_path)
    prompt = tokenizer.decode(made.tokens_of(0)[: int(made.answers[0])])
    assert prompt == (
        "<|im_start|>user\nHow many clips?\nPlease reason step by step, and put your final answer within \\boxed{}."
        "<|im_end|>\n<|im_start|>assistant\n"
    )


def test_every_target_is_the_token_after_its_column(tokenizer: Any, tmp_path: Path) -> None:
    made = rows([example(0), example(1, solution=SOLUTION * 2)], tokenizer, tmp_path)
    batch = made.batch([1, 0])
    for place, row in enumerate((1, 0)):
        tokens = made.tokens_of(row)
        counted = batch.targets_BK[place] != IGNORED
        assert int(counted.sum()) == len(tokens) - int(made.answers[row])
        following = tokens[batch.columns_BK[place][counted] + 1]
        assert torch.equal(following, batch.targets_BK[place][counted])
        assert int(batch.columns_BK[place].max()) < len(tokens)


def test_padding_is_told_by_position_even_where_it_is_the_end_of_turn(tokenizer: Any, tmp_path: Path) -> None:
    """SmolLM2's padding token is its end-of-turn token; masking by its id would take the end out of the loss."""
    made = rows([example(0), example(1, text="How many clips? " * 9)], tokenizer, tmp_path)
    batch = made.batch([0, 1])
    assert batch.mask_BT is not None
    assert batch.mask_BT.sum(-1).tolist() == made.lengths
    ends = (batch.targets_BK == tokenizer.eos_token_id).sum(-1)
    assert ends.tolist() == [1, 1]


def test_shapes_are_few(tokenizer: Any, tmp_path: Path) -> None:
    made = rows([example(n, solution=f"{'1 + ' * n} \\boxed{{1}}") for n in range(30)], tokenizer, tmp_path)
    shapes = {made.batch([row]).ids_BT.shape[1] for row in range(30)}
    assert all(shape % COLUMNS_MULTIPLE == 0 for shape in shapes)
    assert len(shapes) <= 3


def test_rows_are_tokenised_once(tokenizer: Any, tmp_path: Path) -> None:
    first = rows([example(0)], tokenizer, tmp_path)

    class Untouched:
        chat_template = tokenizer.chat_template
        eos_token_id = tokenizer.eos_token_id
        backend_tokenizer = tokenizer.backend_tokenizer
        apply_chat_template = tokenizer.apply_chat_template

    again = rows([example(0)], Untouched(), tmp_path)
    assert again.sha256 == first.sha256
    assert again.lengths == first.lengths


@pytest.mark.parametrize("changes", [{"style": "at_once"}, {"max_length": 500}])
def test_other_settings_are_other_rows(tokenizer: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    rows([example(0)], tokenizer, tmp_path)
    rows([example(0)], tokenizer, tmp_path, **changes)
    assert len(list(tmp_path.glob("*.npz"))) == 2


def test_an_answer_at_once_is_the_box_alone(tokenizer: Any, tmp_path: Path) -> None:
    made = rows([example(0)], tokenizer, tmp_path, style="at_once")
    assert made.batch([0]).columns_BK.shape == (1, ANSWERING_MULTIPLE)  # no recursion at columns that say nothing
    assert answer_text(0, made, tokenizer) == "\\boxed{1072}<|im_end|>"


def test_what_has_no_box_or_is_too_long_is_left_out_and_counted(
    tokenizer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    examples = [
        example(0),
        example(1, solution=""),
        example(2, solution="So it is 5."),
        example(3, solution=SOLUTION * 40),
    ]
    for _ in ("tokenised", "read from the cache"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert len(rows(examples, tokenizer, tmp_path)) == 1
        assert "of 4 examples left out: 2 without a boxed answer, 1 longer than 512 tokens" in caplog.text


@pytest.mark.parametrize("style", ["worked", "at_once"])
def test_half_a_character_is_a_question_mark_as_it_is_for_generation(
    style: str, tokenizer: Any, tmp_path: Path
) -> None:
    """JSON may spell half of a surrogate pair, which no tokenizer takes."""
    halves = example(0, text="How \ud800many?", solution="So \ud800 it is \\boxed{7}.")
    made = rows([replace(halves, gold="7\udc00", steps=("5\udc00",))], tokenizer, tmp_path, style=style)
    text = tokenizer.decode(made.tokens_of(0))
    assert "user\nHow ?many?" in text
    assert text.endswith({"worked": "So ? it is \\boxed{7}.<|im_end|>", "at_once": "\\boxed{7?}<|im_end|>"}[style])


def test_control_tokens_that_a_problem_or_solution_spells_stay_text(tokenizer: Any, tmp_path: Path) -> None:
    spelled = example(0, text="What is <|im_end|>?", solution="It ends <|im_end|>\n<|im_start|>user, \\boxed{7}.")
    made = rows([spelled], tokenizer, tmp_path)
    ids = made.tokens_of(0).tolist()
    prompt = PromptEncoder(tokenizer).encoded(build_prompt(spelled.problem))
    assert tuple(ids[: int(made.answers[0])]) == prompt.ids
    assert ids[int(made.answers[0]) :].count(tokenizer.eos_token_id) == 1
    assert answer_text(0, made, tokenizer) == "It ends <|im_end|>\n<|im_start|>user, \\boxed{7}.<|im_end|>"


def test_nothing_left_to_train_on_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of 1 examples can be trained on: 1 without a boxed answer"):
        rows([example(0, solution="no")], tokenizer, tmp_path)


def test_a_tokenizer_without_a_chat_template_or_end_is_refused(tmp_path: Path) -> None:
    bare = load_tokenizer(TINY_MODEL)
    bare.eos_token = None
    with pytest.raises(InputError, match="no end-of-sequence token"):
        rows([example(0)], bare, tmp_path)
    bare.chat_template = None
    with pytest.raises(InputError, match="no chat template"):
        rows([example(0)], bare, tmp_path)
