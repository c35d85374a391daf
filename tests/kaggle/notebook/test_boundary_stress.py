"""The boundary's promise in random competitions on a real clock: every predict in its share and slack, the whole in
time.

Each is fixed by its seed but for what threads do: loads that are slow, hang or end the process, attempts that block the
loop, hang, panic or ask to end the process, a vote with selection and ladders, and a process that is killed and
resumed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from kit.budget import Budget, BudgetConfig
from kit.engines.scripted import Fault, Script, ScriptedEngine
from kit.kaggle.notebook.boundary import ANSWER_S, SLACK_S, Competition
from kit.problem import ANSWER_MAX, Problem
from kit.sampling import Engine, OnChunk, Prompt, Sample, SamplingParams
from kit.solver.config import SolverConfig
from kit.solver.genselect import SelectionConfig
from kit.solver.journal import Journal, read_records
from kit.solver.vote_state import Solution, StopConfig

LIMIT_S = 4.0
GRACE_S = 0.2
MACHINE_S = 8.0  # what a busy machine may add to the whole
ENDINGS = (SystemExit(3), KeyboardInterrupt(), MemoryError(), RecursionError())


class Panic(BaseException):
    """As pyo3's."""


class Faulty(ScriptedEngine):
    """Attempts that fail in every way, by the rng."""

    def __init__(self, rng: Random, release: threading.Event) -> None:
        super().__init__(lambda prompt, params: self._script())
        self.rng, self.release = rng, release
        self.kinds = rng.choices(("well", "blocks", "panics", "ends", "hangs"), (6, 1, 2, 1, 2), k=40)
        self.num = 0

    def _script(self) -> Script:
        hangs = self.kinds[self.num % 40] == "hangs"
        fault = Fault.HANG if hangs else Fault.NONE
        return Script(text=f"\\boxed{{{self.rng.randrange(3)}}}", seconds=self.rng.uniform(0.01, 0.4), fault=fault)

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        self.num += 1
        kind = self.kinds[self.num % 40]
        if kind == "blocks":
            self.release.wait(self.rng.choice((0.3, 60)))
        if kind == "panics":
            raise Panic("a regex")
        if kind == "ends":
            raise self.rng.choice(ENDINGS)
        return await super().sample(prompt, params, timeout_s=timeout_s)


def opener(rng: Random, release: threading.Event) -> Callable[[], AbstractAsyncContextManager[Engine]]:
    load = rng.choices(("well", "slow", "hangs", "ends", "ends in the loop"), (6, 2, 1, 1, 1))[0]

    @asynccontextmanager
    async def hold() -> AsyncIterator[Engine]:
        if load == "ends in the loop":
            raise Panic("a native library")
        yield Faulty(rng, release)

    def open_engine() -> AbstractAsyncContextManager[Engine]:
        if load in ("slow", "hangs"):
            release.wait(0.3 if load == "slow" else 60)
        if load == "ends":
            raise rng.choice(ENDINGS)
        return hold()

    return open_engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    solution: Solution
    allowed_s: float
    seconds: float


def played(seed: int, path: Path, release: threading.Event) -> Iterator[Answered]:
    """Three processes' lives at the most, over one journal."""
    rng = Random(seed)
    begun_s = time.monotonic()
    budget = Budget(
        BudgetConfig(limit_s=LIMIT_S, reserve_s=0.5, floor_s=0, num_problems=rng.choice((6, None))),
        lambda: time.monotonic() - begun_s,
    )
    config = SolverConfig(
        stop=StopConfig(num_samples=rng.choice((2, 8)), rule=rng.choice(("votes(2)", "uncatchable")), max_failures=4),
        selection=SelectionConfig(num_rounds=rng.choice((0, 5))),
        depths=rng.choice(((), (3, 5))),
        retry_s=0.01,
        grace_s=GRACE_S,
    )
    asked = [Problem(f"{place}", f"What is {place}?") for place in range(6)]
    kills = sorted(rng.sample(range(1, 6), rng.choice((0, 1, 2))))
    for first, end in zip([0, *kills], [*kills, 6], strict=True):
        competition = Competition(
            opener(rng, release), budget=budget, journal=Journal.open(path, run={}), config=config
        )
        competition.start()
        for place, problem in enumerate(asked[first:end]):
            left_s = max(0.0, LIMIT_S - budget.clock())
            share_s = budget.allot_s(place)
            loads_s = left_s if place == 0 else 0.0  # the first problem of a process waits for the load
            at_s = time.monotonic()
            solution = competition.answer(problem)
            yield Answered(solution=solution, allowed_s=share_s + loads_s, seconds=time.monotonic() - at_s)
        competition.close(timeout_s=1)


@pytest.mark.parametrize("seed", range(8))
def test_every_predict_keeps_its_share_and_the_whole_its_limit(seed: int, tmp_path: Path) -> None:
    release = threading.Event()
    begun_s = time.monotonic()
    logging.disable(logging.CRITICAL)
    try:
        answered = list(played(seed, tmp_path / "journal", release))
    finally:
        logging.disable(logging.NOTSET)
        waited_s = time.monotonic() - begun_s
        release.set()
    assert len(answered) == 6
    for each in answered:
        assert type(each.solution.answer) is int
        assert 0 <= each.solution.answer <= ANSWER_MAX
        assert each.seconds <= each.allowed_s + GRACE_S + SLACK_S + 2 * ANSWER_S + MACHINE_S
    # of three lives each may find its loop stuck once, and closing looks for a second whether it is
    assert waited_s <= LIMIT_S + 3 * (2 * ANSWER_S + 2 * ANSWER_S) + MACHINE_S
    told = {record["problem"] for record in read_records(tmp_path / "journal") if record["kind"] == "solution"}
    assert len(told) == 6
