"""One scenario on a virtual clock: problems in, solutions and a trace out, both fixed by the seed."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio
import trio.testing

from kit.budget import Budget, BudgetConfig
from kit.problem import Problem
from kit.sampling import Engine
from kit.simulation.engine import Fault, ReplayEngine, marked
from kit.simulation.recording import RecordedAttempt, Recording, endless
from kit.simulation.speeds import MEASURED, StreamSpeeds
from kit.solver.config import SolverConfig
from kit.solver.journal import Journal, Record, read_records
from kit.solver.solution import Solution
from kit.solver.solver import Solver
from kit.voting.learned import LEARNED

WrapEngine = Callable[[Engine], Engine]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that decides how a scenario goes.

    recordings: the problems in the order in which they are asked. start_s: on the scenario's clock, when the first
    is asked. seed: of the attempts' orders and of simultaneous events. repeat: see `endless`.
    wrap: what stands between solver and engine. keeps_journal: whether a real journal is written, to be looked at
    afterwards.
    """

    recordings: Sequence[Recording]
    budget: BudgetConfig
    solver: SolverConfig
    seed: int = 0
    start_s: float = 0.0
    faults: tuple[Fault, ...] = ()
    speeds: StreamSpeeds = MEASURED
    repeat: float = LEARNED.repeat
    wrap: WrapEngine | None = None
    keeps_journal: bool = False

    def attempts_at(self, place: int) -> Iterator[RecordedAttempt]:
        """What the attempts at a problem give, one after another, whoever draws them."""
        return endless(self.recordings[place], random.Random(f"{self.seed}|{place}"), repeat=self.repeat)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a scenario went. ended_s: on its clock. records: its journal. engine: as the attempts left it."""

    scenario: Scenario
    solutions: tuple[Solution, ...]
    ended_s: float
    engine: ReplayEngine
    records: tuple[Record, ...] = ()

    @property
    def score(self) -> int:
        """Problems answered rightly."""
        return score_of(self.scenario.recordings, [solution.answer for solution in self.solutions])

    @property
    def trace(self) -> str:
        """A digest of everything that happened: equal for equal seeds."""
        return hashlib.sha256(repr((self.solutions, self.ended_s, self.records)).encode()).hexdigest()


def score_of(recordings: Sequence[Recording], answers: Sequence[int]) -> int:
    """Problems answered rightly; one whose gold is not known never is."""
    return sum(recording.gold == answer for recording, answer in zip(recordings, answers, strict=True))


def run(scenario: Scenario) -> Outcome:
    """Let the very solver answer the scenario, in virtual time."""
    with _scheduling_by(scenario.seed):
        if not scenario.keeps_journal:
            return _on_autojump_clock(scenario, None)
        with TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
            path = Path(folder) / "journal.jsonl"
            with Journal.open(path, run={"simulated": scenario.seed}) as journal:
                outcome = _on_autojump_clock(scenario, journal)
            return dataclasses.replace(outcome, records=tuple(read_records(path)))


def quiet() -> None:
    """Silence the log of this process: what strikes on purpose need not be told on every scenario's behalf."""
    logging.disable(logging.ERROR)


def _on_autojump_clock(scenario: Scenario, journal: Journal | None) -> Outcome:
    return trio.run(_play, scenario, journal, clock=trio.testing.MockClock(autojump_threshold=0))


async def _play(scenario: Scenario, journal: Journal | None) -> Outcome:
    zero = trio.current_time() - scenario.start_s

    def clock() -> float:
        return trio.current_time() - zero

    def attempts_of(place: int) -> Iterator[RecordedAttempt]:
        return scenario.attempts_at(place)

    engine = ReplayEngine(attempts_of, clock, scenario.faults, scenario.speeds)
    async with engine.running():
        wrapped = scenario.wrap(engine) if scenario.wrap else engine
        solver = Solver(wrapped, Budget(scenario.budget, clock), journal, scenario.solver)
        solutions = [
            await solver.solve(Problem(f"{place}", marked(place))) for place in range(len(scenario.recordings))
        ]
        return Outcome(scenario=scenario, solutions=tuple(solutions), ended_s=clock(), engine=engine)


@contextmanager
def _scheduling_by(seed: int) -> Iterator[None]:
    """Let trio order simultaneous tasks by the seed: it shuffles them on purpose, and offers no public way to fix that.

    The two names are those that hypothesis uses for the same end; a trio without them fails here, loudly.
    """
    core: Any = trio._core._run
    shuffling, is_sorted = core._r, core._ALLOW_DETERMINISTIC_SCHEDULING
    core._r, core._ALLOW_DETERMINISTIC_SCHEDULING = random.Random(seed), True
    try:
        yield
    finally:
        core._r, core._ALLOW_DETERMINISTIC_SCHEDULING = shuffling, is_sorted


_MEMORY = Path("/dev/shm")  # a journal of a simulated scenario need not wear out a disk
