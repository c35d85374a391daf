"""An engine that replays attempts, shares its speed among those in flight, and breaks when it is told to.

On trio's clock, so that on trio's autojump clock five hours take seconds. Eight attempts in flight run at their
recorded pace; fewer run faster and more run slower, as `kit.simulation.speeds` says.
"""

from __future__ import annotations

import heapq
import itertools
import math
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

import trio

from kit.errors import EngineError
from kit.sampling import Chunk, FinishReason, OnChunk, Prompt, Sample, SamplingParams
from kit.simulation.recording import RecordedAttempt
from kit.simulation.speeds import MEASURED, StreamSpeeds
from kit.tasks import background

_MARK = re.compile(r"#(\d+)#")


def marked(place: int) -> str:
    """A problem's text by which the engine knows it again, whatever prompt is built around it."""
    return f"The recorded problem #{place}#."


class FaultKind(Enum):
    """What befalls the engine, or the attempts that begin, from one moment to another."""

    CRASH = "crash"  # attempts in flight break at the start, and those that begin break at once
    HANG = "hang"  # nothing moves, and no time limit is kept until it is over
    SLOW = "slow"  # a tenth of the speed
    EMPTY = "empty"  # attempts that begin give empty texts
    PANIC = "panic"  # attempts that begin end by what is no Exception, as in a native library
    DEAF = "deaf"  # attempts that begin take no notice of their time limit, and may never return


class Panic(BaseException):
    """As pyo3's PanicException, which is no Exception either."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that lasts from `begin_s` to `end_s` of the scenario, end not included."""

    kind: FaultKind
    begin_s: float
    end_s: float


@dataclass(slots=True, eq=False)
class _Job:
    """An attempt in flight. finish: the engine's work clock when it is done."""

    attempt: RecordedAttempt
    begun: float
    finish: float
    is_deaf: bool
    is_empty: bool
    done: trio.Event = field(default_factory=trio.Event)
    is_broken: bool = False
    is_over: bool = False


