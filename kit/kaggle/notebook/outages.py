"""When the engine was away during a run: as the journal keeps it, and as a report tells it of a problem.

In: what the server's supervisor tells, on the competition's clock. Out: records, and from records the gaps. Pure.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

from kit.solver.journal import Record
from kit.solver.solution import Solution

RECORD_KIND = "engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineNews:
    """The engine went or came back, at_s. why: how it went; empty when it is back."""

    at_s: float
    is_back: bool
    why: str = ""

    def record(self) -> Record:
        """As the journal holds it."""
        return {"kind": RECORD_KIND, **dataclasses.asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """No engine from begun_s to ended_s, which is infinite if it never came back."""

    begun_s: float
    ended_s: float
    why: str

    def __str__(self) -> str:
        length = f"away for {self.ended_s - self.begun_s:.0f} s" if math.isfinite(self.ended_s) else "never came back"
        return f"{self.why}, {length}"


def outages_in(records: Iterable[Record]) -> tuple[Outage, ...]:
    """The gaps in a journal, in order."""
    found: list[Outage] = []
    for record in records:
        if record["kind"] != RECORD_KIND:
            continue
        if not record["is_back"]:
            found.append(Outage(begun_s=record["at_s"], ended_s=math.inf, why=record["why"]))
        elif found and math.isinf(found[-1].ended_s):
            found[-1] = dataclasses.replace(found[-1], ended_s=record["at_s"])
    return tuple(found)


def outages_during(solution: Solution, outages: Iterable[Outage]) -> tuple[Outage, ...]:
    """Those that took something of a problem's time."""
    ended_s = solution.begun_s + solution.seconds
    return tuple(each for each in outages if each.begun_s < ended_s and solution.begun_s < each.ended_s)
