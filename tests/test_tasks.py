"""What comes out of a nursery that callers need not know of."""

from __future__ import annotations

import pytest
import trio

from kit.tasks import background, plain

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
