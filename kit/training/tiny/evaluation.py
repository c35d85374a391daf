"""How good the tiny model is on problems it never saw, and the sample problems cut from them.

In: a Hugging Face folder. Out: per family the accuracy of one sample and of a majority of samples,
as a record (JSON) and a Markdown table; and `problems.csv`. Batched `generate` on the CPU: a
measure of the shipped weights, not an engine.

Shapes: P problems, G samples of each.
"""

from __future__ import annotations

import csv
import itertools
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, Qwen2ForCausalLM

from kit.answers.extraction import last_boxed
from kit.training.tiny.families import AT_ONCE, FAMILIES, WORKED, Exercise, Split, draw
from kit.training.tiny.tokenizer import render_prompt

MAX_NEW_TOKENS = 128  # the longest solution of a worked family has 115
TEMPERATURE = 1.0
NUM_SAMPLES = 8
TEST_DIFFICULTIES = range(1, 5)
# One sample problem at each of these. Half are of the family where depth is known to count, up to what the TRM learned.
SAMPLE_DIFFICULTIES: Mapping[str, Sequence[int]] = {
    **dict.fromkeys(WORKED, (2,)),
    **dict.fromkeys(AT_ONCE, (2, 3)),
    "table": 3 * (2, 3, 4, 5),
}
BATCH_SIZE = 256  # sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Shares in 0-1 over `num_problems` problems.

    one: of single samples, the mean over all drawn. majority: of the most frequent answer of each
    problem's samples, the earliest winning a tie; a sample without a box has no vote.
    """

    num_problems: int
    one: float
    majority: float


def load(folder: Path) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]:
    """The model in float32 (the CPU's faster type at this size) and its tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def evaluate(folder: Path, *, num_per_difficulty: int, temperature: float) -> dict[str, Accuracy]:
    """`by_family` of that model on unseen exercises, `NUM_SAMPLES` samples each."""
    model, tokenizer = load(folder)
    exercises_P = unseen(num_per_difficulty=num_per_difficulty, difficulties=TEST_DIFFICULTIES)
    problems_P = [exercise.problem for exercise in exercises_P]
    answers_PG = sample_answers(model, tokenizer, problems_P, num_samples=NUM_SAMPLES, temperature=temperature, seed=0)
    return by_family(exercises_P, answers_PG)


def unseen(
    *,
    num_per_difficulty: int,
    difficulties: Sequence[int] | Mapping[str, Sequence[int]],
    seed: int = 0,
    families: Iterable[str] = FAMILIES,
) -> list[Exercise]:
    """Distinct exercises of the test split: of each family and difficulty (its own in a mapping) `num_per_difficulty`.

    Fewer where there are fewer: `lcm 1` has but five in the test split.
    """
    rng = random.Random(f"unseen/{seed}")
    chosen: list[Exercise] = []
    for family in families:
        own = difficulties[family] if isinstance(difficulties, Mapping) else difficulties
        for difficulty in own:
            tries = range(20 * num_per_difficulty)
            drawn = (draw(family, rng, difficulty=difficulty, split=Split.TEST) for _ in tries)
            distinct = {exercise.problem: exercise for exercise in drawn}
            chosen += itertools.islice(distinct.values(), num_per_difficulty)
    return chosen


@torch.inference_mode()
def sample_answers(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[str],
    *,
    num_samples: int,
    temperature: float,
    seed: int,
) -> list[list[int | None]]:
    """answers_PG: the last boxed integer of each sample, None where there is none.

    temperature: 0 is greedy. Repeatable for the same problems, seed and number of threads.
    """
    torch.manual_seed(seed)
    prompts = [render_prompt(tokenizer, problem) for problem in problems for _ in range(num_samples)]
    sampling = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
    answers: list[int | None] = []
    for first in range(0, len(prompts), BATCH_SIZE):
        inputs = tokenizer(prompts[first : first + BATCH_SIZE], return_tensors="pt", padding=True)
        output_BT = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, **sampling)
        new_BT = output_BT[:, inputs["input_ids"].shape[1] :]
        answers += [_answer(text) for text in tokenizer.batch_decode(new_BT, skip_special_tokens=True)]
    return [answers[first : first + num_samples] for first in range(0, len(answers), num_samples)]


def accuracy(exercises_P: Sequence[Exercise], answers_PG: Sequence[Sequence[int | None]]) -> Accuracy:
    """The accuracy of those answers to those exercises, which must be one for one."""
    graded = list(zip(exercises_P, answers_PG, strict=True))
    hits = [answer == exercise.answer for exercise, answers_G in graded for answer in answers_G]
    wins = [_majority(answers_G) == exercise.answer for exercise, answers_G in graded]
    return Accuracy(num_problems=len(graded), one=sum(hits) / len(hits), majority=sum(wins) / len(wins))


def by_family(exercises_P: Sequence[Exercise], answers_PG: Sequence[Sequence[int | None]]) -> dict[str, Accuracy]:
    """The accuracy of each family, of each of its difficulties ("gcd 3"), and of them all ("all")."""
    groups: dict[str, list[int]] = {}
    for index, exercise in enumerate(exercises_P):
        kind = "all at once" if exercise.family in AT_ONCE else "all worked"
        for name in (exercise.family, f"{exercise.family} {exercise.difficulty}", kind, "all"):
            groups.setdefault(name, []).append(index)
    return {
        name: accuracy([exercises_P[i] for i in indices], [answers_PG[i] for i in indices])
        for name, indices in groups.items()
    }


def markdown(accuracies: Mapping[str, Accuracy]) -> str:
    """A table, in per cent, of every group that is not split by difficulty; sums of families last."""
    names = sorted((name for name in accuracies if not name[-1].isdigit()), key=lambda name: name.startswith("all"))
    rows = [f"| family | problems | one sample | majority of {NUM_SAMPLES} |", "|---|---|---|---|"]
    for name in names:
        measured = accuracies[name]
        rows.append(f"| {name} | {measured.num_problems} | {measured.one:.0%} | {measured.majority:.0%} |")
    return "\n".join(rows)


def measure(folder: Path) -> dict[str, int]:
    """How large the model is: its parameters, and the bytes of all its files."""
    model, tokenizer = load(folder)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocabulary": len(tokenizer),
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
    }


def write_problems(
    target: Path,
    *,
    num_per_difficulty: int = 1,
    difficulties: Sequence[int] | Mapping[str, Sequence[int]] = SAMPLE_DIFFICULTIES,
    families: Iterable[str] = FAMILIES,
) -> None:
    """Write unseen exercises as CSV (id, problem, answer), always the same; by default the sample problems.

    Raises: InputError for an unknown family, or a difficulty that it does not have.
    """
    exercises = unseen(num_per_difficulty=num_per_difficulty, difficulties=difficulties, seed=1, families=families)
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", "problem", "answer"))
        seen: Counter[str] = Counter()
        for exercise in exercises:
            seen[exercise.family] += 1
            problem_id = f"{exercise.family[:3]}{seen[exercise.family]:03}"
            writer.writerow((problem_id, exercise.problem, exercise.answer))


def _majority(answers_G: Sequence[int | None]) -> int | None:
    votes = Counter(answer for answer in answers_G if answer is not None)
    return votes.most_common(1)[0][0] if votes else None


def _answer(text: str) -> int | None:
    boxed = last_boxed(text)
    return int(boxed) if boxed is not None and re.fullmatch("[0-9]+", boxed) else None
