"""Random competitions for the boundary: loads, templates, attempts and disks that fail in every way, or do not.

In: a seed. Out: a plan that the seed fixes: settings, the lives of the processes that are killed and resumed, and what
goes wrong in each. What threads do is not fixed: the boundary waits on a real clock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from kit.budget import BudgetConfig
from kit.engines.scripted import Fault, Script, ScriptedEngine
from kit.engines.text.chat import Rendered
from kit.engines.text.encoding import PromptEncoder
from kit.errors import EngineError
from kit.sampling import Engine, OnChunk, Prompt, Sample, SamplingParams
from kit.solver.config import SolverConfig
from kit.solver.genselect import SelectionConfig
from kit.solver.stopping import StopConfig

NUM_PROBLEMS = 6
LIMIT_S = 4.0
GRACE_S = 0.2
_FOREVER_S = 60.0  # for what never ends: longer than anybody may wait
_PREPARE_S = 0.3  # in which a template has to be done
_SLOW_SYNC_S = 0.03
_STALL_S = 1.5
_NUM_KINDS = 40


class LoadFault(StrEnum):
    """What may be wrong with a load."""

    NONE = "loads well"
    SLOW = "loads slowly"
    HANGS = "load hangs"
    RAISES = "load fails"
    ENDS = "load ends the process"  # a BaseException in the thread that loads
    PANICS = "load panics in the loop"
    UNSPEAKABLE = "load fails, and so does its error's text"


class AttemptFault(StrEnum):
    """What may be wrong with an attempt."""

    NONE = "answers"
    BLOCKS = "blocks the loop"
    PANICS = "panics"
    ENDS = "ends the process"
    HANGS = "hangs"
    UNSPEAKABLE = "fails, and so does its error's text"


class TemplateFault(StrEnum):
    """What may be wrong with a model's chat template."""

    NONE = "template is fine"
    SLOW = "template is slow"  # with one prompt
    LOOPS = "template loops"  # from some prompt on


class DiskFault(StrEnum):
    """What may be wrong with the disk under the journal."""

    NONE = "disk is fine"
    SLOW = "disk is slow"
    STALLS = "disk stalls"  # once, for longer than anybody waits for it
    HANGS = "disk hangs"  # from some record on, until the process is over


class PanicError(BaseException):
    """As a native library raises, and no handler of Exception catches."""


class UnspeakableError(Exception):
    """Its own text raises."""

    def __str__(self) -> str:
        raise SystemExit(4)

    __repr__ = __str__


