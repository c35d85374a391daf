"""A run cut into what is scored on its own: a condition (depth T), and within it each level and subject. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kit.data.examples import MathExample
from kit.evaluation.metrics import Cost, Grading, Scores, cost_of, scores_of
from kit.evaluation.records import Completion, EvalRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Problems of one condition, scored. level, subject: at most one is given; both empty: all problems.

    num_asked: problems in the run, those without a sample so far included; num_problems: those with one.
    """

    depth: int | None
    level: str = ""
    subject: str = ""
    num_asked: int
    num_problems: int
    scores: Mapping[Grading, Scores]
    cost: Cost


def slices(run: EvalRun) -> tuple[Slice, ...]:
    """Every condition that has a sample: all of it first, then by level and by subject, each in sorted order."""
    return tuple(each for depth in run.depths for each in _of_condition(run, depth))


def overall(parts: Sequence[Slice]) -> tuple[Slice, ...]:
    """The slices of all problems, one a condition."""
    return tuple(each for each in parts if not each.level and not each.subject)


def samples_by_problem(run: EvalRun, depth: int | None) -> dict[str, tuple[Completion, ...]]:
    """The samples of one condition by problem key, in the run's order; problems without any are left out."""
    samples: dict[str, list[Completion]] = {}
    for completion in run.completions:
        if completion.depth == depth:
            samples.setdefault(completion.problem, []).append(completion)
    return {key: tuple(sorted(each, key=lambda completion: completion.number)) for key, each in samples.items()}


def _of_condition(run: EvalRun, depth: int | None) -> Iterator[Slice]:
    samples = samples_by_problem(run, depth)
    yield from _slice(run.examples, samples, depth)
    for level in _values(run, lambda example: example.level):
        yield from _slice([each for each in run.examples if each.level == level], samples, depth, level=level)
    for subject in _values(run, lambda example: example.subject):
        yield from _slice([each for each in run.examples if each.subject == subject], samples, depth, subject=subject)


def _values(run: EvalRun, of: Callable[[MathExample], str]) -> list[str]:
    return sorted({value for value in map(of, run.examples) if value})


def _slice(
    examples: Sequence[MathExample],
    samples: Mapping[str, tuple[Completion, ...]],
    depth: int | None,
    *,
    level: str = "",
    subject: str = "",
) -> Iterator[Slice]:
    """One slice, or none where nothing was sampled yet."""
    samples_PG = [samples[key] for key in (each.problem.key for each in examples) if key in samples]
    if not samples_PG:
        return
    yield Slice(
        depth=depth,
        level=level,
        subject=subject,
        num_asked=len(examples),
        num_problems=len(samples_PG),
        scores={grading: scores_of(samples_PG, grading) for grading in Grading},
        cost=cost_of([each for samples_G in samples_PG for each in samples_G]),
    )
