"""What becomes of a pool when this process can open nothing more.

Regression: the OSError of one failed refill cancelled the body of the pool, which is the whole competition.
"""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from itertools import count, islice
from pathlib import Path

import pytest

from kit.errors import EngineError
from kit.sandbox.config import GiB, SandboxConfig
from kit.sandbox.forkserver import ForkServer
from kit.sandbox.pool import open_pool
from tests.sandbox.processes import settled
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LONG_S = 100.0
PLENTY = 12  # more descriptors than a forkserver or a sandbox takes
BARE = SandboxConfig(memory_bytes=GiB, num_spare=0, preload=())
Action = Callable[[], Awaitable[None]]


def open_descriptors() -> set[int]:
    return {int(path.name) for path in Path("/proc/self/fd").iterdir()}


@contextmanager
def descriptors_left(num_left: int) -> Iterator[None]:
    """So many may be opened within; what is open stays so."""
    taken = open_descriptors()
    limit = next(islice((number for number in count() if number not in taken), num_left, None))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_ends_no_attempt_and_the_spares_come_back(caplog: pytest.LogCaptureFixture) -> None:
    async with open_pool(SandboxConfig(memory_bytes=GiB, num_spare=1, preload=())) as pool:
        await until(lambda: len(pool._spares) == 1)
        with descriptors_left(0):
            async with pool.lend() as python:
                await until(lambda: "no spare sandbox" in caplog.text)  # the refill fails
                assert "Too many open files" in caplog.text
                assert (await python.run("1 + 1", timeout_s=LONG_S)).output == "2\n"
            with pytest.raises(EngineError, match="Too many open files"):
                await pool.take()
        async with pool.lend() as python:
            assert (await python.run("2 + 2", timeout_s=LONG_S)).output == "4\n"
        await until(lambda: len(pool._spares) == 1)


async def test_does_not_cost_the_forkserver(caplog: pytest.LogCaptureFixture) -> None:
    async with open_pool(BARE) as pool:
        with descriptors_left(0), pytest.raises(EngineError):
            await pool.take()
        async with pool.lend() as python:
            assert (await python.run("1 + 1", timeout_s=LONG_S)).output == "2\n"
    assert "another forkserver" not in caplog.text


async def test_is_an_engine_error_where_the_pool_opens() -> None:
    with descriptors_left(0), pytest.raises(EngineError, match="Too many open files"):
        async with open_pool(BARE):
            raise AssertionError


@asynccontextmanager
async def starting_a_forkserver() -> AsyncIterator[Action]:
    async def start() -> None:
        (await ForkServer.start(BARE)).stop()

    yield start


@asynccontextmanager
async def taking_a_sandbox() -> AsyncIterator[Action]:
    async with open_pool(BARE) as pool:
        await settled()

        async def take() -> None:
            await pool.retire(await pool.take()).wait()

        yield take


@pytest.mark.parametrize("opened", [starting_a_forkserver, taking_a_sandbox])
async def test_leaves_nothing_open_at_whichever_descriptor_it_comes(
    opened: Callable[[], AbstractAsyncContextManager[Action]],
) -> None:
    async with opened() as action:
        await action()
        before = open_descriptors()
        fared = []
        for num_left in range(PLENTY):
            with descriptors_left(num_left):
                try:
                    await action()
                    fared.append(True)
                except EngineError:
                    fared.append(False)
            assert open_descriptors() == before
    assert fared == sorted(fared)
    assert set(fared) == {False, True}
