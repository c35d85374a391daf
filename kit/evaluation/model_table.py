"""The one table that answers the question: a row a model and depth, its accuracies beside what it was trained on. Pure.

Columns: model, training data, trainable parameters, GSM8K, MATH-500, its Level 5, any further set, note. Runs of the
same weights under one condition on several sets share a row; a second run on the same set has a row of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kit.evaluation.description import parameters_text
from kit.evaluation.intervals import Estimate
from kit.evaluation.metrics import Grading, Scores
from kit.evaluation.results import Results
from kit.evaluation.slices import Slice

GSM8K, MATH_500, LEVEL_5 = "GSM8K", "MATH-500", "Level 5"
_COLUMNS = {"gsm8k": GSM8K, "math500": MATH_500, "math": "MATH"}
_HARDEST = {MATH_500: LEVEL_5, "MATH": "MATH Level 5"}  # the column of the hardest level, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model under one condition. accuracies: by column. notes: what a reader must know of them."""

    model: str
    training_data: str
    trainable_parameters: int | None
    accuracies: Mapping[str, Estimate]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells as texts, by one grading."""

    grading: Grading
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def comparison_table(results: Sequence[Results], grading: Grading) -> Table:
    """The table over one or several runs, in their order."""
    rows = _rows(results, grading)
    found = dict.fromkeys(column for row in rows for column in row.accuracies)
    columns = tuple(dict.fromkeys((GSM8K, MATH_500, LEVEL_5, *found)))
    return Table(
        grading=grading,
        heads=("model", "training data", "trainable parameters", *(f"{each} %" for each in columns), "note"),
        rows=tuple(_cells(row, columns) for row in rows),
    )


def percent(estimate: Estimate | None) -> str:
    """An accuracy with its interval in per cent: 37.5 [30.1, 45.4]; a dash for none."""
    if estimate is None:
        return "–"
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def at_largest_k(by_k: Mapping[int, Estimate], scores: Scores) -> str:
    """maj@k or pass@k at the largest k, and of how many problems where some have fewer samples: @8: 37.5 [30.1, 45.4].

    by_k: one of the scores' own.
    """
    k, num_all = max(by_k), scores.num_problems_at_k[1]
    of = "" if scores.num_problems_at_k[k] == num_all else f" of {scores.num_problems_at_k[k]:,} problems"
    return f"@{k}: {percent(by_k[k])}{of}"


def depth_name(depth: int | None) -> str:
    """`T = 3`; empty for an engine that does not recurse."""
    return "" if depth is None else f"T = {depth}"


def _rows(results: Iterable[Results], grading: Grading) -> tuple[Row, ...]:
    rows: dict[tuple[object, ...], Row] = {}
    for result in results:
        for part in result.conditions:
            new = _row(result, part, grading)
            weights = (new.model, result.description.weights, new.training_data, new.trainable_parameters)
            number = 0
            while (old := rows.get((*weights, number))) and old.accuracies.keys() & new.accuracies.keys():
                number += 1
            rows[*weights, number] = _joined(old, new) if old else new
    return tuple(rows.values())


def _row(result: Results, part: Slice, grading: Grading) -> Row:
    about = result.description
    return Row(
        model=about.model if part.depth is None else f"{about.model}, {depth_name(part.depth)}",
        training_data=about.training_data,
        trainable_parameters=about.trainable_parameters,
        accuracies=dict(_accuracies(result, part, grading)),
        notes=tuple(_notes(result, part, grading)),
    )


def _joined(old: Row, new: Row) -> Row:
    """One row of two, whose accuracies are on different sets."""
    notes = tuple(dict.fromkeys((*old.notes, *new.notes)))
    return replace(old, accuracies={**old.accuracies, **new.accuracies}, notes=notes)


def _accuracies(result: Results, part: Slice, grading: Grading) -> Iterator[tuple[str, Estimate]]:
    """The accuracy on the run's set and, of MATH, on its hardest level."""
    column = _column(result)
    yield column, part.scores[grading].accuracy
    for each in result.parts:
        if column in _HARDEST and (each.depth, each.level) == (part.depth, "5"):
            yield _HARDEST[column], each.scores[grading].accuracy


def _column(result: Results) -> str:
    name = re.sub(r"[^a-z0-9]", "", result.description.data.lower())
    return _COLUMNS.get(name, result.description.data or "problems")


def _notes(result: Results, part: Slice, grading: Grading) -> Iterator[str]:
    about, scores = result.description, part.scores[grading]
    if about.note:
        yield about.note
    told = [f"{part.num_problems:,} problems × {max(scores.pass_at_k)}", *([about.prompt] if about.prompt else [])]
    told += [] if result.is_whole else ["not whole"]
    told += [f"{100 * part.cost.truncated:.0f} % truncated"] if part.cost.truncated else []
    yield f"{_column(result)}: {', '.join(told)}"


def _cells(row: Row, columns: Sequence[str]) -> tuple[str, ...]:
    accuracies = (percent(row.accuracies.get(column)) for column in columns)
    about = (row.model, row.training_data or "–", parameters_text(row.trainable_parameters))
    return (*about, *accuracies, "; ".join(row.notes))