@dataclass(slots=True, eq=False)
class ReplayEngine:
    """Plays `attempts_of(problem's place)`, one attempt a call; use it as `async with engine.running()`.

    clock: the scenario's. faults: must not overlap. num_returned, num_broken, num_cancelled: calls by how they ended.
    """

    attempts_of: Callable[[int], Iterator[RecordedAttempt]]
    clock: Callable[[], float]
    faults: tuple[Fault, ...] = ()
    speeds: StreamSpeeds = MEASURED
    num_returned: int = 0
    num_broken: int = 0
    num_cancelled: int = 0
    _attempts: dict[int, Iterator[RecordedAttempt]] = field(default_factory=dict)
    _queue: list[tuple[float, int, _Job]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)
    _num_running: int = 0
    _work: float = 0.0  # the work clock: what one stream has done since the start
    _work_at: float = 0.0
    _speed: float = 0.0
    _changed: trio.Event = field(default_factory=trio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Let time pass for the attempts in flight."""
        async with background() as tasks:
            tasks.start_soon(self._run)
            yield self

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        """Play the problem's next attempt; see kit.sampling.Engine."""
        begun_s = trio.current_time()
        fault = self._fault()
        if fault is FaultKind.CRASH:
            self.num_broken += 1
            raise EngineError("the engine is down")
        if fault is FaultKind.PANIC:
            self.num_broken += 1
            raise Panic("a native library panicked")
        job = self._begin(self._next(prompt), fault)
        try:
            with trio.move_on_after(math.inf if job.is_deaf else max(0.0, timeout_s)):
                await job.done.wait()
            if not job.done.is_set():
                await self._thaw()
        except trio.Cancelled:
            self.num_cancelled += 1
            raise
        finally:
            share = self._end(job)
        if job.is_broken:
            self.num_broken += 1
            raise EngineError("the engine went down")
        sample = _sample(job, share, params, seconds=trio.current_time() - begun_s, on_chunk=on_chunk)
        is_silent = job.is_empty and sample.finish is FinishReason.STOP  # which the solver takes for broken
        self.num_broken += is_silent
        self.num_returned += not is_silent
        return sample

    async def _thaw(self) -> None:
        """An engine that hangs does not look at its clock either: who is out of time is told when it moves again."""
        while self._fault() is FaultKind.HANG:
            now_s = self.clock()
            await trio.sleep(min(fault.end_s - now_s for fault in self.faults if fault.end_s > now_s))

    def _next(self, prompt: Prompt) -> RecordedAttempt:
        found = next(filter(None, (_MARK.search(message.content) for message in prompt.messages)))
        place = int(found[1])
        if place not in self._attempts:
            self._attempts[place] = self.attempts_of(place)
        return next(self._attempts[place])

    def _begin(self, attempt: RecordedAttempt, fault: FaultKind | None) -> _Job:
        self._advance()
        is_empty = fault is FaultKind.EMPTY
        if is_empty:
            attempt = RecordedAttempt(answer=None, work_s=1.0, num_tokens=1)
        job = _Job(attempt, self._work, self._work + attempt.work_s, fault is FaultKind.DEAF, is_empty)
        heapq.heappush(self._queue, (job.finish, next(self._order), job))
        self._num_running += 1
        self._wake()
        return job

    def _end(self, job: _Job) -> float:
        """Take a job out; returns the share of it that was done."""
        self._advance()
        job.is_over = True
        self._num_running -= 1
        self._wake()
        return min(1.0, (self._work - job.begun) / job.attempt.work_s) if not job.done.is_set() else 1.0

    def _wake(self) -> None:
        self._changed.set()

    def _advance(self) -> None:
        """Bring the work clock up to now, at the speed that held since the last change."""
        now = trio.current_time()
        self._work += (now - self._work_at) * self._speed
        self._work_at = now

    async def _run(self) -> None:
        """End jobs as the work clock reaches them, and strike with faults as they begin and end."""
        while True:
            self._changed = trio.Event()
            self._advance()
            fault = self._fault()
            self._speed = self._speed_under(fault)
            if fault is FaultKind.CRASH:
                self._break_all()
            self._finish_due()
            with trio.move_on_after(self._wait_s()):
                await self._changed.wait()

    def _finish_due(self) -> None:
        while self._queue and (self._queue[0][2].is_over or self._is_due(self._queue[0][0])):
            job = heapq.heappop(self._queue)[2]
            if not job.is_over:
                job.done.set()

    def _is_due(self, finish: float) -> bool:
        """Whether the work clock is there, or so near that no float lies between now and then."""
        left = finish - self._work
        return left <= _ROUNDING or (self._speed > 0 and self._work_at + left / self._speed == self._work_at)

    def _break_all(self) -> None:
        for *_, job in self._queue:
            job.is_broken = True
            job.done.set()
        self._queue.clear()

    def _wait_s(self) -> float:
        """Until the next job is done or the next fault begins or ends."""
        now_s = self.clock()
        moments = [moment - now_s for fault in self.faults for moment in (fault.begin_s, fault.end_s)]
        if self._queue and self._speed:
            moments.append((self._queue[0][0] - self._work) / self._speed)
        return min((each for each in moments if each > 0), default=_FOREVER_S)

    def _speed_under(self, fault: FaultKind | None) -> float:
        """Of one stream, 1 being its recorded pace."""
        if fault is FaultKind.HANG:
            return 0.0
        return (0.1 if fault is FaultKind.SLOW else 1.0) * self.speeds.at(self._num_running)

    def _fault(self) -> FaultKind | None:
        now_s = self.clock()
        return next((fault.kind for fault in self.faults if fault.begin_s <= now_s < fault.end_s), None)


def _sample(job: _Job, share: float, params: SamplingParams, *, seconds: float, on_chunk: OnChunk | None) -> Sample:
    is_whole, attempt = share >= 1 - _ROUNDING, job.attempt
    text = "" if job.is_empty or not is_whole else _NO_ANSWER if attempt.answer is None else _ANSWER % attempt.answer
    num_tokens = attempt.num_tokens if is_whole else int(attempt.num_tokens * share)
    is_cut = on_chunk is not None and on_chunk(Chunk(text=text, num_tokens=num_tokens))
    finish = FinishReason.STOP if is_whole else FinishReason.DEADLINE
    return Sample(
        text=text,
        num_tokens=num_tokens,
        finish=FinishReason.ABORTED if is_cut else finish,
        seconds=seconds,
        seed=params.seed,
        mean_entropy=attempt.mean_entropy,
        num_calls=attempt.num_calls,
    )


_ANSWER = "So the answer is \\boxed{%d}."
_NO_ANSWER = "I cannot find an answer."
_ROUNDING = 1e-9
_FOREVER_S = 1e9
