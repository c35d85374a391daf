"""Small data, plans and engines for the tests of runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kit.data.examples import AnswerForm, DataSet, MathExample
from kit.engines.scripted import Script, ScriptedEngine
from kit.evaluation.plan import EvalPlan
from kit.problem import Problem
from kit.sampling import Prompt, SamplingParams

HEAD = {"model": {"name": "scripted"}, "engine": {"kind": "scripted"}}


def data(num_problems: int = 6) -> DataSet:
    examples = tuple(
        MathExample(problem=Problem(f"p{n}", f"What is ${n}+{n}$?"), gold=str(2 * n), form=AnswerForm.INTEGER)
        for n in range(num_problems)
    )
    return DataSet(name="sums", split="test", source="sums", sha256=f"of {num_problems}", examples=examples)


def plan(**changes: Any) -> EvalPlan:
    settings = {
        "data": data(),
        "sampling": SamplingParams(temperature=1.0, max_new_tokens=1000),
        "num_samples": 2,
        "depths": (3, 5),
        "batch_size": 4,
    }
    return EvalPlan(**{**settings, **changes})


def head(asked: EvalPlan) -> dict[str, Any]:
    return {**HEAD, **asked.facts}


def written(prompt: Prompt, params: SamplingParams) -> Script:
    """A text that follows from the question, the seed and the depth alone; a third of them are right."""
    n = int(prompt.messages[-1].content.partition("$")[2].partition("+")[0])
    answer = 2 * n + params.seed % 3
    return Script(
        text=f"At depth {params.depth}: \\boxed{{{answer}}}", seconds=0.01 + params.seed % 5 / 100, num_tokens=20
    )


def scripted() -> ScriptedEngine:
    return ScriptedEngine(written)


def gsm8k_file(folder: Path, num_problems: int = 4) -> Path:
    path = folder / "sums.jsonl"
    rows = [
        {"question": f"What is ${n}+{n}$?", "answer": f"It is {2 * n}.\n#### {2 * n}"}
        for n in range(1, num_problems + 1)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
