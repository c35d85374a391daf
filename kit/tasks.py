"""Trio's nurseries without their groups of errors, a trio loop that other threads can call, and threads with limits.

In: a body. Out: a nursery for its tasks. Trio raises what leaves a nursery as a group, a mere cancellation included,
and callers tell a cancellation from an error by its type.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import CancelledError, Future
from contextlib import asynccontextmanager, suppress
from queue import SimpleQueue
from typing import Any, TypeVar

import trio

log = logging.getLogger(__name__)

_ResultT = TypeVar("_ResultT")
_START_S = 30.0  # in which a loop runs, on the busiest machine


@asynccontextmanager
async def nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery whose body is left when its tasks have ended; see `plain` for what comes out."""
    try:
        async with trio.open_nursery() as opened:
            yield opened
    except BaseExceptionGroup as group:
        raise plain(group) from None


@asynccontextmanager
async def background() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks are cancelled when the body is left; see `plain` for what comes out."""
    async with nursery() as opened:
        yield opened
        opened.cancel_scope.cancel()


def plain(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a nursery's group stands for: its one error, or a cancellation where it holds nothing else.

    Several errors stay the group that they are. A group that the body itself raised is one error.
    """
    errors = [error for error in group.exceptions if not isinstance(_single(error), trio.Cancelled)]
    if not errors:
        return _single(group)
    return errors[0] if len(errors) == 1 else group


def _single(error: BaseException) -> BaseException:
    """A cancellation, where a group of any depth holds nothing else; or what came."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    first, *rest = map(_single, error.exceptions)
    return first if all(isinstance(leaf, trio.Cancelled) for leaf in (first, *rest)) else error


def run_plainly(work: Callable[[], Awaitable[_ResultT]]) -> _ResultT:
    """Run it to its end on trio; a single error, Ctrl-C among them, comes out as itself and not in trio's groups.

    Ctrl-C comes at a checkpoint and nowhere else: in the middle of anything it would leave the loop half ended.
    """
    try:
        return trio.run(work, restrict_keyboard_interrupt_to_checkpoints=True)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


class LoopThread:
    """A trio loop in a thread of its own, from `start` to `stop`; every other thread may start tasks in it.

    An error of a task is its future's. One that is no Exception (SystemExit and its like) ends the loop as well, and
    tasks that are started afterwards fail with trio.RunFinishedError.
    """

    def __init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="trio loop", daemon=True)
        self._started: Future[trio.lowlevel.TrioToken] = Future()
        self._tasks: trio.Nursery | None = None
        self._stopping = trio.Event()
        self._question: Future[None] | None = None  # the last that was not answered

    def start(self) -> None:
        """Start the thread; returns when the loop runs.

        Raises: whatever keeps trio from running, such as OSError where no descriptor is left; TimeoutError if it does
            not run soon.
        """
        self._thread.start()
        self._started.result(timeout=_START_S)

    def start_soon(self, work: Callable[[], Awaitable[_ResultT]]) -> Future[_ResultT]:
        """Start a task and return at once, whatever the loop is doing. Cancelling the future cancels the task.

        Raises: trio.RunFinishedError if the loop has ended.
        """
        future: Future[_ResultT] = Future()
        scope = trio.CancelScope()

        def note_cancelled(ended: Future[_ResultT]) -> None:
            if ended.cancelled():
                with suppress(trio.RunFinishedError):
                    self._call_soon(scope.cancel)

        def begin() -> None:
            assert self._tasks is not None, "the loop serves nobody before it has its nursery"
            if future.cancelled():  # while something blocked the loop
                return
            try:
                self._tasks.start_soon(_fulfil, future, scope, work)
            except RuntimeError as error:  # the nursery is closed: the loop is about to end
                future.set_exception(error)

        future.add_done_callback(note_cancelled)
        self._call_soon(begin)
        return future

    def answers(self, *, within_s: float) -> bool:
        """Whether the loop comes round in time; a loop in which something blocks does not, and one that ended neither.

        A question that was not answered stays open, so that a blocked loop is not asked again and again.
        """
        if not self._has_begun:
            return False
        try:
            self._question = self._question or self.start_soon(trio.lowlevel.checkpoint)
            self._question.result(timeout=within_s)
        except (TimeoutError, CancelledError, trio.RunFinishedError):
            return False
        self._question = None
        return True

    @property
    def stack(self) -> str:
        """Where the loop's thread is at this moment: what blocks it, if something does; empty if it has ended."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        return "" if frame is None else "".join(traceback.format_stack(frame))

    def stop(self, tell: Callable[[], object] = lambda: None, *, timeout_s: float | None = None) -> bool:
        """Let the loop end when its tasks have, which `tell` may ask of them; whether the thread has ended in time.

        Does nothing before `start`. timeout_s: None for no limit. The thread is a daemon: a process may end beside it.
        """
        if self._has_begun:
            with suppress(trio.RunFinishedError):
                self._call_soon(tell)
                self._call_soon(self._stopping.set)
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def _has_begun(self) -> bool:
        return self._started.done() and self._started.exception() is None

    @property
    def _token(self) -> trio.lowlevel.TrioToken:
        assert self._started.done(), "start() was not called"
        return self._started.result()

    def _call_soon(self, function: Callable[[], object]) -> None:
        """Raises: trio.RunFinishedError if the loop has ended."""
        try:
            self._token.run_sync_soon(function)
        except OSError as error:  # a loop that crashed has closed the socket that wakes it, and does not know itself
            raise trio.RunFinishedError from error

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            elif not isinstance(error, BaseExceptionGroup):  # a group is what ended the loop: its task's future told it
                raise

    async def _serve(self) -> None:
        async with trio.open_nursery() as self._tasks:
            self._started.set_result(trio.lowlevel.current_trio_token())
            await self._stopping.wait()


