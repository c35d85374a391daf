"""What an evaluation writes into its journal, and how that is read back.

`run`: the head, all that the completions follow from. `problem`: an example with its gold, so that the journal stands
alone. `session`: a process that draws, from its start, with the kit and the machine that draw. `completion`: a sample
with both grades; of two with one key the later one counts, since only failed ones are drawn again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from kit.data.examples import AnswerForm, MathExample
from kit.evaluation.plan import CellKey
from kit.evaluation.records import Completion, Grade, ReadFrom
from kit.problem import Problem
from kit.sampling import FinishReason, Sample, TokenStats, ToolCall
from kit.solver.journal import Record

_NUM_DIGITS = 4  # of the statistics of a token; they are read off float32 logits, and a file has many of them


def problem_record(example: MathExample, place: int) -> Record:
    """An example. place: in the data set, from 0, whatever the shard."""
    values = {name: value for name, value in _values(example).items() if name not in ("problem", "steps")}
    problem = example.problem
    return {"kind": "problem", "problem": problem.key, "place": place, "id": problem.id, "text": problem.text, **values}


def example_of(record: Record) -> MathExample:
    """An example as it was before `problem_record`.

    Raises: KeyError, TypeError or ValueError for a record that was tampered with.
    """
    names = [each.name for each in dataclasses.fields(MathExample) if each.name not in ("problem", "form")]
    values = {name: record[name] for name in names if name in record}
    problem = Problem(record["id"], record["text"])
    return MathExample(problem=problem, form=AnswerForm(record["form"]), **values)


def session_record(facts: Record, *, begun_unix_s: float, batch_size: int) -> Record:
    """A process that begins, or goes on with, a run. facts: made by kit.evaluation.head."""
    return {"kind": "session", "begun_unix_s": begun_unix_s, "batch_size": batch_size, **facts}


def session_of(record: Record) -> Record:
    """What a session was recorded with; empty for a journal that told it in its head."""
    return {name: value for name, value in record.items() if name not in ("kind", "begun_unix_s", "batch_size")}


def completion_record(completion: Completion, *, session_s: float, keeps_token_stats: bool) -> Record:
    """A completion. session_s: when it came, in seconds since the session began.

    keeps_token_stats: the statistics of each token too, some 30 bytes a token; else they are left out.
    """
    sample = _values(completion.sample)
    stats = [_rounded(token) for token in completion.sample.token_stats] if keeps_token_stats else []
    return {
        "kind": "completion",
        "problem": completion.problem,
        "depth": completion.depth,
        "number": completion.number,
        "session_s": session_s,
        "sample": {
            **sample,
            "tool_calls": [_values(call) for call in completion.sample.tool_calls],
            "token_stats": stats,
        },
        "strict": _values(completion.strict),
        "lenient": _values(completion.lenient),
    }


def completion_of(record: Record) -> Completion:
    """A completion as it was before `completion_record`, with the statistics of each token where they were kept.

    Raises: KeyError, TypeError or ValueError for a record that was tampered with.
    """
    values = dict(record["sample"])
    values["finish"] = FinishReason(values["finish"])
    values["tool_calls"] = tuple(ToolCall(**call) for call in values["tool_calls"])
    values["token_stats"] = tuple(_stats_of(*token) for token in values["token_stats"])
    return Completion(
        problem=record["problem"],
        number=record["number"],
        depth=record["depth"],
        sample=Sample(**values),
        strict=_grade_of(record["strict"]),
        lenient=_grade_of(record["lenient"]),
    )


def key_of(completion: Completion) -> CellKey:
    """What tells it from all others of its run."""
    return completion.problem, completion.depth, completion.number


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two heads, one line each: `sampling.temperature is 0 here and 0.8 there`."""
    for name, here, there in differing_leaves(ours, theirs):
        yield f"{name} is {here!r} here and {there!r} there"


def differing_leaves(
    one: Mapping[str, Any], other: Mapping[str, Any], *, within: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Where two nested values differ: the leaf's name with dots, and both values; None for one that is not there."""
    for name in dict.fromkeys([*one, *other]):
        here, there = one.get(name), other.get(name)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            yield from differing_leaves(here, there, within=f"{within}{name}.")
        elif here != there:
            yield f"{within}{name}", here, there


def _grade_of(values: Mapping[str, Any]) -> Grade:
    span = values["span"]
    return Grade(
        answer=values["answer"],
        is_right=values["is_right"],
        read_from=ReadFrom(values["read_from"]),
        span=None if span is None else (span[0], span[1]),
    )


def _rounded(token: TokenStats) -> list[float | None]:
    values = token.logprob, token.entropy, token.confidence, token.halting
    return [None if value is None else round(value, _NUM_DIGITS) for value in values]


def _stats_of(logprob: float, entropy: float, confidence: float | None, halting: float | None) -> TokenStats:
    return TokenStats(logprob=logprob, entropy=entropy, confidence=confidence, halting=halting)


def _values(value: Any) -> dict[str, Any]:
    """A dataclass's own fields, those within it as they are."""
    return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
