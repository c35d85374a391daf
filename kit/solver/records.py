"""What the solver writes into the journal, and how it is read back.

`sample`: an attempt that ended, with its vote. `cut`: one that was cancelled, since the vote was decided or
time was up. `solution`: a problem's answer. Times are seconds on the competition's clock.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from kit.errors import EngineError
from kit.problem import ANSWER_MAX, Problem
from kit.sampling import FinishReason, Sample
from kit.solver.journal import Record
from kit.solver.vote_state import Solution, StopReason
from kit.voting.tally import Vote

_NOT_KEPT = ("token_stats", "tool_calls")  # of each token: megabytes for a long thought; calls are in the text


def checked_sample(sample: Sample) -> Sample:
    """What an engine returned, with plain numbers where it gave those of a tensor library.

    Raises: EngineError for what is no sample, or for an empty text that ended by itself: engines that break
        quietly give those at once (EAGLE-3 on MXFP4: docs/peers.md#speculation), and they are no answers.
    """
    try:
        plain = dataclasses.replace(
            sample,
            num_tokens=int(sample.num_tokens),
            seconds=float(sample.seconds),
            finish=FinishReason(sample.finish),
            depth=None if sample.depth is None else int(sample.depth),
            mean_logprob=_plain(sample.mean_logprob),
            mean_entropy=_plain(sample.mean_entropy),
            halting=_plain(sample.halting),
        )
        is_silent = not plain.text.strip() and not plain.tool_calls
    except (TypeError, ValueError, AttributeError) as error:
        raise EngineError(f"the engine returned {type(sample).__name__}, which is no sample: {error}") from error
    if not isinstance(plain.text, str):
        raise EngineError(f"the engine returned a text of type {type(plain.text).__name__}")
    if is_silent and plain.finish in (FinishReason.STOP, FinishReason.LENGTH):
        raise EngineError("the engine returned an empty text")
    return plain


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
    solution = Solution(**{**values, "reason": StopReason(values["reason"]), "votes": votes})
    if type(solution.answer) is not int or not 0 <= solution.answer <= ANSWER_MAX:
        raise ValueError(f"the answer {solution.answer!r} is not an integer 0–{ANSWER_MAX}")
    return solution


def _plain(value: float | None) -> float | None:
    return None if value is None else float(value)


def _fields(kind: type[Any], record: Record) -> dict[str, Any]:
    names = (each.name for each in dataclasses.fields(kind) if each.name not in _NOT_KEPT)
    return {name: record[name] for name in names if name in record}
