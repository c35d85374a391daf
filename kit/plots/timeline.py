"""A competition's journal in, a Timeline of what ran when out; `kit.plots.timeline_picture` draws it.

Pure. Does not judge: answers and votes are those of the journal.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kit.errors import InputError
from kit.solver.journal import Record

_CLOCK_SLACK_S = 1.0
"""Records of one process may be this much out of order; more, and another process wrote them."""


class Outcome(StrEnum):
    """What an attempt came to."""

    ANSWERED = "answered"
    NO_ANSWER = "no answer"
    CANCELLED = "cancelled"  # the vote was decided, or time was up
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt, in seconds on the timeline's clock. answer: None unless it ANSWERED. depth: recursions T."""

    begun_s: float
    ended_s: float
    outcome: Outcome
    answer: int | None = None
    weight: float = 1.0
    depth: int | None = None
    num_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was answered and why sampling stopped. votes: (answer, votes), best first. is_guess: nobody voted.

    posterior: how likely the leader was thought right. gain, price: what the next attempt promised, and what its time
    was worth elsewhere, when the vote was last looked at. tie_break: what decided between equally many votes.
    """

    answer: int
    reason: str
    votes: tuple[tuple[int, int], ...] = ()
    is_guess: bool = False
    posterior: float | None = None
    gain: float | None = None
    price: float | None = None
    tie_break: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSpan:
    """The work of one process on one problem; a problem that was resumed has several.

    allotted_s: its hard cap. lanes: attempts that do not overlap share one. carried: (answer, weight) of the
    votes that earlier spans left. verdict: None if the process ended first. gold: None if not known.
    """

    problem_id: str
    begun_s: float
    ended_s: float
    allotted_s: float | None
    lanes: tuple[tuple[Attempt, ...], ...]
    carried: tuple[tuple[int, float], ...]
    verdict: Verdict | None
    gold: int | None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts, lane after lane."""
        return tuple(attempt for lane in self.lanes for attempt in lane)

    @property
    def is_right(self) -> bool | None:
        """None where no gold is known, or nothing was answered."""
        return None if self.gold is None or self.verdict is None else self.verdict.answer == self.gold


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The budget of each process, from the journal's head. num_problems: None if the competition does not tell."""

    limit_s: float
    reserve_s: float
    num_problems: int | None

    @property
    def cutoff_s(self) -> float:
        """When solving stops."""
        return self.limit_s - self.reserve_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A competition. Its clock runs from the first process's start; later processes are joined end to end.

    spans: in the order in which they began. starts_s: when each process started; the first at 0.
    num_untimed: solutions without times, as older kits wrote them; they are not among the spans.
    """

    spans: tuple[ProblemSpan, ...]
    starts_s: tuple[float, ...]
    limits: Limits | None
    num_untimed: int

    @property
    def ended_s(self) -> float:
        """When the last span ended."""
        return max(span.ended_s for span in self.spans)


def read_timeline(records: Iterable[Record], *, gold: Mapping[str, int] | None = None) -> Timeline:
    """The timeline of a journal's records, as `kit.solver.journal.read_records` gives them; broken ones are passed
    over.

    A process is told from the one before it by its clock, which begins anew; a resumption so early that the
    clock never goes back reads as one process. gold: right answers by problem id.
    Raises: InputError if no record has times.
    """
    clock, limits, num_untimed = _JoinedClock(), None, 0
    drafts: dict[tuple[int, str], _Draft] = {}
    votes: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for record in records:
        kind, key = record.get("kind"), record.get("problem")
        if kind == "run":
            limits = _limits(record)
        if kind not in ("sample", "cancelled", "solution") or not isinstance(key, str):
            continue
        span = clock.place(record)
        place = (len(clock.starts_s), key)
        if span is None and place not in drafts:
            num_untimed += kind == "solution"
            continue
        draft = drafts.setdefault(place, _Draft(key, carried=tuple(votes[key])))
        draft.spans += [span] if span else []
        if kind == "solution":
            draft.verdict, draft.allotted_s = _verdict(record), _number(record, "allotted_s")
        elif span:
            attempt = _attempt(record, *span)
            draft.attempts.append(attempt)
            votes[key] += [] if attempt.answer is None else [(attempt.answer, attempt.weight)]
    if not drafts:
        raise InputError("the journal holds no times (begun_s, ended_s) to draw: give one that this kit wrote")
    spans = sorted((draft.span(gold or {}) for draft in drafts.values()), key=lambda each: each.begun_s)
    return Timeline(spans=tuple(spans), starts_s=tuple(clock.starts_s), limits=limits, num_untimed=num_untimed)


@dataclass(slots=True)
class _JoinedClock:
    """Puts the times of several processes, each of which counts from its own start, on one clock."""

    starts_s: list[float] = field(default_factory=lambda: [0.0])
    _latest_s: float = 0.0  # of the present process, on its own clock
    _answered: tuple[object, float] = ("", 0.0)  # its last solution: of which problem, and when

    def place(self, record: Record) -> tuple[float, float] | None:
        """When what the record tells began and ended; None if it does not say."""
        begun_s, ended_s = _number(record, "begun_s"), _number(record, "ended_s")
        if begun_s is None or ended_s is None or ended_s < begun_s:
            return None
        # Records are written as things end, and problems come one after another; stragglers of a problem
        # that the boundary answered may still be written after its solution.
        problem, answered_s = self._answered
        is_early = problem != record["problem"] and begun_s < answered_s - _CLOCK_SLACK_S
        if is_early or ended_s < self._latest_s - _CLOCK_SLACK_S:
            self.starts_s.append(self.starts_s[-1] + self._latest_s)
            self._latest_s, self._answered = 0.0, ("", 0.0)
        self._latest_s = max(self._latest_s, ended_s)
        if record["kind"] == "solution":
            self._answered = (record["problem"], ended_s)
        return self.starts_s[-1] + begun_s, self.starts_s[-1] + ended_s


@dataclass(slots=True)
class _Draft:
    """A span while its records are being read."""

    key: str
    carried: tuple[tuple[int, float], ...]
    spans: list[tuple[float, float]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    verdict: Verdict | None = None
    allotted_s: float | None = None

    def span(self, gold: Mapping[str, int]) -> ProblemSpan:
        problem_id = self.key.rpartition(":")[0] or self.key  # kit.problem.Problem.key
        return ProblemSpan(
            problem_id=problem_id,
            begun_s=min(begun_s for begun_s, _ in self.spans),
            ended_s=max(ended_s for _, ended_s in self.spans),
            allotted_s=self.allotted_s,
            lanes=_lanes(self.attempts),
            carried=self.carried,
            verdict=self.verdict,
            gold=gold.get(problem_id),
        )


def _lanes(attempts: Iterable[Attempt]) -> tuple[tuple[Attempt, ...], ...]:
    """Each attempt in the first lane that is free when it begins: as many lanes as were ever in flight."""
    lanes: list[list[Attempt]] = []
    for attempt in sorted(attempts, key=lambda each: (each.begun_s, each.ended_s)):
        free = next((lane for lane in lanes if lane[-1].ended_s <= attempt.begun_s), None)
        if free is None:
            lanes.append([attempt])
        else:
            free.append(attempt)
    return tuple(tuple(lane) for lane in lanes)


def _attempt(record: Record, begun_s: float, ended_s: float) -> Attempt:
    answer, weight = _count(record.get("answer")), _number(record, "weight")
    outcome = Outcome.NO_ANSWER if answer is None else Outcome.ANSWERED
    if record["kind"] == "cancelled":
        outcome = Outcome.CANCELLED
    elif record.get("finish") == "failed":  # kit.sampling.FinishReason.FAILED
        outcome = Outcome.FAILED
    return Attempt(
        begun_s=begun_s,
        ended_s=ended_s,
        outcome=outcome,
        answer=answer if outcome is Outcome.ANSWERED else None,
        weight=1.0 if weight is None else weight,
        depth=_count(record.get("depth")),
        num_tokens=_count(record.get("num_tokens")) or 0,
    )


def _verdict(record: Record) -> Verdict | None:
    answer, votes = _count(record.get("answer")), record.get("votes")
    if answer is None:
        return None
    pairs = [pair for pair in votes if isinstance(pair, list | tuple)] if isinstance(votes, list | tuple) else []
    counted = tuple((pair[0], pair[1]) for pair in pairs if len(pair) == 2 and None not in map(_count, pair))
    reason, is_guess = str(record.get("reason", "")), bool(record.get("guess"))
    return Verdict(
        answer=answer,
        reason=reason,
        votes=counted,
        is_guess=is_guess,
        posterior=_number(record, "posterior"),
        gain=_number(record, "gain"),
        price=_number(record, "price"),
        tie_break=str(record.get("tie_break") or ""),
    )


def _limits(record: Record) -> Limits | None:
    settings = record.get("settings")
    budget = settings.get("budget") if isinstance(settings, dict) else None
    if not isinstance(budget, dict):
        return None
    limit_s, reserve_s = _number(budget, "limit_s"), _number(budget, "reserve_s")
    if limit_s is None or reserve_s is None or limit_s <= reserve_s:
        return None
    return Limits(limit_s=limit_s, reserve_s=reserve_s, num_problems=_count(budget.get("num_problems")))


def _number(record: Mapping[str, Any], name: str) -> float | None:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
