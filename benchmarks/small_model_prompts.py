"""How many sums a small model gets right under each of the kit's prompts: which rules it can bear.

    python -m benchmarks.small_model_prompts out/real-model --samples 4

In: a model's folder. 24 sums such as 4 + 7, of two numbers from 2 to 12 and fixed by a seed, under each prompt that
runs no code: greedy, and at T = 0.2 several samples each. Each is an attempt as the solver makes it: a text that has no
box is asked for one by the last call. Out: a table in Markdown: right samples with their 95 % interval, samples without
an answer, and tokens a sample. Strict: only a box or a stated answer counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import trio

from kit.data.examples import AnswerForm, MathExample
from kit.engines.opening import open_engine
from kit.evaluation.grading import grade
from kit.evaluation.intervals import wilson
from kit.problem import Problem
from kit.prompting import VARIANTS, PromptVariant, build_prompt
from kit.sampling import Engine, Sample, SamplingParams
from kit.solver.config import attempt_seed
from kit.tools.formats import Plain
from kit.tools.reasoner import ToolReasoner

NUM_SUMS = 24
GREATEST = 12
TEMPERATURES = (0.0, 0.2)
_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    prompt: str
    temperature: float
    num_samples: int
    num_right: int
    num_unanswered: int
    mean_tokens: float

    def __str__(self) -> str:
        low, high = wilson(self.num_right, self.num_samples)
        right = f"{self.num_right} of {self.num_samples} | {100 * low:.0f}–{100 * high:.0f} %"
        return f"| {self.prompt} | {self.temperature:g} | {right} | {self.num_unanswered} | {self.mean_tokens:.0f} |"


def main() -> None:
    """Ask, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--samples", type=int, default=4, help="of each sum where T > 0 (default: %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=256)
    worded = [each.name for each in VARIANTS.values() if each.tool_format == "plain"]
    parser.add_argument("--prompts", nargs="+", default=worded, choices=worded)
    args = parser.parse_args()
    print("| prompt | T | right | 95 % | without an answer | tokens a sample |\n|---|---|---|---|---|---|", flush=True)
    trio.run(_table, args.model, args.prompts, args.samples, args.max_new_tokens)


async def _table(model: Path, prompts: Sequence[str], num_samples: int, max_new_tokens: int) -> None:
    begun_s = time.monotonic()
    async with open_engine(model, device="cpu", dtype="float32", max_batch=48, num_threads=1) as engine:
        attempts = ToolReasoner(engine=engine, tool_format=Plain())
        for variant in map(VARIANTS.__getitem__, prompts):
            for temperature in TEMPERATURES:
                params = SamplingParams(temperature=temperature, max_new_tokens=max_new_tokens)
                row = await _row(attempts, variant, params, num_samples=num_samples if temperature else 1)
                print(row, flush=True)
    print(f"\n{time.monotonic() - begun_s:.0f} s", flush=True)


async def _row(engine: Engine, variant: PromptVariant, params: SamplingParams, *, num_samples: int) -> Row:
    drawn: list[tuple[MathExample, Sample]] = []

    async def draw(example: MathExample, number: int) -> None:
        seed = attempt_seed(0, example.problem, number)
        seeded = SamplingParams(seed=seed, temperature=params.temperature, max_new_tokens=params.max_new_tokens)
        prompt = build_prompt(example.problem, variant=variant)
        drawn.append((example, await engine.sample(prompt, seeded, timeout_s=_TIMEOUT_S)))

    async with trio.open_nursery() as nursery:
        for example in sums():
            for number in range(num_samples):
                nursery.start_soon(draw, example, number)
    return _counted(variant.name, params.temperature, drawn)


def _counted(prompt: str, temperature: float, drawn: Sequence[tuple[MathExample, Sample]]) -> Row:
    grades = [grade(sample.text, example)[0] for example, sample in drawn]
    return Row(
        prompt=prompt,
        temperature=temperature,
        num_samples=len(drawn),
        num_right=sum(each.is_right for each in grades),
        num_unanswered=sum(each.answer is None for each in grades),
        mean_tokens=sum(sample.num_tokens for _, sample in drawn) / len(drawn),
    )


def sums() -> tuple[MathExample, ...]:
    """The problems, and their answers."""
    rng = Random(0)
    pairs = [(rng.randint(2, GREATEST), rng.randint(2, GREATEST)) for _ in range(NUM_SUMS)]
    return tuple(
        MathExample(problem=Problem(f"sum-{number}", f"What is ${a} + {b}$?"), gold=str(a + b), form=AnswerForm.INTEGER)
        for number, (a, b) in enumerate(pairs)
    )


if __name__ == "__main__":
    main()