class TimedThread:
    """Does one piece of work after another beside the loops that ask, each within limit_s.

    A thread cannot be ended. One that is past its limit is left alone, and no further work begins before it ends, so
    that it costs one thread and not one for each call.
    """

    def __init__(self, *, limit_s: float) -> None:
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._begun_s = 0.0

    async def run(self, function: Callable[[], _ResultT]) -> _ResultT:
        """Call the function, which does not begin if the caller is cancelled before.

        Raises: TimeoutError if it, or what came before it, is past the limit; what it raises.
        """

        def start_clock() -> None:
            scope.deadline = trio.current_time() + self._limit_s

        def work() -> _ResultT:
            self._wait_turn()
            try:
                trio.from_thread.run_sync(start_clock)  # cancelled, where nobody waits any more
                return function()
            finally:
                self._lock.release()

        with trio.CancelScope() as scope:
            # a limiter of its own, as threads that are left alone would use up the common one
            return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
        raise TimeoutError(f"not done within {self._limit_s:g} s")

    def _wait_turn(self) -> None:
        while not self._lock.acquire(timeout=max(0.0, self._begun_s + self._limit_s - time.monotonic())):
            if self._begun_s + self._limit_s <= time.monotonic():
                raise TimeoutError(f"what came before is not done within {self._limit_s:g} s")
        self._begun_s = time.monotonic()


class QueueThread:
    """Does one piece of work after another in a daemon thread; whoever asks waits no longer than it says.

    Work that is late stays in its place and is done in its turn. Until it is, nobody waits for what comes after it: a
    disk that hangs is waited for once.
    """

    def __init__(self, *, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._has_begun = False
        self._late: Future[Any] | None = None

    def do(self, function: Callable[[], _ResultT], *, within_s: float, even_if_late: bool = False) -> _ResultT:
        """Call the function there, after all that came before it, and wait for it.

        even_if_late: whether to wait although what came before is late.
        Raises: TimeoutError if it is not done in time, or nobody waits for it; what the function raises.
        """
        future: Future[_ResultT] = Future()
        with self._lock:
            if not self._has_begun:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
                self._has_begun = True
            self._queue.put((future, function))
            is_behind = self._late is not None and not self._late.done()
        try:
            return future.result(timeout=0 if is_behind and not even_if_late else within_s)
        except TimeoutError:
            if not future.done():
                self._late = future
                future.add_done_callback(self._tell_of_late)
            raise

    def _run(self) -> None:
        while True:
            future, function = self._queue.get()
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001  # whoever asked gets it, whatever it is
                future.set_exception(error)

    def _tell_of_late(self, future: Future[Any]) -> None:
        if (error := future.exception()) is not None:  # which nobody waits for any more
            log.error("%s: work that was late has failed", self._name, exc_info=error)


async def _fulfil(future: Future[_ResultT], scope: trio.CancelScope, work: Callable[[], Awaitable[_ResultT]]) -> None:
    """Do the work and hand over what comes of it; nobody waits any more for a future that was cancelled."""
    try:
        with scope:
            result = await work()
            if future.set_running_or_notify_cancel():
                future.set_result(result)
    except trio.Cancelled:
        future.cancel()  # the loop is ending
        raise
    except BaseException as error:
        if future.set_running_or_notify_cancel():
            future.set_exception(error)
        if not isinstance(error, Exception):
            raise