_ENDINGS = (SystemExit, KeyboardInterrupt, MemoryError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One process.

    end: it is killed once it has answered so many of the problems, all of which it is asked anew.
    num_before: prompts or records that go well before the template or the disk is at fault.
    """

    end: int
    load: LoadFault
    template: TemplateFault
    disk: DiskFault
    attempts: tuple[AttemptFault, ...]
    num_before: int

    @property
    def faults(self) -> tuple[StrEnum, ...]:
        """What is or is not wrong with it, of each kind and with each attempt."""
        return (self.load, self.template, self.disk, *self.attempts)


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
        return tuple(sorted({fault.value for life in self.lives for fault in life.faults if fault.name != "NONE"}))


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
                load=rng.choices(tuple(LoadFault), (6, 2, 1, 1, 1, 1, 1))[0],
                template=rng.choices(tuple(TemplateFault), (6, 1, 1))[0],
                disk=rng.choices(tuple(DiskFault), (5, 1, 1, 1))[0],
                attempts=tuple(rng.choices(tuple(AttemptFault), (6, 1, 2, 1, 2, 1), k=_NUM_KINDS)),
                num_before=rng.randrange(20),
            )
            for end in (*kills, NUM_PROBLEMS)
        ),
    )


class FaultyEngine(ScriptedEngine):
    """Plays a life's attempts, over and over. release: ends what blocks, once nobody looks any more."""

    def __init__(self, life: Life, *, seed: int, release: threading.Event) -> None:
        super().__init__(lambda prompt, params: self._script())
        template = FaultyTemplate(life, release=release)
        self._encoder = PromptEncoder(_NoTokenizer(), write=template.write, limit_s=_PREPARE_S)
        self._life = life
        self._rng = Random(f"attempts {seed} {life.end}")
        self._release = release
        self._num_begun = 0
        self._fault = AttemptFault.NONE

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        """One attempt; see kit.sampling.Engine. Raises: anything."""
        await self._encoder.encode(prompt)
        self._fault = self._life.attempts[self._num_begun % _NUM_KINDS]
        self._num_begun += 1
        if self._fault is AttemptFault.BLOCKS:
            self._release.wait(self._rng.choice((0.3, _FOREVER_S)))
        if self._fault is AttemptFault.PANICS:
            raise PanicError("a native library gave up")
        if self._fault is AttemptFault.UNSPEAKABLE:
            raise UnspeakableError
        if self._fault is AttemptFault.ENDS:
            raise self._rng.choice(_ENDINGS)
        return await super().sample(prompt, params, timeout_s=timeout_s, on_chunk=on_chunk)

    def _script(self) -> Script:
        fault = Fault.HANG if self._fault is AttemptFault.HANGS else Fault.NONE
        text = f"\\boxed{{{self._rng.randrange(3)}}}"
        return Script(text=text, seconds=self._rng.uniform(0.01, 0.4), fault=fault)


class FaultyTemplate:
    """A life's chat template, as its tokenizer applies it in a thread. release: as FaultyEngine's."""

    def __init__(self, life: Life, *, release: threading.Event) -> None:
        self._life = life
        self._release = release
        self._num_written = 0

    def write(self, prompt: Prompt) -> Rendered:
        """The prompt as a text, soon or not."""
        self._num_written += 1
        num_late = self._num_written - self._life.num_before
        if self._life.template is TemplateFault.LOOPS and num_late > 0:
            self._release.wait(_FOREVER_S)
        if self._life.template is TemplateFault.SLOW and num_late == 1:
            self._release.wait(2 * _PREPARE_S)
        return Rendered(prompt.messages[-1].content, so_far="")


class _NoTokenizer:
    """As much of a tokenizer as an encoder asks of it: no control tokens, and an id for each character."""

    chat_template = None

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(each) for each in text]}


class FaultyDisk:
    """The disk under a life's journal. release: when the process is over, nothing hangs any more."""

    def __init__(self, life: Life, *, release: threading.Event) -> None:
        self._life = life
        self._release = release
        self._num_synced = 0

    def sync(self, descriptor: int) -> None:
        """As os.fsync, soon or not."""
        self._num_synced += 1
        num_late = self._num_synced - self._life.num_before
        if self._life.disk is DiskFault.SLOW:
            self._release.wait(_SLOW_SYNC_S)
        if self._life.disk is DiskFault.HANGS and num_late > 0:
            self._release.wait(_FOREVER_S)
        if self._life.disk is DiskFault.STALLS and num_late == 1:
            self._release.wait(_STALL_S)
        os.fsync(descriptor)


def open_faulty(life: Life, *, seed: int, release: threading.Event) -> AbstractAsyncContextManager[Engine]:
    """Load a life's engine, in any thread. Raises: anything."""
    if life.load is LoadFault.SLOW:
        release.wait(0.3)
    if life.load is LoadFault.HANGS:
        release.wait(_FOREVER_S)
    if life.load is LoadFault.RAISES:
        raise EngineError("the load of this competition fails")
    if life.load is LoadFault.UNSPEAKABLE:
        raise UnspeakableError
    if life.load is LoadFault.ENDS:
        raise SystemExit(3)
    return _held(life, seed=seed, release=release)


@asynccontextmanager
async def _held(life: Life, *, seed: int, release: threading.Event) -> AsyncIterator[Engine]:
    if life.load is LoadFault.PANICS:
        raise PanicError("a native library gave up")
    yield FaultyEngine(life, seed=seed, release=release)
