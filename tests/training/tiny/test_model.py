"""The shipped tiny model and the script that trained it."""

from __future__ import annotations

import csv
import itertools
import json
import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from kit.assets import SAMPLE_PROBLEMS, TINY_MODEL
from kit.errors import InputError, MissingError
from kit.training.tiny.architecture import export
from kit.training.tiny.data import Batch, exercises, pack
from kit.training.tiny.evaluation import accuracy, by_family, load, markdown, sample_answers, write_problems
from kit.training.tiny.families import FAMILIES, Exercise, Split, draw, split_of
from kit.training.tiny.model import TinyTraining, learning_rate_at, main, train
from kit.training.tiny.tokenizer import corpus, render_prompt, save_tokenizer, train_tokenizer

# Problem 1 of the AIMO3 reference set has this shape: long, LaTeX, names, a hypothetical modulus.
LONG_PROBLEM = (
    "Let $ABC$ be an acute‑angled triangle with integer side lengths and $AB<AC$. Points $D$ and $E$ lie on "
    "segments $BC$ and $AC$, respectively, such that $AD=AE=AB$. Line $DE$ intersects $AB$ at $X$. Circles $BXD$ "
    r"and $CED$ intersect for the second time at $Y \neq D$. What is the remainder of $abc$ modulo $10^{5}$? "
) * 5


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than they give at this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> Qwen2ForCausalLM:
    return load(TINY_MODEL)[0]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return load(TINY_MODEL)[1]


# --- the tokenizer ---------------------------------------------------------------------------


@given(text=st.text())
def test_any_text_makes_the_round_trip_in_normal_form_c(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text)


@given(number=st.integers(min_value=0))
def test_every_digit_is_a_token_of_its_own(tokenizer: PreTrainedTokenizerFast, number: int) -> None:
    assert tokenizer.tokenize(f"${number}$")[1:-1] == list(str(number))


def test_the_template_is_chatml_without_a_system_message_of_its_own(tokenizer: PreTrainedTokenizerFast) -> None:
    assert render_prompt(tokenizer, "What is $1+1$?") == (
        "<|im_start|>user\nWhat is $1+1$?\n"
        "Please reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_the_template_renders_every_role_and_opens_a_turn_only_if_asked(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello<|im_end|>\n"
    )


def test_the_markers_of_a_turn_are_single_special_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("<|im_start|><|im_end|><|endoftext|>")["input_ids"]
    assert ids == [1, tokenizer.eos_token_id, tokenizer.pad_token_id]
    assert tokenizer.decode(ids, skip_special_tokens=True) == ""
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token == "<|endoftext|>"


