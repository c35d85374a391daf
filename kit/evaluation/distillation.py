r"""A run on training problems in, the right solutions of it out, as rows that `--dataset` takes.

A model learns from its own words with the wrong answers left out: rejection sampling (arXiv 2308.01825, section 3.3).
What a row says is what the model wrote; a solution that ends without a box gets a last sentence with it, since small
models state their answer and box nothing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from kit.answers.extraction import last_boxed
from kit.data.examples import MathExample
from kit.data.solutions import final_sentence
from kit.errors import InputError
from kit.evaluation.metrics import Grading
from kit.evaluation.records import Completion, EvalRun
from kit.sampling import FinishReason
from kit.whole_file import written_whole

DISTILLED = "train.jsonl"
"""In the run's folder, which `--dataset` then takes as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distilled:
    """path: of the rows. num_problems: that have one, of `num_asked`. num_right: samples of `num_samples`."""

    path: Path
    num_rows: int
    num_problems: int
    num_asked: int
    num_right: int
    num_samples: int


def distilled_rows(run: EvalRun, *, keep: int, grading: Grading) -> Iterator[Mapping[str, str]]:
    """At most `keep` right solutions a problem, the first that differ in more than spaces.

    One that was cut off is no solution, even if it had said the answer.
    """
    texts: dict[str, dict[str, Completion]] = defaultdict(dict)
    for completion in run.completions:
        if _is_right(completion, grading):
            texts[completion.problem].setdefault(" ".join(completion.sample.text.split()), completion)
    for example in run.examples:
        for completion in islice(texts[example.problem.key].values(), keep):
            yield _row(example, completion)


def write_distilled(run: EvalRun, folder: Path, *, keep: int, grading: Grading) -> Distilled:
    """Write the rows of a run into its folder.

    Raises: InputError for a run without a right solution; StorageError.
    """
    rows = list(distilled_rows(run, keep=keep, grading=grading))
    num_right = sum(_is_right(completion, grading) for completion in run.completions)
    if not rows:
        raise InputError(
            f"{folder}: none of {len(run.completions)} samples is a right solution by the {grading} grade; "
            "take easier problems, more --attempts or more --max_new_tokens"
        )
    path = folder / DISTILLED
    with written_whole(path) as part:
        part.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Distilled(
        path=path,
        num_rows=len(rows),
        num_problems=len({row["problem"] for row in rows}),
        num_asked=len(run.examples),
        num_right=num_right,
        num_samples=len(run.completions),
    )


def _is_right(completion: Completion, grading: Grading) -> bool:
    return grading.of(completion).is_right and completion.sample.finish is FinishReason.STOP


def _row(example: MathExample, completion: Completion) -> Mapping[str, str]:
    """In the columns of kit.data.columns."""
    text = completion.sample.text.strip()
    if last_boxed(text) is None:
        text = f"{text}\n\n{final_sentence(example.gold)}"
    told = {"level": example.level, "subject": example.subject}
    return {
        "id": f"{example.problem.id}-{completion.number}",
        "problem": example.problem.text,
        "answer": example.gold,
        "solution": text,
        **{name: value for name, value in told.items() if value},
    }
