"""What comes out of a nursery that callers need not know of, and of a loop in another thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from functools import partial

import pytest
import trio

from kit.tasks import LoopThread, QueueThread, background, plain

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


async def test_its_tasks_end_with_the_body() -> None:
    async with background() as tasks:
        tasks.start_soon(trio.sleep_forever)


async def test_an_error_of_the_body_comes_out_as_it_is() -> None:
    async def fail() -> None:
        async with background() as tasks:
            tasks.start_soon(trio.sleep_forever)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()


async def test_a_group_of_the_body_stays_a_group() -> None:
    async def fail() -> None:
        async with background():
            raise ExceptionGroup("mine", [KeyError(), ValueError()])

    with pytest.raises(ExceptionGroup, match="mine") as caught:
        await fail()
    assert [type(error) for error in caught.value.exceptions] == [KeyError, ValueError]


async def test_a_cancellation_of_body_and_tasks_comes_out_plain() -> None:
    raised: list[type[BaseException]] = []
    with trio.CancelScope() as scope:
        try:
            async with background() as tasks, trio.open_nursery() as inner:
                tasks.start_soon(trio.sleep_forever)
                inner.start_soon(trio.sleep_forever)
                scope.cancel()
                await trio.sleep_forever()
        except BaseException as error:
            raised.append(type(error))
            raise
    assert raised == [trio.Cancelled]


async def test_an_error_during_a_cancellation_comes_out_as_it_is() -> None:
    async def fail(scope: trio.CancelScope) -> None:
        async with background() as tasks:
            tasks.start_soon(trio.sleep_forever)
            scope.cancel()
            raise KeyError

    with trio.CancelScope() as scope, pytest.raises(KeyError):
        await fail(scope)


async def test_errors_of_body_and_task_come_out_together() -> None:
    async def fail() -> None:
        raise ValueError

    async def fail_together() -> None:
        async with background() as tasks:
            tasks.start_soon(fail)
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError  # in place of the cancellation

    with pytest.raises(ExceptionGroup) as caught:
        await fail_together()
    assert {type(error) for error in caught.value.exceptions} == {KeyError, ValueError}


def test_one_error_in_a_group_is_what_the_group_stands_for() -> None:
    error = KeyError()
    assert plain(BaseExceptionGroup("g", [error])) is error


# --- a loop in a thread


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    running = LoopThread()
    running.start()
    yield running
    running.stop()


async def seven() -> int:
    return 7


async def fail() -> None:
    raise KeyError("mine")


async def leave() -> None:
    raise SystemExit(3)


def test_a_task_of_another_thread_gives_its_value_or_its_error(loop: LoopThread) -> None:
    assert loop.start_soon(seven).result() == 7
    with pytest.raises(KeyError, match="mine"):
        loop.start_soon(fail).result()
    assert loop.start_soon(seven).result() == 7


def test_cancelling_the_future_cancels_the_task(loop: LoopThread) -> None:
    begun: Future[None] = Future()
    ended = threading.Event()

    async def wait() -> None:
        begun.set_result(None)
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    future = loop.start_soon(wait)
    begun.result()
    future.cancel()
    assert ended.wait(600)
    assert loop.start_soon(seven).result() == 7


def test_what_asks_to_end_the_process_ends_the_loop_and_nobody_waits_for_it_in_vain(loop: LoopThread) -> None:
    waiting = loop.start_soon(trio.sleep_forever)
    with pytest.raises(SystemExit):
        loop.start_soon(leave).result()
    with pytest.raises(CancelledError):
        waiting.result()
    loop.stop()
    with pytest.raises(trio.RunFinishedError):
        loop.start_soon(seven)


def test_stopping_waits_for_the_tasks_and_may_tell_them(loop: LoopThread) -> None:
    told = trio.Event()
    waiting = loop.start_soon(told.wait)
    loop.stop(told.set)
    assert waiting.done()


def test_a_loop_that_cannot_begin_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(trio, "run", run)
    loop = LoopThread()
    with pytest.raises(OSError, match="Too many open files"):
        loop.start()
    loop.stop()


def test_a_loop_that_was_not_started_answers_nothing_and_needs_no_stopping() -> None:
    loop = LoopThread()
    assert not loop.answers(within_s=600)
    assert loop.stop()


def test_a_loop_that_something_blocks_is_known_and_left_behind(loop: LoopThread) -> None:
    assert loop.answers(within_s=600)
    begun, release = threading.Event(), threading.Event()

    async def block() -> None:
        begun.set()
        release.wait(600)

    blocked = loop.start_soon(block)
    assert begun.wait(600)
    assert not loop.answers(within_s=0.01)
    assert "release.wait(600)" in loop.stack
    dropped = loop.start_soon(seven)
    dropped.cancel()
    assert not loop.stop(timeout_s=0.01)
    release.set()
    blocked.result()
    assert loop.stop()
    assert loop.stack == ""


def test_a_task_that_was_given_up_while_the_loop_was_blocked_never_begins(loop: LoopThread) -> None:
    is_blocked, release, begun = threading.Event(), threading.Event(), threading.Event()

    async def block() -> None:
        is_blocked.set()
        release.wait(600)

    async def begin() -> None:
        begun.set()

    loop.start_soon(block)
    assert is_blocked.wait(600)
    loop.start_soon(begin).cancel()
    release.set()
    assert loop.answers(within_s=600)
    assert not begun.is_set()


# ----------------------------------------------------------------------------- QueueThread


def raise_(error: BaseException) -> None:
    raise error


def test_work_is_done_in_its_order_and_gives_its_value_or_its_error() -> None:
    thread, done = QueueThread(name="test"), list[int]()
    for number in range(5):
        thread.do(partial(done.append, number), within_s=600)
    assert done == [0, 1, 2, 3, 4]
    assert thread.do(lambda: 7, within_s=600) == 7
    for error in (ValueError("no"), SystemExit(3), TimeoutError("its own")):
        with pytest.raises(type(error), match=str(error)):
            thread.do(partial(raise_, error), within_s=600)


def test_late_work_is_waited_for_once_and_done_in_its_turn(caplog: pytest.LogCaptureFixture) -> None:
    thread, release, done = QueueThread(name="test"), threading.Event(), list[int]()
    with pytest.raises(TimeoutError):
        thread.do(lambda: release.wait(600), within_s=0.01)
    for number in range(3):
        with pytest.raises(TimeoutError):
            thread.do(partial(done.append, number), within_s=600)  # nobody waits for it
    with pytest.raises(TimeoutError):
        thread.do(partial(raise_, ValueError("too late to tell")), within_s=600)
    assert not done
    release.set()
    assert thread.do(lambda: 7, within_s=60, even_if_late=True) == 7
    assert done == [0, 1, 2]
    assert "too late to tell" in caplog.text
    assert thread.do(lambda: 8, within_s=600) == 8
