"""A problem of a scenario as it was answered, beside what the journal tells of it.

In: an Outcome with its journal. Out: one story for each problem, for whoever checks one against the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kit.problem import Problem
from kit.sampling import FinishReason
from kit.simulation.engine import marked
from kit.simulation.run import Outcome
from kit.solver.journal import Record
from kit.solver.solution import Solution


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One problem as it was answered, and as the journal tells it, in its order."""

    problem: Problem
    solution: Solution
    samples: tuple[Record, ...]  # attempts that ended, those that broke among them
    cut: tuple[Record, ...]
    told: tuple[Record, ...]  # solutions

    @property
    def name(self) -> str:
        """As a violation names it."""
        return f"problem {self.solution.problem_id}"

    @property
    def ended_s(self) -> float:
        """On the scenario's clock."""
        return self.solution.begun_s + self.solution.seconds

    @property
    def deadline_s(self) -> float:
        """On the scenario's clock."""
        return self.solution.begun_s + self.solution.allotted_s

    @property
    def whole(self) -> list[Record]:
        """Attempts that ended and did not break."""
        return [record for record in self.samples if record["finish"] != FinishReason.FAILED]

    @property
    def broken(self) -> list[Record]:
        """Attempts that broke."""
        return [record for record in self.samples if record["finish"] == FinishReason.FAILED]


def stories(outcome: Outcome) -> Iterator[Story]:
    """Every problem of a scenario, in the order in which they were asked."""
    records: dict[str, list[Record]] = {}
    for record in outcome.records:
        records.setdefault(record.get("problem", ""), []).append(record)
    for place, solution in enumerate(outcome.solutions):
        problem = Problem(f"{place}", marked(place))
        own = records.get(problem.key, [])
        yield Story(
            problem=problem,
            solution=solution,
            samples=tuple(record for record in own if record["kind"] == "sample"),
            cut=tuple(record for record in own if record["kind"] == "cancelled"),
            told=tuple(record for record in own if record["kind"] == "solution"),
        )
