"""What has to happen before the first answer, as steps that wait for what they need and for nothing else.

In: steps, each with those that it comes after. Out: their values, and when each began and ended. A step comes after
steps that exist, so a circle cannot be written. Does not know what the steps do, and starts no thread.

A required step that fails stops all the others, and its own error is what `run` returns. An optional one only logs;
those still at work when the last required one is done are stopped, since nobody waits for them.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

import trio

from kit.budget import Clock
from kit.errors import EngineError
from kit.sampling import asks_to_end, shown
from kit.solver.journal import Record

log = logging.getLogger(__name__)

_ValueT = TypeVar("_ValueT")


class Outcome(StrEnum):
    """How a step ended."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One step, from begun_s to ended_s on the competition's clock. note: its error's text."""

    step: str
    begun_s: float
    ended_s: float
    outcome: Outcome
    note: str = ""

    def record(self) -> Record:
        """As the journal holds it."""
        return {"kind": "startup", **dataclasses.asdict(self)}


@dataclass(slots=True, kw_only=True, eq=False)
class Step(Generic[_ValueT]):
    """One thing to do; made by `StartupGraph.add`. outcome: None until it ended; it stays None if it never began."""

    name: str
    work: Callable[[], Awaitable[_ValueT]]
    after: tuple[Step[Any], ...]
    is_optional: bool
    outcome: Outcome | None = None
    error: Exception | None = None
    ended: trio.Event = field(default_factory=trio.Event)
    _values: list[_ValueT] = field(default_factory=list)

    @property
    def value(self) -> _ValueT:
        """What it came to; only for the steps that come after it, and once the graph ran."""
        assert self.outcome is Outcome.DONE, f"{self.name} is not done: let the step that asks come after it"
        return self._values[0]

    async def do(self) -> None:
        """Work, and keep what comes of it."""
        self._values.append(await self.work())


class StartupGraph:
    """Steps, run at the same time as far as they may be.

    clock: the competition's. on_end: told of every step that began, in the event loop's thread.
    """

    def __init__(self, *, clock: Clock, on_end: Callable[[Timing], None]) -> None:
        self._clock = clock
        self._on_end = on_end
        self._steps: list[Step[Any]] = []

    def add(
        self,
        name: str,
        work: Callable[[], Awaitable[_ValueT]],
        *,
        after: tuple[Step[Any], ...] = (),
        is_optional: bool = False,
    ) -> Step[_ValueT]:
        """Add a step, whose work may read the values of those it comes after."""
        assert is_optional or not any(each.is_optional for each in after), f"{name} would wait for what may fail"
        step = Step(name=name, work=work, after=after, is_optional=is_optional)
        self._steps.append(step)
        return step

    async def run(self) -> Exception | None:
        """Do every required step, and of the optional ones what there is time for; what made a required one fail.

        The error is a value, so that no nursery of the caller's wraps it into a group: raise it outside.
        """
        async with trio.open_nursery() as nursery:
            for step in self._steps:
                nursery.start_soon(self._do, step, nursery.cancel_scope)
            for step in self._steps:
                if not step.is_optional:
                    await step.ended.wait()
            nursery.cancel_scope.cancel()
        return next((step.error for step in self._steps if step.error is not None and not step.is_optional), None)

    async def _do(self, step: Step[Any], scope: trio.CancelScope) -> None:
        for each in step.after:
            await each.ended.wait()
        if any(each.outcome is not Outcome.DONE for each in step.after):
            return  # nothing to work on; an optional step, or one that is about to be stopped
        begun_s = self._clock()
        step.outcome = Outcome.STOPPED
        try:
            await step.do()
            step.outcome = Outcome.DONE
        except Exception as error:  # a required step's is returned by run, an optional one's ends here
            step.outcome, step.error = Outcome.FAILED, error
            log.log(logging.WARNING if step.is_optional else logging.ERROR, "%s failed", step.name, exc_info=True)
        except BaseException as error:  # would end the event loop, and every answer with it
            if asks_to_end(error):
                raise
            told = f"{step.name} asked to end the process: {shown(error)}"
            step.outcome, step.error = Outcome.FAILED, EngineError(told)
            log.exception("%s failed", step.name)
        finally:
            self._tell(step, step.outcome, begun_s)
        step.ended.set()
        if step.error is not None and not step.is_optional:
            scope.cancel()

    def _tell(self, step: Step[Any], outcome: Outcome, begun_s: float) -> None:
        note = "" if step.error is None else str(step.error)
        timing = Timing(step=step.name, begun_s=begun_s, ended_s=self._clock(), outcome=outcome, note=note)
        log.info(
            "%s %s after %.1f s, at %.1f s%s",
            *(step.name, timing.outcome, timing.ended_s - begun_s, timing.ended_s, f": {note}" if note else ""),
        )
        self._on_end(timing)
