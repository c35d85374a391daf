"""When the attempts of a journal ran, and how long each ran beside how many others.

In: a journal's records, of a run or of `kit eval`. Out: attempts on one clock, and for each of them its seconds by the
number of streams at once. Later processes are joined end to end, so that none overlaps with those of another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kit.errors import InputError
from kit.plots.timeline import Outcome, read_timeline
from kit.sampling import FinishReason
from kit.solver.journal import Record

_ROUNDING_S = 1e-6
"""Streams that are said to overlap by so little follow one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedAttempt:
    """One attempt on the journal's clock. num_tokens: 0 where they are not known, as of one that was cancelled."""

    problem: str
    begun_s: float
    ended_s: float
    num_tokens: int

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return self.ended_s - self.begun_s


def timed_attempts(records: Sequence[Record]) -> tuple[TimedAttempt, ...]:
    """The attempts that ran for some time, whatever came of them.

    Raises: InputError for records without times, or that are damaged.
    """
    try:
        is_evaluation = any(record["kind"] == "completion" for record in records)
        timed = tuple(_of_evaluation(records) if is_evaluation else _of_run(records))
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"a record without the times of its attempt, or a damaged one ({error!r})") from None
    return tuple(each for each in timed if each.seconds > _ROUNDING_S)


def seconds_by_streams(attempts: Sequence[TimedAttempt]) -> tuple[Mapping[int, float], ...]:
    """For each attempt, how many seconds so many streams ran at once, itself among them; they sum to its own."""
    ends = [(each.ended_s, False, place) for place, each in enumerate(attempts)]
    begins = [(each.begun_s, True, place) for place, each in enumerate(attempts)]
    found: list[defaultdict[int, float]] = [defaultdict(float) for _ in attempts]
    running: set[int] = set()
    last_s = 0.0
    for moment_s, is_begin, place in sorted(ends + begins):
        if moment_s > last_s + _ROUNDING_S:
            for each in running:
                found[each][len(running)] += moment_s - last_s
        last_s = moment_s
        (running.add if is_begin else running.discard)(place)
    return tuple(found)


def _of_run(records: Sequence[Record]) -> Iterator[TimedAttempt]:
    for span in read_timeline(records).spans:
        for each in span.attempts:
            yield TimedAttempt(
                problem=span.problem_id,
                begun_s=each.begun_s,
                ended_s=each.ended_s,
                num_tokens=0 if each.outcome is Outcome.FAILED else each.num_tokens,
            )


def _of_evaluation(records: Sequence[Record]) -> Iterator[TimedAttempt]:
    """A completion is recorded as it ends, in seconds since its session began."""
    start_s = latest_s = 0.0
    for record in records:
        if record["kind"] == "session":
            start_s = latest_s
        elif record["kind"] == "completion":
            sample, ended_s = record["sample"], start_s + float(record["session_s"])
            latest_s = max(latest_s, ended_s)
            is_broken = sample["finish"] == FinishReason.FAILED
            yield TimedAttempt(
                problem=record["problem"],
                begun_s=max(start_s, ended_s - float(sample["seconds"])),
                ended_s=ended_s,
                num_tokens=0 if is_broken else int(sample["num_tokens"]),
            )
