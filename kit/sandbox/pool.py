"""The warm pool: forked Pythons that wait, so that an attempt has a fresh one at once, also when its own has died.

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
from kit.sandbox.forkserver import ForkServer
from kit.sandbox.memory import can_be_watched, default_total_bytes, held_bytes, to_end
from kit.sandbox.process import Process
from kit.tasks import background

log = logging.getLogger(__name__)

_LEASE_END_S = (
    0.5  # how long leaving a lease waits for its processes to be gone; kit.tools.lease gives 2 s for all of it
)
_END_S = 5.0  # how long the pool looks after processes that are told to end, also when it is left itself
_LOOK_S = 0.2  # between looks at the memory of all; one takes 0.1 ms for each process
_RETRY_S = 5.0  # between attempts to refill a pool that cannot be


class SandboxPool:
    """Lends sandboxes; made by `open_pool`."""

    def __init__(self, config: SandboxConfig, tasks: trio.Nursery) -> None:
        self._config = config
        self._tasks = tasks
        self._spares: deque[Process] = deque()
        self._lent: dict[int, Process] = {}  # by the pid of the init process
        self._forkserver: ForkServer | None = None
        self._starting = trio.Lock()
        self._wanted = trio.Event()

    @property
    def confinement(self) -> Confinement | None:
        """What holds the sandboxes here; None while no forkserver runs."""
        return self._forkserver.confinement if self._forkserver else None

    def lend(self) -> AbstractAsyncContextManager[Interpreter]:
        """A fresh Python for one attempt; see kit.interpreter.Interpreters."""
        return self._lend()

    @asynccontextmanager
    async def _lend(self) -> AsyncIterator[Interpreter]:
        lease = _Lease(self, await self.take())
        try:
            yield lease
        finally:
            await lease.end()

    async def take(self) -> Process:
        """A fresh Python: a spare, or else one forked now. Raises: EngineError."""
        process = await self._spare_or_new()
        if process.init is not None:
            self._lent[process.init] = process
        return process

    async def _spare_or_new(self) -> Process:
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
        if process.init is not None and self._lent.get(process.init) is process:
            del self._lent[process.init]
        is_over = trio.Event()
        self._tasks.start_soon(_clear_away, process, is_over)
        return is_over

    async def keep_spares(self) -> None:
        """Keep as many spares as configured; runs until cancelled. Without one, a lease forks its own."""
        while True:
            self._wanted = trio.Event()
            try:
                while len(self._spares) < self._config.num_spare:
                    self._spares.append(await self._spawn())
                await self._wanted.wait()
            except (EngineError, OSError) as error:
                log.warning("no spare sandbox, another try in %g s: %r", _RETRY_S, error)
                await trio.sleep(_RETRY_S)

    async def watch_memory(self) -> None:
        """End the largest sandbox whenever all of them hold more than they may, for ever."""
        if not can_be_watched():
            log.warning("sandbox: this kernel does not list children, so nothing bounds the sum of memory")
            return
        total_bytes = self._config.total_memory_bytes or default_total_bytes(self._config.memory_bytes)
        while True:
            await trio.sleep(_LOOK_S)
            shared_bytes = self._forkserver.shared_bytes if self._forkserver else 0
            held = await trio.to_thread.run_sync(_held, tuple(self._lent), shared_bytes)
            largest = self._lent.get(to_end(held, total_bytes) or 0)
            if largest is not None:
                told = sum(held.values()) >> 20, total_bytes >> 20
                log.warning("sandbox: all together hold %d MiB, more than %d; the largest is ended", *told)
                await largest.end_for_memory()

    async def close(self) -> None:
        """End the forkserver and the spares; waits some seconds at most."""
        if self._forkserver:
            self._forkserver.stop()
        for process in self._spares:
            process.end()
        with trio.move_on_after(_END_S, shield=True):
            for process in self._spares:
                await process.wait_ended()

    async def _spawn(self) -> Process:
        """Fork one; a forkserver that fails is replaced once, one that was never asked is not. Raises: EngineError."""
        forkserver = await self._started(None)
        try:
            return await forkserver.spawn()
        except EngineError as error:
            if not forkserver.has_failed:
                raise
            log.warning("%s; starting another forkserver", error)
            return await (await self._started(forkserver)).spawn()

    async def _started(self, failed: ForkServer | None) -> ForkServer:
        """The running forkserver, or a new one if there is none but `failed`."""
        async with self._starting:
            if self._forkserver is not None and self._forkserver is failed:
                self._forkserver.stop()
                self._forkserver = None
            if self._forkserver is None:
                self._forkserver = await ForkServer.start(self._config)
                _tell(self._forkserver.confinement)
            return self._forkserver


def _held(inits: tuple[int, ...], shared_bytes: int) -> dict[int, int]:
    return {init: held_bytes(init, shared_bytes) for init in inits}


def _tell(confinement: Confinement) -> None:
    """What holds the sandboxes, and as a warning what could hold them and does not."""
    log.info("sandbox: %s", confinement.describe())
    for absence in confinement.lost:
        log.warning(
            "sandbox: this machine grants the layer %s, and it is lost all the same: %s", absence.layer, absence.why
        )


class _Lease:
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
        with trio.move_on_after(_LEASE_END_S, shield=True):
            await is_over.wait()


async def _clear_away(process: Process, is_over: trio.Event) -> None:
    """Wait until it is gone, also when cancelled; what never ends is left to its init process."""
    try:
        with trio.move_on_after(_END_S, shield=True) as scope:
            await process.wait_ended()
    finally:
        is_over.set()
    if scope.cancelled_caught:
        log.warning("a sandbox was told to end and has not within %g s", _END_S)


@asynccontextmanager
async def open_pool(config: SandboxConfig) -> AsyncIterator[SandboxPool]:
    """A pool whose forkserver runs and whose first spares are on their way; leaving it ends them all.

    Raises: EngineError if no sandbox can be started here.
    """
    pool = None
    try:
        async with background() as tasks:
            pool = SandboxPool(config, tasks)
            pool.retire(await pool.take())  # whether it can be done is known at once
            tasks.start_soon(pool.keep_spares)
            tasks.start_soon(pool.watch_memory)
            yield pool
    finally:
        if pool:  # after the last task of the pool, which might still have added a spare
            await pool.close()
