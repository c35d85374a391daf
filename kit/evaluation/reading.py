"""A run from its journal alone: a folder in, all that was drawn out, whether whole or not yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from kit.errors import InputError, MissingError
from kit.evaluation.plan import CellKey
from kit.evaluation.records import Completion, EvalRun
from kit.evaluation.run_records import completion_of, example_of, key_of, session_of
from kit.solver.journal import Record, read_records

JOURNAL_NAME = "journal.jsonl"


def read_run(folder: Path) -> EvalRun:
    """The run in a folder.

    Raises: MissingError where no run is there; InputError for a journal that is damaged or of something else.
    """
    path = folder / JOURNAL_NAME
    try:
        records = tuple(read_records(path))
    except FileNotFoundError:
        raise MissingError(f"{path}: no such run; expected a folder that `kit eval --out` wrote") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return run_of(records)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path}: no journal of `kit eval`, or a damaged one ({error!r})") from error


def run_of(records: Sequence[Record]) -> EvalRun:
    """The run that these records tell of, the head first.

    Raises: KeyError, TypeError, ValueError or IndexError for records of something else.
    """
    head = records[0]
    depths = tuple(head["depths"])
    problems = {record["problem"]: record for record in records if record["kind"] == "problem"}
    examples = tuple(example_of(record) for record in sorted(problems.values(), key=lambda record: record["place"]))
    drawn = drawn_in(records)
    order = {example.problem.key: place for place, example in enumerate(examples)}
    depth_order = {depth: place for place, depth in enumerate(depths)}
    completions = sorted(drawn.values(), key=lambda each: (order[each.problem], depth_order[each.depth], each.number))
    return EvalRun(
        head=head,
        examples=examples,
        completions=tuple(completions),
        depths=depths,
        num_samples=head["num_samples"],
        wall_s=_wall_s(records),
        sessions=tuple(session_of(record) for record in records if record["kind"] == "session"),
    )


def drawn_in(records: Iterable[Record]) -> dict[CellKey, Completion]:
    """Each completion once, the last of those with the same key."""
    completions = (completion_of(record) for record in records if record["kind"] == "completion")
    return {key_of(completion): completion for completion in completions}


def _wall_s(records: Iterable[Record]) -> float:
    """The sum over sessions of the time until each one's last completion."""
    spans: list[float] = []
    for record in records:
        if record["kind"] == "session":
            spans.append(0.0)
        elif record["kind"] == "completion" and spans:
            spans[-1] = max(spans[-1], record["session_s"])
    return sum(spans)
