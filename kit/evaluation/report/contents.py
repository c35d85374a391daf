"""What the page shows of completions, whether an evaluation drew them or a dry run. Pure values, and their JSON.

A condition is what a column of attempts was drawn under: a run, and in it a depth. A grading is one way to read an
answer; an evaluation has two, a dry run one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kit.evaluation.metrics import TRUNCATED, Grading
from kit.evaluation.model_table import depth_name
from kit.evaluation.records import Completion, EvalRun, Grade
from kit.sampling import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRead:
    """What one grading read of one completion. is_right: None where no gold is known. span: as `Grade.span`."""

    answer: str | None
    is_right: bool | None
    read_from: str = ""
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One completion. condition: its place in `Contents.conditions`. read: one a grading."""

    condition: int
    number: int
    sample: Sample
    read: tuple[AnswerRead, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A problem and all attempts at it.

    gold: empty where it is not known. remarks: lines to show beside it. submitted: by condition, where something else
    than the count of votes decided: weights, a limit, a guess.
    """

    key: str
    name: str
    text: str
    gold: str = ""
    level: str = ""
    subject: str = ""
    solution: str = ""
    remarks: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    submitted: Mapping[int, AnswerRead] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All items, in the order of the first run that has them."""

    conditions: tuple[str, ...]
    gradings: tuple[str, ...]
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class NamedRun:
    """A run as the page calls it."""

    name: str
    run: EvalRun


def contents_of(runs: Sequence[NamedRun]) -> Contents:
    """The completions of one or several evaluations, problem by problem."""
    conditions = [(place, depth) for place, named in enumerate(runs) for depth in named.run.depths]
    places = {condition: number for number, condition in enumerate(conditions)}
    attempts: dict[str, list[Attempt]] = {}
    for place, named in enumerate(runs):
        for completion in named.run.completions:
            condition = places[place, completion.depth]
            attempts.setdefault(completion.problem, []).append(_attempt(completion, condition))
    examples = {example.problem.key: example for named in runs for example in reversed(named.run.examples)}
    ordered = dict.fromkeys(example.problem.key for named in runs for example in named.run.examples)
    return Contents(
        conditions=tuple(_condition_name(runs[place].name, depth) for place, depth in conditions),
        gradings=tuple(grading.value for grading in Grading),
        items=tuple(
            Item(
                key=key,
                name=examples[key].problem.id,
                text=examples[key].problem.text,
                gold=examples[key].gold,
                level=examples[key].level,
                subject=examples[key].subject,
                solution=examples[key].solution,
                attempts=tuple(attempts.get(key, ())),
            )
            for key in ordered
        ),
    )


def merged(several: Sequence[Contents]) -> Contents:
    """Several contents with the same gradings as one, item by item; remarks of all are kept."""
    conditions: list[str] = []
    items: dict[str, Item] = {}
    for contents in several:
        for item in contents.items:
            old = items.get(item.key, replace(item, remarks=(), attempts=(), submitted={}))
            by = len(conditions)
            moved = tuple(replace(each, condition=each.condition + by) for each in item.attempts)
            submitted = {condition + by: read for condition, read in item.submitted.items()}
            items[item.key] = replace(
                old,
                remarks=(*old.remarks, *item.remarks),
                attempts=(*old.attempts, *moved),
                submitted={**old.submitted, **submitted},
            )
        conditions += contents.conditions
    return Contents(conditions=tuple(conditions), gradings=several[0].gradings, items=tuple(items.values()))


def as_json(contents: Contents) -> str:
    """The contents as JSON that may stand in an HTML script element: ASCII, and without `<`, `>` or `&`.

    Places in texts count UTF-16 units there, as JavaScript does.
    """
    values = {
        "conditions": contents.conditions,
        "gradings": contents.gradings,
        "items": [_item(item) for item in contents.items],
    }
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.translate({ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"})


def _item(item: Item) -> dict[str, Any]:
    values = {"name": item.name, "text": item.text, "gold": item.gold, "level": item.level, "subject": item.subject}
    values |= {"solution": item.solution}
    filled = {name: value for name, value in values.items() if value}
    submitted = {str(condition): _read(read, "") for condition, read in item.submitted.items()}
    attempts = [_attempt_json(each) for each in item.attempts]
    return {**filled, "remarks": item.remarks, "attempts": attempts, "submitted": submitted}


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    sample = attempt.sample
    values = {
        "condition": attempt.condition,
        "number": attempt.number,
        "text": sample.text,
        "finish": sample.finish.value,
        "truncated": sample.finish in TRUNCATED,
        "tokens": sample.num_tokens,
        "seconds": round(sample.seconds, 2),
        "read": [_read(each, sample.text) for each in attempt.read],
    }
    more = {"error": sample.error, "depth": sample.depth, "halting": _rounded(sample.halting)}
    return values | {name: value for name, value in more.items() if value not in (None, "")}


def _read(read: AnswerRead, text: str) -> dict[str, Any]:
    values: dict[str, Any] = {"answer": read.answer, "right": read.is_right, "from": read.read_from}
    if read.span is not None:
        values["span"] = [_utf16_units(text[:place]) for place in read.span]
    return values


def _utf16_units(text: str) -> int:
    return len(text) + sum(letter > "\uffff" for letter in text)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _attempt(completion: Completion, condition: int) -> Attempt:
    return Attempt(
        condition=condition,
        number=completion.number,
        sample=completion.sample,
        read=tuple(_of_grade(grading.of(completion)) for grading in Grading),
    )


def _of_grade(grade: Grade) -> AnswerRead:
    return AnswerRead(answer=grade.answer, is_right=grade.is_right, read_from=grade.read_from.value, span=grade.span)


def _condition_name(run: str, depth: int | None) -> str:
    return run if depth is None else f"{run}, {depth_name(depth)}"
