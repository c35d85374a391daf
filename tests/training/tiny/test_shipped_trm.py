"""The shipped TRM on the shipped model: whose it is, what depth 0 is, what depth gains."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from kit.assets import TINY_MODEL, TINY_TRM, is_shipped_pair
from kit.training.tiny.evaluation import load as load_tiny
from kit.training.tiny.evaluation import unseen
from kit.training.tiny.families import WORKED, Exercise
from kit.training.tiny.tokenizer import render_prompt
from kit.trm.checkpoint import check_backbone, load, load_alone
from kit.trm.language_model import RecursiveLM

OPENING = r"\boxed{"
SOLVED_STEPS = (1, 2, 3)


@pytest.fixture(scope="module")
def model() -> RecursiveLM:
    """Joined with the hash of the backbone checked."""
    return load(TINY_TRM, load_tiny(TINY_MODEL)[0])


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return load_tiny(TINY_MODEL)[1]


def prompts(exercises: Sequence[Exercise], tokenizer: PreTrainedTokenizerFast) -> dict[str, Tensor]:
    texts = [render_prompt(tokenizer, exercise.problem) + OPENING for exercise in exercises]
    batch: dict[str, Tensor] = tokenizer(texts, return_tensors="pt", padding=True)
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}


@torch.inference_mode()
def num_right(
    model: RecursiveLM, tokenizer: PreTrainedTokenizerFast, exercises: Sequence[Exercise], *, depth: int
) -> int:
    logits_BV = model(**prompts(exercises, tokenizer), depth=depth, logits_to_keep=1).logits[:, -1]
    said = tokenizer.convert_ids_to_tokens(logits_BV.argmax(-1).tolist())
    return sum(token == str(exercise.answer) for token, exercise in zip(said, exercises, strict=True))


def test_the_pair_that_is_taken_unchecked_passes_every_check() -> None:
    trm = load_alone(TINY_TRM)
    check_backbone(trm.config, TINY_MODEL)
    assert trm.config.cache == "exact"
    assert is_shipped_pair(TINY_TRM, TINY_MODEL)


@pytest.mark.parametrize("file", ["trm/config.json", "trm/model.safetensors", "model/model.safetensors"])
def test_a_pair_with_one_byte_changed_is_not_the_shipped_one(file: str, tmp_path: Path) -> None:
    shutil.copytree(TINY_TRM, tmp_path / "trm")
    shutil.copytree(TINY_MODEL, tmp_path / "model")
    assert is_shipped_pair(tmp_path / "trm", tmp_path / "model")
    content = bytearray((tmp_path / file).read_bytes())
    content[-2] ^= 1
    (tmp_path / file).write_bytes(content)
    assert not is_shipped_pair(tmp_path / "trm", tmp_path / "model")


def test_the_shipped_pair_with_a_further_file_of_weights_is_checked_like_any_other(tmp_path: Path) -> None:
    shutil.copytree(TINY_MODEL, tmp_path / "model")
    shutil.copyfile(TINY_TRM / "model.safetensors", tmp_path / "model" / "model-2.safetensors")
    assert not is_shipped_pair(TINY_TRM, tmp_path / "model")


def test_all_weights_together_are_under_twenty_megabytes() -> None:
    assert sum(file.stat().st_size for folder in (TINY_MODEL, TINY_TRM) for file in folder.iterdir()) < 20_000_000


@torch.inference_mode()
def test_at_depth_0_it_is_the_shipped_model_to_the_bit(model: RecursiveLM, tokenizer: PreTrainedTokenizerFast) -> None:
    inputs = prompts(unseen(num_per_difficulty=1, difficulties=(1, 3)), tokenizer)
    position_BT = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)  # the bare model would count padding
    alone = model.backbone(**inputs, position_ids=position_BT).logits
    assert torch.equal(model(**inputs, depth=0).logits, alone)


def test_depth_answers_unseen_exercises_that_the_model_alone_does_not(
    model: RecursiveLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    exercises = unseen(num_per_difficulty=8, difficulties=SOLVED_STEPS, families=("table",))
    alone, deep = (num_right(model, tokenizer, exercises, depth=depth) for depth in (0, 10))
    assert len(exercises) == 24
    assert alone <= 9  # 3 are a guess
    assert deep >= 16


@torch.inference_mode()
def test_the_halting_head_is_surer_of_answers_that_are_right(
    model: RecursiveLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    """At T = 1 exercises of one step are solved, those of three are not yet."""
    q = [
        float(model(**prompts(some, tokenizer), depth=1, logits_to_keep=1).halting_logit.mean())
        for some in (unseen(num_per_difficulty=8, difficulties=(steps,), families=("table",)) for steps in (1, 3))
    ]
    assert q[0] > q[1] + 1


@torch.inference_mode()
def test_worked_families_read_the_same_at_depth_10(model: RecursiveLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """The next token of whole solutions, argmax by argmax."""
    exercises = unseen(num_per_difficulty=1, difficulties=(2,), families=WORKED)
    texts = [render_prompt(tokenizer, exercise.problem) + exercise.solution for exercise in exercises]
    num_same = num_all = 0
    for exercise, text in zip(exercises, texts, strict=True):
        ids_BT = tokenizer(text, return_tensors="pt")["input_ids"]
        num_kept = len(tokenizer(exercise.solution)["input_ids"])
        said = [model(ids_BT, depth=depth, logits_to_keep=num_kept).logits.argmax(-1) for depth in (0, 10)]
        num_same += int((said[0] == said[1]).sum())
        num_all += num_kept
    assert num_same / num_all > 0.97
