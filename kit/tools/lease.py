"""The interpreter of one attempt: lent at its first call, given back at its end, whatever goes wrong with it.

Python never ends an attempt. An interpreter that is missing, dead or silent becomes the output of the call
(docs/peers.md#pool).
"""

from __future__ import annotations

import logging
import math
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import trio

from kit.errors import EngineError
from kit.interpreter import Execution, ExecutionStatus, Interpreter, Interpreters

log = logging.getLogger(__name__)


class InterpreterLease:
    """One attempt's interpreter, within `async with`.

    lend_timeout_s: how long its first call may wait until one is free. call_timeout_s: for one call. grace_s: how long
    past its time an interpreter may take to hand back. ends: when all is over, on trio's clock.
    """

    def __init__(
        self,
        interpreters: Interpreters | None,
        *,
        lend_timeout_s: float,
        call_timeout_s: float,
        grace_s: float,
        ends: float,
    ) -> None:
        self._interpreters = interpreters
        self._lend_timeout_s = lend_timeout_s
        self._call_timeout_s = call_timeout_s
        self._grace_s = grace_s
        self._ends = ends
        self._interpreter: Interpreter | None = None
        self._scope = trio.CancelScope()
        self._held = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._give_back()

    async def run(self, code: str, *, until: float) -> Execution:
        """Run code, ending by `until`; whatever goes wrong with the interpreter is the execution's status."""
        begun = trio.current_time()
        if self._interpreter is None:
            why = await self._lend(until)
        if self._interpreter is None:
            return Execution(
                output=f"[not run: {why}]", status=ExecutionStatus.DIED, seconds=trio.current_time() - begun
            )
        timeout_s = max(0.0, min(self._call_timeout_s, until - trio.current_time()))
        why = "Python did not answer"
        with trio.move_on_after(self._bounded(timeout_s + self._grace_s)):
            try:
                return await self._interpreter.run(code, timeout_s=timeout_s)
            except Exception as error:  # whatever breaks there, a bug too, costs the call and not the attempt
                log.warning("an interpreter broke: %r", error, exc_info=not isinstance(error, EngineError))
                why = f"Python broke: {error}"
        await self._give_back()
        lost = f"[{why}; a new one will be started, and the variables are lost]"
        return Execution(output=lost, status=ExecutionStatus.DIED, seconds=trio.current_time() - begun)

    async def _lend(self, until: float) -> str:
        """Take an interpreter; returns why there is none, if there is none."""
        assert self._interpreters is not None  # ToolReasoner checks it for the formats that run code
        timeout_s = min(self._lend_timeout_s, until - trio.current_time())
        why = "no Python was free in time"
        async with AsyncExitStack() as held:
            # The scope opens before the lease and closes after it, as scopes must nest: here it bounds the wait
            # for an interpreter, in _give_back the wait for its end.
            self._scope = held.enter_context(trio.move_on_after(self._bounded(timeout_s)))
            try:
                interpreter = await held.enter_async_context(self._interpreters.lend())
            except (EngineError, OSError) as error:
                log.warning("no interpreter: %r", error, exc_info=not isinstance(error, EngineError))
                why = f"no Python could be started: {error}"
            else:
                if not self._scope.cancel_called:  # else the time was up in the very moment, and it goes back
                    self._scope.deadline = math.inf
                    self._interpreter, self._held = interpreter, held.pop_all()
        return why

    async def _give_back(self) -> None:
        self._interpreter = None
        self._scope.deadline = trio.current_time() + self._bounded(self._grace_s)
        try:
            await self._held.aclose()
        except (EngineError, OSError) as error:
            log.warning("an interpreter was given back broken: %r", error, exc_info=not isinstance(error, EngineError))

    def _bounded(self, seconds: float) -> float:
        """Seconds from now, but no longer than the attempt may last."""
        return max(0.0, min(seconds, self._ends - trio.current_time()))
