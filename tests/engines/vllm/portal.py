"""A trio loop in a thread, for fixtures that keep a server up while many tests, each without a loop, call it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import Any, TypeVar

import trio

from kit.tasks import LoopThread

_ValueT = TypeVar("_ValueT")


class Portal(LoopThread):
    def call(self, work: Callable[..., Awaitable[_ValueT]], *args: Any) -> _ValueT:
        return self.start_soon(partial(work, *args)).result()

    @contextmanager
    def holding(self, manager: AbstractAsyncContextManager[_ValueT]) -> Iterator[_ValueT]:
        """What the manager gives, entered and left by one task of the loop."""
        entered: Future[_ValueT] = Future()
        leave: Future[Callable[[], None]] = Future()

        async def hold() -> None:
            leaving = trio.Event()
            token = trio.lowlevel.current_trio_token()
            leave.set_result(lambda: token.run_sync_soon(leaving.set))
            async with manager as value:
                entered.set_result(value)
                await leaving.wait()

        def pass_on(held: Future[None]) -> None:
            if not entered.done():
                entered.set_exception(held.exception() or RuntimeError("left before it was entered"))

        held = self.start_soon(hold)
        held.add_done_callback(pass_on)
        try:
            yield entered.result()
        finally:
            leave.result()()
            held.result()


@contextmanager
def open_portal() -> Iterator[Portal]:
    portal = Portal()
    portal.start()
    try:
        yield portal
    finally:
        portal.stop()
