"""The warm pool: forked Pythons that wait, so that an attempt, or one whose Python died, has a fresh one at once.

In: a configuration. Out: an implementation of kit.interpreter.Interpreters. Needs trio's event loop and Linux.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from kit.errors import EngineError
from kit.interpreter import Execution, Interpreter
from kit.sandbox.config import SandboxConfig
from kit.sandbox.confinement import Confinement
from kit.sandbox.process import Process
from kit.sandbox.zygote import Zygote
from kit.tasks import background

log = logging.getLogger(__name__)

_LOAN_END_S = (
    0.5  # how long leaving a lease waits for its processes to be gone; kit.tools.lease gives 2 s for all of it
)
_END_S = 5.0  # how long the pool looks after processes that are told to end, also when it is left itself
_RETRY_S = 5.0  # between attempts to refill a pool that cannot be


class SandboxPool:
    """Lends sandboxes; made by `open_pool`."""

    def __init__(self, config: SandboxConfig, tasks: trio.Nursery) -> None:
        self._config = config
        self._tasks = tasks
        self._spares: deque[Process] = deque()
        self._zygote: Zygote | None = None
        self._starting = trio.Lock()
        self._wanted = trio.Event()

    @property
    def confinement(self) -> Confinement | None:
        """What holds the sandboxes here; None while no zygote runs."""
        return self._zygote.confinement if self._zygote else None

    def lend(self) -> AbstractAsyncContextManager[Interpreter]:
        """A fresh Python for one attempt; see kit.interpreter.Interpreters."""
        return self._lend()

    @asynccontextmanager
    async def _lend(self) -> AsyncIterator[Interpreter]:
        lease = _Loan(self, await self.take())
        try:
            yield lease
        finally:
            await lease.end()

    async def take(self) -> Process:
        """A fresh Python: a spare, or else one forked now. Raises: EngineError."""
        while self._spares:
            process = self._spares.popleft()
            self._wanted.set()
            if process.is_alive:
                return process
            self.retire(process)
        return await self._spawn()

    def retire(self, process: Process) -> trio.Event:
        """Have a Python killed and cleared away behind the caller's back; the event says that this is over."""
        process.end()
        is_over = trio.Event()
        self._tasks.start_soon(_clear_away, process, is_over)
        return is_over

    async def keep_spares(self) -> None:
        """Keep as many spares as configured; runs until cancelled, and raises nothing else."""
        while True:
            self._wanted = trio.Event()
            try:
                while len(self._spares) < self._config.num_spare:
                    self._spares.append(await self._spawn())
                await self._wanted.wait()
            except Exception as error:  # noqa: BLE001  # it would cancel the body of the pool: the whole contest
                log.warning("no spare sandbox, another try in %g s: %r", _RETRY_S, error)
                await trio.sleep(_RETRY_S)

    async def close(self) -> None:
        """End the zygote and the spares; waits some seconds at most."""
        if self._zygote:
            self._zygote.stop()
        for process in self._spares:
            process.end()
        with trio.move_on_after(_END_S, shield=True):
            for process in self._spares:
                await process.wait_ended()

    async def _spawn(self) -> Process:
        """Fork one; a zygote that fails is replaced once, one that was never asked is not. Raises: EngineError."""
        zygote = await self._started(None)
        try:
            return await zygote.spawn()
        except EngineError as error:
            if not zygote.has_failed:
                raise
            log.warning("%s; starting another zygote", error)
            return await (await self._started(zygote)).spawn()

    async def _started(self, failed: Zygote | None) -> Zygote:
        """The running zygote, or a new one if there is none but `failed`."""
        async with self._starting:
            if self._zygote is not None and self._zygote is failed:
                self._zygote.stop()
                self._zygote = None
            if self._zygote is None:
                self._zygote = await Zygote.start(self._config)
                log.info("sandbox: %s", self._zygote.confinement.describe())
            return self._zygote


class _Loan:
    """The Interpreter of one attempt: whatever becomes of its Python, the next call has one."""

    def __init__(self, pool: SandboxPool, process: Process) -> None:
        self._pool = pool
        self._process = process

    async def run(self, code: str, *, timeout_s: float) -> Execution:
        """Run code; see kit.interpreter.Interpreter. Taking a fresh Python, some milliseconds, comes on top.

        Raises: EngineError if the last Python died and no other can be started.
        """
        if not self._process.is_alive:
            fresh = await self._pool.take()
            self._pool.retire(self._process)
            self._process = fresh
        return await self._process.run(code, timeout_s=timeout_s)

    async def end(self) -> None:
        """Kill it and wait until it is gone, also when cancelled; what takes long is left to the pool."""
        is_over = self._pool.retire(self._process)
        with trio.move_on_after(_LOAN_END_S, shield=True):
            await is_over.wait()


async def _clear_away(process: Process, is_over: trio.Event) -> None:
    """Wait until it is gone, also when cancelled; what never ends is left to its warden."""
    try:
        with trio.move_on_after(_END_S, shield=True) as scope:
            await process.wait_ended()
    finally:
        is_over.set()
    if scope.cancelled_caught:
        log.warning("a sandbox was told to end and has not within %g s", _END_S)


@asynccontextmanager
async def open_pool(config: SandboxConfig) -> AsyncIterator[SandboxPool]:
    """A pool whose zygote runs and whose first spares are on their way; leaving it ends them all.

    Raises: EngineError if no sandbox can be started here.
    """
    pool = None
    try:
        async with background() as tasks:
            pool = SandboxPool(config, tasks)
            pool.retire(await pool.take())  # whether it can be done is known at once
            tasks.start_soon(pool.keep_spares)
            yield pool
    finally:
        if pool:  # after the last task of the pool, which might still have added a spare
            await pool.close()
