"""A run's scores as `results.json` and its completions as `samples_<task>.jsonl`, in lm-evaluation-harness's own keys.

So that what reads that harness's output reads ours: `exact_match,strict` and `exact_match_stderr,strict` by task,
`n-samples`, `n-shot`, one line a completion and filter with `doc_hash`. What it has no key for stands beside them:
intervals, maj@k and pass@k, tokens, finish reasons. A filter is one of our gradings, strict or lenient. A condition
and, within it, a level or subject is a task of its own. Source: lm-eval 0.4.13, `evaluation_tracker.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.evaluation.description import Description, described
from kit.evaluation.intervals import Estimate
from kit.evaluation.metrics import Cost, Grading, Scores
from kit.evaluation.records import Completion, EvalRun
from kit.evaluation.slices import Slice, overall, slices
from kit.whole_file import written_whole

RESULTS_NAME = "results.json"
_NOTHING_READ = "[invalid]"  # as lm-evaluation-harness writes a filter's miss


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A run's scores. parts: as `kit.evaluation.slices.slices` cuts it; empty for a run without samples.

    wall_s: that the run drew for; 0 where it is not known. sessions: what each one drew with.
    """

    description: Description
    head: Mapping[str, Any]
    parts: tuple[Slice, ...]
    num_examples: int
    is_whole: bool
    wall_s: float = 0.0
    sessions: tuple[Mapping[str, Any], ...] = ()

    @property
    def tokens_per_s(self) -> float | None:
        """Of the whole run, over its wall time; None where that is not known."""
        num_tokens = sum(part.cost.num_tokens for part in self.conditions)
        return num_tokens / self.wall_s if self.wall_s > 0 else None

    @property
    def conditions(self) -> tuple[Slice, ...]:
        """All problems, one slice a condition."""
        return overall(self.parts)

    def task_of(self, part: Slice) -> str:
        """The name of a slice's task: `math500`, `math500_depth3_level_5`."""
        names = [self.description.task, "" if part.depth is None else f"depth{part.depth}"]
        names += [f"level_{part.level}" if part.level else "", f"subject_{part.subject}" if part.subject else ""]
        return "_".join(name.lower().replace(" ", "_") for name in names if name)

    def as_json(self) -> dict[str, Any]:
        """The whole as plain values."""
        tasks = {self.task_of(part): part for part in self.parts}
        return {
            "results": {name: _task(name, part) for name, part in tasks.items()},
            "n-samples": {
                name: {"original": part.num_asked, "effective": part.num_problems} for name, part in tasks.items()
            },
            "n-shot": dict.fromkeys(tasks, self.description.num_shots),
            "higher_is_better": {name: {"exact_match": True} for name in tasks},
            "config": dict(self.head),
            "sessions": [dict(session) for session in self.sessions],
            "is_whole": self.is_whole,
            "wall_s": self.wall_s,
            "tokens_per_s": self.tokens_per_s,
        }


def summary(run: EvalRun) -> Results:
    """Score a run, whole or not; deterministic."""
    return Results(
        description=described(run.head),
        head=run.head,
        parts=slices(run),
        num_examples=len(run.examples),
        is_whole=run.is_whole,
        wall_s=run.wall_s,
        sessions=run.sessions,
    )


def write_results(run: EvalRun, folder: Path) -> Results:
    """Write `results.json` and `samples_<task>.jsonl` into the folder.

    Raises: StorageError if it cannot be written.
    """
    results = summary(run)
    samples = folder / f"samples_{results.description.task}.jsonl"
    write_text(folder / RESULTS_NAME, json.dumps(results.as_json(), indent=1) + "\n")
    write_text(samples, "".join(json.dumps(line) + "\n" for line in sample_lines(run)))
    return results


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, in UTF-8; makes its folder. Raises: StorageError."""
    with written_whole(path) as part:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8", errors="replace", newline="\n")


def sample_lines(run: EvalRun) -> Iterator[dict[str, Any]]:
    """One record for each completion and grading, in the run's order."""
    places = {example.problem.key: place for place, example in enumerate(run.examples)}
    for completion in run.completions:
        example = run.examples[places[completion.problem]]
        doc = {"id": example.problem.id, "problem": example.problem.text, "answer": example.gold}
        doc |= {name: value for name, value in (("level", example.level), ("subject", example.subject)) if value}
        for grading in Grading:
            yield {
                "doc_id": places[completion.problem],
                "doc": doc,
                "target": example.gold,
                "doc_hash": _sha256(json.dumps(doc, indent=2, ensure_ascii=False)),
                "target_hash": _sha256(example.gold),
                **_graded(completion, grading),
            }


def _graded(completion: Completion, grading: Grading) -> dict[str, Any]:
    grade, sample = grading.of(completion), completion.sample
    return {
        "resps": [[sample.text]],
        "filtered_resps": [_NOTHING_READ if grade.answer is None else grade.answer],
        "filter": grading.value,
        "metrics": ["exact_match"],
        "exact_match": float(grade.is_right),
        "read_from": grade.read_from.value,
        "number": completion.number,
        "depth": completion.depth,
        "finish": sample.finish.value,
        "num_tokens": sample.num_tokens,
        "seconds": sample.seconds,
    }


def _task(name: str, part: Slice) -> dict[str, Any]:
    values: dict[str, Any] = {"alias": name, "sample_len": part.num_problems}
    for grading, scores in part.scores.items():
        values |= {f"{key},{grading.value}": value for key, value in _scored(scores).items()}
    return values | _cost(part.cost)


def _scored(scores: Scores) -> dict[str, Any]:
    """A grading's values by metric; `exact_match` is the accuracy."""
    values = _estimate("exact_match", scores.accuracy)
    for name, by_k in (("maj", scores.maj_at_k), ("pass", scores.pass_at_k)):
        for k, estimate in by_k.items():
            values |= _estimate(f"{name}@{k}", estimate)
        values |= {f"{name}@{k}_sample_len": scores.num_problems_at_k[k] for k in by_k}
    return values | {"unanswered": scores.unanswered}


def _estimate(name: str, estimate: Estimate) -> dict[str, Any]:
    return {
        name: estimate.value,
        f"{name}_stderr": "N/A" if estimate.stderr is None else estimate.stderr,  # as the harness writes it
        f"{name}_interval": [estimate.low, estimate.high],
    }


def _cost(cost: Cost) -> dict[str, Any]:
    return {
        "num_completions": cost.num_samples,
        "num_tokens": cost.num_tokens,
        "tokens_per_completion": cost.num_tokens / cost.num_samples,
        "seconds": cost.seconds,
        "tokens_per_s_of_a_stream": cost.tokens_per_s,
        "truncated": cost.truncated,
        "finish_reasons": {finish.value: count for finish, count in sorted(cost.finishes.items())},
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
