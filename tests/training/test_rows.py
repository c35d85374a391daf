"""Examples as rows of tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AddedToken

from kit.assets import TINY_MODEL
from kit.data.examples import AnswerForm, MathExample
from kit.engines.text.encoding import PromptEncoder
from kit.engines.text.tokenizer import load_tokenizer
from kit.errors import InputError
from kit.models.facts import ModelFacts
from kit.models.recognition import markers_of
from kit.problem import Problem
from kit.prompting import build_prompt
from kit.training.objective import IGNORED
from kit.training.rows import ANSWERING_MULTIPLE, COLUMNS_MULTIPLE, LeftOut, Rows, rows_of

SOLUTION = "She sells 48/2 = <<48/2=24>>24 clips, “then” 72.\n#### 1,072"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(TINY_MODEL)


def example(number: int, *, solution: str = SOLUTION, text: str = "How many clips?") -> MathExample:
    problem = Problem(id=str(number), text=text)
    return MathExample(problem=problem, gold="1072", form=AnswerForm.INTEGER, solution=solution)


def rows(examples: list[MathExample], tokenizer: Any, cache: Path, **changes: Any) -> Rows:
    settings = {"name": "set.jsonl", "max_length": 512, "style": "worked", "cache": cache, **changes}
    return rows_of(examples, tokenizer, **settings)


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
        special_tokens_map = tokenizer.special_tokens_map
        backend_tokenizer = tokenizer.backend_tokenizer
        apply_chat_template = tokenizer.apply_chat_template

    again = rows([example(0)], Untouched(), tmp_path)
    assert again.sha256 == first.sha256
    assert again.lengths == first.lengths


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no archive"])
def test_rows_that_cannot_be_read_are_made_anew(tokenizer: Any, tmp_path: Path, content: bytes) -> None:
    first = rows([example(0)], tokenizer, tmp_path)
    (file,) = tmp_path.glob("*.npz")
    whole = file.read_bytes()
    for damaged in (content, whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        assert rows([example(0)], tokenizer, tmp_path).sha256 == first.sha256
        assert len(file.read_bytes()) == len(whole)


@pytest.mark.parametrize("changes", [{"style": "at_once"}, {"max_length": 500}])
def test_other_settings_are_other_rows(tokenizer: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    rows([example(0)], tokenizer, tmp_path)
    rows([example(0)], tokenizer, tmp_path, **changes)
    assert len(list(tmp_path.glob("*.npz"))) == 2


def test_another_template_or_other_special_tokens_are_other_rows(tmp_path: Path) -> None:
    other = load_tokenizer(TINY_MODEL)
    other.chat_template = "{{ bos_token }}" + str(other.chat_template)
    for number, token in enumerate(("<|endoftext|>", "<|im_start|>"), 1):
        other.bos_token = token
        made = rows([example(0)], other, tmp_path)
        assert int(made.tokens_of(0)[0]) == other.convert_tokens_to_ids(token)
        assert len(list(tmp_path.glob("*.npz"))) == number
    other.chat_template = "x" + str(other.chat_template)
    assert other.decode(rows([example(0)], other, tmp_path).tokens_of(0)).startswith("x")


def test_an_answer_at_once_is_the_box_alone(tokenizer: Any, tmp_path: Path) -> None:
    made = rows([example(0)], tokenizer, tmp_path, style="at_once")
    assert made.batch([0]).columns_BK.shape == (1, ANSWERING_MULTIPLE)  # no recursion at columns that say nothing
    assert answer_text(0, made, tokenizer) == "\\boxed{1072}<|im_end|>"


def test_what_has_no_box_or_is_too_long_is_left_out_and_counted(tokenizer: Any, tmp_path: Path) -> None:
    examples = [
        example(0),
        example(1, solution=""),
        example(2, solution="So it is 5."),
        example(3, solution=SOLUTION * 40),
    ]
    for _ in ("tokenised", "read from the cache"):
        made = rows(examples, tokenizer, tmp_path)
        assert (len(made), made.left_out) == (1, LeftOut(unboxed=2, long=1))
    assert made.left_out.told(512) == "2 without a boxed answer, 1 longer than 512 tokens"


@pytest.mark.parametrize("style", ["worked", "at_once"])
def test_half_a_character_is_a_question_mark_as_it_is_for_generation(
    style: str, tokenizer: Any, tmp_path: Path
) -> None:
    """JSON may spell half of a surrogate pair, which no tokenizer takes."""
    halves = example(0, text="How \ud800many?", solution="So \ud800 it is \\boxed{7}.")
    made = rows([replace(halves, gold="7\udc00", steps=("5",))], tokenizer, tmp_path, style=style)
    text = tokenizer.decode(made.tokens_of(0))
    assert "user\nHow ?many?" in text
    assert text.endswith({"worked": "So ? it is \\boxed{7}.<|im_end|>", "at_once": "\\boxed{7?}<|im_end|>"}[style])
    assert made.steps is None


SPELLED = "It ends <|im_end|>\n<|im_start|>user <|im_end<|im_end|>|>, \\boxed{7}."


def test_control_tokens_that_a_problem_or_solution_spells_stay_text(tokenizer: Any, tmp_path: Path) -> None:
    spelled = example(0, text="What is <|im_end|>?", solution=SPELLED)
    made = rows([spelled], tokenizer, tmp_path)
    ids, begin = made.tokens_of(0).tolist(), int(made.answers[0])
    assert tuple(ids[:begin]) == PromptEncoder(tokenizer).encoded(build_prompt(spelled.problem)).ids
    assert [id_ for id_ in ids[begin:] if id_ in set(tokenizer.all_special_ids)] == [tokenizer.eos_token_id]
    assert answer_text(0, made, tokenizer) == SPELLED + "<|im_end|>"


@pytest.mark.parametrize(("gold", "step"), [("7", "<|im_end|>"), ("<|im_end|>7", "5"), ("7", "5\udc00")])
def test_steps_that_are_no_ordinary_text_are_told_to_nobody(
    tokenizer: Any, tmp_path: Path, gold: str, step: str
) -> None:
    spelled = [replace(example(0), gold=gold, steps=(step,)), replace(example(1), gold="3", steps=("2",))]
    made = rows(spelled, tokenizer, tmp_path, style="at_once")
    assert made.steps is not None
    assert made.steps.rows.tolist() == [0, 0, 1]


def test_marks_of_the_models_own_thoughts_are_its_tokens(tmp_path: Path) -> None:
    """Magistral's are special tokens, and its distilled solutions hold them."""
    other = load_tokenizer(TINY_MODEL)
    other.add_tokens([AddedToken(mark, special=True) for mark in ("[THINK]", "[/THINK]")])
    other.chat_template = "{# [THINK] [/THINK] [SYSTEM_PROMPT] #}" + str(other.chat_template)
    assert markers_of(ModelFacts(chat_template=other.chat_template)).thought == ("[THINK]", "[/THINK]")
    made = rows([example(0, solution="[THINK]2 + 5[/THINK]<|im_end|>\\boxed{7}")], other, tmp_path)
    answer = made.tokens_of(0)[int(made.answers[0]) :].tolist()
    added = [str(other.added_tokens_decoder[id_]) for id_ in answer if id_ in other.added_tokens_decoder]
    assert added == ["[THINK]", "[/THINK]", "<|im_end|>"]


def test_a_thought_that_the_template_opens_is_not_opened_twice(tmp_path: Path) -> None:
    other = load_tokenizer(TINY_MODEL)
    other.chat_template = str(other.chat_template) + "{{ '<think>\\n' }}"
    made = rows([example(0, solution="<think>2 + 5</think>\n\\boxed{7}")], other, tmp_path)
    assert other.decode(made.tokens_of(0)).endswith("assistant\n<think>\n2 + 5</think>\n\\boxed{7}<|im_end|>")


def test_nothing_left_to_train_on_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^set\.jsonl: none of 1 .* 1 without a boxed answer.*; --answers at_once"):
        rows([example(0, solution="no")], tokenizer, tmp_path)


def test_a_tokenizer_without_a_chat_template_or_end_is_refused(tmp_path: Path) -> None:
    bare = load_tokenizer(TINY_MODEL)
    bare.eos_token = None
    with pytest.raises(InputError, match="no end-of-sequence token"):
        rows([example(0)], bare, tmp_path)
    bare.chat_template = None
    with pytest.raises(InputError, match="no chat template"):
        rows([example(0)], bare, tmp_path)
