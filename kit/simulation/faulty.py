"""Random competitions for the boundary: engines that load badly or not, and attempts that fail in every way.

In: a seed. Out: a plan that the seed fixes: settings, the lives of the processes that are killed and resumed, and what
goes wrong in each. What threads do is not fixed: the boundary waits on a real clock.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from kit.budget import BudgetConfig
from kit.engines.scripted import Fault, Script, ScriptedEngine
from kit.errors import EngineError
from kit.sampling import Engine, OnChunk, Prompt, Sample, SamplingParams
from kit.solver.config import SolverConfig
from kit.solver.genselect import SelectionConfig
from kit.solver.vote_state import StopConfig

NUM_PROBLEMS = 6
LIMIT_S = 4.0
GRACE_S = 0.2
_FOREVER_S = 60.0  # for what never ends: longer than anybody may wait
_NUM_KINDS = 40


class LoadFault(StrEnum):
    """What may be wrong with a load."""

    NONE = "loads well"
    SLOW = "loads slowly"
    HANGS = "load hangs"
    RAISES = "load fails"
    ENDS = "load ends the process"  # a BaseException in the thread that loads
    PANICS = "load panics in the loop"


class AttemptFault(StrEnum):
    """What may be wrong with an attempt."""

    NONE = "answers"
    BLOCKS = "blocks the loop"
    PANICS = "panics"
    ENDS = "ends the process"
    HANGS = "hangs"


class PanicError(BaseException):
    """As a native library raises, and no handler of Exception catches."""


_ENDINGS = (SystemExit, KeyboardInterrupt, MemoryError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One process. end: it is killed once it has answered so many of the problems, all of which it is asked anew."""

    end: int
    load: LoadFault
    attempts: tuple[AttemptFault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompetitionPlan:
    """Everything that decides how a competition goes, but for the threads."""

    seed: int
    budget: BudgetConfig
    solver: SolverConfig
    lives: tuple[Life, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """What is in it that goes wrong, each once."""
        kinds = {kind.value for life in self.lives for kind in (life.load, *life.attempts)}
        return tuple(sorted(kinds - {LoadFault.NONE.value, AttemptFault.NONE.value}))


def random_competition(seed: int) -> CompetitionPlan:
    """The competition of this seed: six problems in four seconds, answered by up to three processes in turn."""
    rng = Random(f"competition {seed}")
    kills = sorted(rng.sample(range(1, NUM_PROBLEMS), rng.choice((0, 1, 2))))
    stop = StopConfig(num_samples=rng.choice((2, 8)), rule=rng.choice(("votes(2)", "uncatchable")), max_failures=4)
    return CompetitionPlan(
        seed=seed,
        budget=BudgetConfig(limit_s=LIMIT_S, reserve_s=0.5, floor_s=0, num_problems=rng.choice((NUM_PROBLEMS, None))),
        solver=SolverConfig(
            stop=stop,
            selection=SelectionConfig(num_rounds=rng.choice((0, 5))),
            depths=rng.choice(((), (3, 5))),
            retry_s=0.01,
            grace_s=GRACE_S,
            seed=seed,
        ),
        lives=tuple(
            Life(
                end=end,
                load=rng.choices(tuple(LoadFault), (6, 2, 1, 1, 1, 1))[0],
                attempts=tuple(rng.choices(tuple(AttemptFault), (6, 1, 2, 1, 2), k=_NUM_KINDS)),
            )
            for end in (*kills, NUM_PROBLEMS)
        ),
    )


class FaultyEngine(ScriptedEngine):
    """Plays a life's attempts, over and over. release: ends what blocks, once nobody looks any more."""

    def __init__(self, life: Life, *, seed: int, release: threading.Event) -> None:
        super().__init__(lambda prompt, params: self._script())
        self._life = life
        self._rng = Random(f"attempts {seed} {life.end}")
        self._release = release
        self._num_begun = 0
        self._fault = AttemptFault.NONE

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        """One attempt; see kit.sampling.Engine. Raises: anything."""
        self._fault = self._life.attempts[self._num_begun % _NUM_KINDS]
        self._num_begun += 1
        if self._fault is AttemptFault.BLOCKS:
            self._release.wait(self._rng.choice((0.3, _FOREVER_S)))
        if self._fault is AttemptFault.PANICS:
            raise PanicError("a native library gave up")
        if self._fault is AttemptFault.ENDS:
            raise self._rng.choice(_ENDINGS)
        return await super().sample(prompt, params, timeout_s=timeout_s, on_chunk=on_chunk)

    def _script(self) -> Script:
        fault = Fault.HANG if self._fault is AttemptFault.HANGS else Fault.NONE
        text = f"\\boxed{{{self._rng.randrange(3)}}}"
        return Script(text=text, seconds=self._rng.uniform(0.01, 0.4), fault=fault)


def open_faulty(life: Life, *, seed: int, release: threading.Event) -> AbstractAsyncContextManager[Engine]:
    """Load a life's engine, in any thread. Raises: anything."""
    if life.load is LoadFault.SLOW:
        release.wait(0.3)
    if life.load is LoadFault.HANGS:
        release.wait(_FOREVER_S)
    if life.load is LoadFault.RAISES:
        raise EngineError("the load of this competition fails")
    if life.load is LoadFault.ENDS:
        raise SystemExit(3)
    return _held(life, seed=seed, release=release)


@asynccontextmanager
async def _held(life: Life, *, seed: int, release: threading.Event) -> AsyncIterator[Engine]:
    if life.load is LoadFault.PANICS:
        raise PanicError("a native library gave up")
    yield FaultyEngine(life, seed=seed, release=release)