def test_the_shipped_tokenizer_is_the_one_that_the_script_trains(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    save_tokenizer(train_tokenizer(corpus()), tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).get_vocab() == tokenizer.get_vocab()


# --- the shipped weights ---------------------------------------------------------------------


def test_the_shipped_model_is_a_qwen2_that_vllm_takes_even_on_a_cpu() -> None:
    config = json.loads((TINY_MODEL / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert config["hidden_size"] // config["num_attention_heads"] in (32, 64)
    assert config["max_position_embeddings"] >= 1024


def test_the_shipped_files_are_under_ten_megabytes() -> None:
    assert sum(file.stat().st_size for file in TINY_MODEL.iterdir()) < 10e6


def test_generation_ends_at_either_end_token(tokenizer: PreTrainedTokenizerFast) -> None:
    settings = json.loads((TINY_MODEL / "generation_config.json").read_text(encoding="utf-8"))
    assert settings["eos_token_id"] == [tokenizer.eos_token_id, tokenizer.pad_token_id]


def test_the_weights_are_stored_in_bfloat16_and_load_so() -> None:
    assert AutoModelForCausalLM.from_pretrained(TINY_MODEL).dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("problem", "answer"),
    [
        (r"Find $\gcd(84,36)$.", 12),
        ("Find the sum of the squares of the digits of $213$.", 14),
        ("Find the remainder when $2^{3}+1$ is divided by $7$.", 2),
    ],
)
def test_the_shipped_model_solves_an_easy_problem_greedily(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, problem: str, answer: int
) -> None:
    (answers_G,) = sample_answers(model, tokenizer, [problem], num_samples=1, temperature=0, seed=0)
    assert answers_G == [answer]


def test_a_batch_of_ragged_prompts_answers_as_each_prompt_alone(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    problems = [r"Find $\gcd(84,36)$.", "How many integers from $1$ to $50$ are divisible by $2$ or $3$?"]
    together = sample_answers(model, tokenizer, problems, num_samples=1, temperature=0, seed=0)
    alone = [
        sample_answers(model, tokenizer, [problem], num_samples=1, temperature=0, seed=0)[0] for problem in problems
    ]
    assert together == alone


def test_a_long_foreign_problem_is_read_without_a_fault(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    inputs = tokenizer(render_prompt(tokenizer, LONG_PROBLEM), return_tensors="pt")
    assert 1000 < inputs["input_ids"].shape[1] < 2000
    output = model.generate(**inputs, max_new_tokens=4)
    assert output.shape[1] > inputs["input_ids"].shape[1]


# --- the sample problems ---------------------------------------------------------------------


def test_the_sample_problems_are_those_that_the_script_writes(tmp_path: Path) -> None:
    write_problems(tmp_path / "problems.csv")
    assert (tmp_path / "problems.csv").read_bytes() == SAMPLE_PROBLEMS.read_bytes()


def test_the_sample_problems_were_never_trained_on_and_mix_the_families() -> None:
    with SAMPLE_PROBLEMS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["id"] for row in rows}) == 22
    assert {split_of(row["problem"]) for row in rows} == {Split.TEST}
    assert {row["id"][:3] for row in rows} == {family[:3] for family in FAMILIES}
    assert all(0 <= int(row["answer"]) <= 99999 for row in rows)


# --- what it learns from ---------------------------------------------------------------------


def batch_of(stream: Iterator[Exercise], tokenizer: PreTrainedTokenizerFast, *, rows: int) -> Batch:
    return pack(stream, tokenizer, rows=rows, row_tokens=256)


def test_training_never_sees_a_problem_of_the_test_split() -> None:
    drawn = list(itertools.islice(exercises(0, 0), 300))
    assert {split_of(exercise.problem) for exercise in drawn} == {Split.TRAIN}
    assert {exercise.family for exercise in drawn} == set(FAMILIES)


def test_the_loss_is_on_whole_solutions_with_their_end_of_turn_and_on_nothing_else(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    batch = batch_of(exercises(0, 0), tokenizer, rows=2)
    learned = tokenizer.decode(batch.targets_RT[0][batch.weights_RT[0] > 0])
    solutions = {exercise.solution for exercise in itertools.islice(exercises(0, 0), 20)}
    packed = learned.split("<|im_end|>")
    assert packed.pop() == ""
    assert len(packed) >= 2
    assert set(packed) <= solutions


def test_packed_exercises_do_not_see_each_other(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Each exercise of a packed row gets the logits that it gets alone."""
    batch = batch_of(exercises(0, 1), tokenizer, rows=1)
    with torch.inference_mode():
        packed_TV = model(
            input_ids=batch.ids_RT, attention_mask=batch.mask_R1TT, position_ids=batch.positions_RT
        ).logits[0]
        starts = (batch.positions_RT[0] == 0) & (batch.ids_RT[0] == 1)
        bounds = [*starts.nonzero().flatten().tolist(), int((batch.ids_RT[0] != 0).sum())]
        assert len(bounds) > 2
        for start, end in itertools.pairwise(bounds):
            alone_TV = model(input_ids=batch.ids_RT[:, start:end]).logits[0]
            torch.testing.assert_close(packed_TV[start:end], alone_TV, atol=1e-4, rtol=1e-4)


def test_the_same_seed_and_step_give_the_same_batch(tokenizer: PreTrainedTokenizerFast) -> None:
    first, again, other = (batch_of(exercises(0, step), tokenizer, rows=1).ids_RT for step in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# --- the loop --------------------------------------------------------------------------------

SMALL = Qwen2Config(
    vocab_size=487,
    hidden_size=32,
    intermediate_size=32,
    num_hidden_layers=1,
    num_attention_heads=1,
    num_key_value_heads=1,
    tie_word_embeddings=True,
)


def recipe(run_dir: Path) -> TinyTraining:
    return TinyTraining(run_dir=run_dir, steps=3, rows=1, warmup_steps=1, save_every=1, threads=1)


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run_dir / "checkpoint.pt", weights_only=True)["model"]
    return state


def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(recipe(whole), architecture=SMALL) == 3
    answers = iter([False, True])
    assert train(recipe(parts), architecture=SMALL, should_stop=lambda: next(answers)) == 1
    assert train(recipe(parts), architecture=SMALL) == 3
    expected = weights(whole)
    for name, weight in weights(parts).items():
        assert torch.equal(weight, expected[name]), name


def test_training_on_the_same_exercises_lowers_the_loss(tmp_path: Path) -> None:
    train(
        TinyTraining(run_dir=tmp_path, steps=50, rows=2, warmup_steps=5, save_every=50, threads=1),
        architecture=SMALL,
    )
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert entries[0]["config"]["steps"] == 50
    assert entries[-1]["loss"] < 5  # ln 487 = 6.2 at the start


def test_a_run_exports_to_a_folder_that_loads(tmp_path: Path) -> None:
    train(TinyTraining(run_dir=tmp_path / "run", steps=1, rows=1, threads=1))
    export(tmp_path / "run", tmp_path / "model")
    exported, _ = load(tmp_path / "model")
    trained = weights(tmp_path / "run")
    for name, parameter in exported.named_parameters():
        assert torch.equal(parameter, trained[name].bfloat16().float()), name


def test_exporting_a_run_that_never_began_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="train --run-dir"):
        export(tmp_path, tmp_path / "model")


def test_the_command_line_tells_a_fault_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--run-dir", str(tmp_path), "--target", str(tmp_path / "model")]) == 2
    assert capsys.readouterr().err.startswith("no checkpoint at")


def test_the_learning_rate_warms_up_and_falls_to_nothing(tmp_path: Path) -> None:
    config = TinyTraining(run_dir=tmp_path, steps=100, warmup_steps=10)
    rates = [learning_rate_at(step, config) for step in range(101)]
    assert rates[9] == max(rates) == config.learning_rate
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0)


def test_refuses_a_recipe_without_steps(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="steps must be at least 1"):
        TinyTraining(run_dir=tmp_path, steps=0)


def test_the_command_line_has_a_flag_for_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    printed = capsys.readouterr().out
    for name in TinyTraining.__dataclass_fields__:
        assert "--" + name.replace("_", "-") in printed


# --- the measure -----------------------------------------------------------------------------


def exercise(answer: int) -> Exercise:
    return Exercise(family="gcd", difficulty=1, problem="p", solution="s", answer=answer)


def test_accuracy_counts_single_samples_and_the_majority() -> None:
    measured = accuracy(
        [exercise(5), exercise(7), exercise(9)],
        [[5, 5, 1, None], [1, 7, 1, 7], [None, None, None, None]],
    )
    assert measured.one == pytest.approx(4 / 12)
    assert measured.majority == pytest.approx(1 / 3)  # 1 came before 7, and no box is no vote


def test_the_table_has_a_row_for_each_family_and_each_kind() -> None:
    drawn = [draw(family, random.Random(0), difficulty=1, split=Split.TEST) for family in ("gcd", "table")]
    table = markdown(by_family(drawn, [[drawn[0].answer], [None]]))
    assert "| gcd | 1 | 100% | 100% |" in table
    assert "| all at once | 1 | 0% | 0% |" in table
    assert "| all | 2 | 50% | 50% |" in table
