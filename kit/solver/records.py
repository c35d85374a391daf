"""What the solver writes into the journal, and how it is read back.

`sample`: an attempt that ended, with its vote. `cancelled`: one that was cancelled, since the vote was decided or
time was up. `solution`: a problem's answer. Times are seconds on the competition's clock.
"""

from __future__ import annotations

import dataclasses
import math
from types import NoneType
from typing import Any

from kit.problem import ANSWER_MAX, Problem
from kit.sampling import FinishReason, Sample, checked_sample
from kit.solver.journal import Record
from kit.solver.solution import Solution
from kit.solver.stopping import StopReason
from kit.voting.tally import TieBreak, Vote

_NOT_KEPT = ("token_stats", "tool_calls")  # of each token: megabytes for a long thought; calls are in the text

_NUMBER, _NO_NUMBER = (int, float), (int, float, NoneType)
_KINDS: dict[str, tuple[type, ...]] = {
    "problem_id": (str,), "guess": (str,), "answer": (int,), "num_samples": (int,), "num_tokens": (int,),
    "seconds": _NUMBER, "begun_s": _NUMBER, "allotted_s": _NUMBER, "depth": (int, NoneType),
    "posterior": _NO_NUMBER, "gain": _NO_NUMBER, "price": _NO_NUMBER,
}  # fmt: skip
"""What the values of a solution are, exactly: True is no number."""
_FINITE = ("seconds", "begun_s")


def sample_record(
    problem: Problem, number: int, sample: Sample, vote: Vote | None, *, begun_s: float, ended_s: float
) -> Record:
    """Attempt `number` at a problem, without the token statistics of each token."""
    values = {
        each.name: getattr(sample, each.name) for each in dataclasses.fields(Sample) if each.name not in _NOT_KEPT
    }
    return {
        "kind": "sample",
        "problem": problem.key,
        "number": number,
        "begun_s": begun_s,
        "ended_s": ended_s,
        "answer": None if vote is None else vote.answer,
        "weight": None if vote is None else vote.weight,
        **values,
    }


def sample_of(record: Record) -> Sample:
    """A sample as it was before `sample_record`, but for what is not kept.

    Raises: EngineError, KeyError, TypeError or ValueError for a record that was tampered with.
    """
    values = _fields(Sample, record)
    return checked_sample(Sample(**{**values, "finish": FinishReason(values["finish"])}))


def cancelled_record(problem: Problem, number: int, *, begun_s: float, ended_s: float) -> Record:
    """Attempt `number`, cancelled before it ended."""
    return {"kind": "cancelled", "problem": problem.key, "number": number, "begun_s": begun_s, "ended_s": ended_s}


def solution_record(problem: Problem, solution: Solution) -> Record:
    """A solution as the journal holds it."""
    ended_s = solution.begun_s + solution.seconds
    return {"kind": "solution", "problem": problem.key, **dataclasses.asdict(solution), "ended_s": ended_s}


def solution_of(record: Record) -> Solution:
    """A solution as it was before `solution_record`.

    Raises: KeyError, TypeError or ValueError for a record that was tampered with.
    """
    values = _fields(Solution, record)
    votes = tuple((int(answer), int(count)) for answer, count in values["votes"])
    tie_break = TieBreak(values.get("tie_break", ""))
    solution = Solution(**{**values, "reason": StopReason(values["reason"]), "votes": votes, "tie_break": tie_break})
    for name, kinds in _KINDS.items():
        value = getattr(solution, name)
        if type(value) not in kinds or (name in _FINITE and not math.isfinite(value)):
            raise TypeError(f"{name} must be of type {' or '.join(kind.__name__ for kind in kinds)}, got {value!r}")
    if not 0 <= solution.answer <= ANSWER_MAX:
        raise ValueError(f"the answer {solution.answer!r} is not an integer 0–{ANSWER_MAX}")
    return solution


def _fields(kind: type[Any], record: Record) -> dict[str, Any]:
    names = (each.name for each in dataclasses.fields(kind) if each.name not in _NOT_KEPT)
    return {name: record[name] for name in names if name in record}
