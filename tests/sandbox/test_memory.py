"""The sum of the sandboxes' memory, and the numbers of processes that one may have."""

from __future__ import annotations

import os

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kit.interpreter import Execution, ExecutionStatus, Interpreter
from kit.sandbox.config import GiB, MiB, SandboxConfig
from kit.sandbox.confinement import Layer
from kit.sandbox.memory import can_be_watched, default_total_bytes, held_bytes, own_bytes, to_end
from kit.sandbox.pool import open_pool
from kit.tasks import nursery

LONG_S = 100.0
HOLD = (
    "x = bytearray({mib} << 20)\nfor n in range(0, len(x), 4096): x[n] = 1\nimport time\ntime.sleep({s})\nlen(x) >> 20"
)
NUM_FORKED = """
import os, time
children = []
try:
    while len(children) < 100:
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        children.append(pid)
except OSError:
    pass
for pid in children: os.kill(pid, 9)
len(children)
"""


@given(st.dictionaries(st.integers(2, 99), st.integers(0, 9), max_size=6), st.integers(0, 30))
def test_the_largest_is_to_end_once_all_hold_too_much(held: dict[int, int], total: int) -> None:
    chosen = to_end(held, total)
    assert (chosen is None) == (sum(held.values()) <= total)
    assert chosen is None or held[chosen] == max(held.values())


def test_one_sandbox_may_always_have_what_it_is_promised() -> None:
    assert default_total_bytes(4 * GiB) >= 4 * GiB
    assert default_total_bytes(1 << 50) == 1 << 50


def test_a_process_that_is_gone_holds_nothing() -> None:
    assert own_bytes(1 << 30) == held_bytes(1 << 30, 0) == 0
    assert own_bytes(os.getpid()) > MiB


@pytest.mark.slow
@pytest.mark.anyio
class TestTheSum:
    @pytest.fixture(autouse=True)
    def watched(self) -> None:
        if not can_be_watched():
            pytest.skip("this kernel does not list the children of a process")

    async def test_the_largest_ends_when_all_together_hold_too_much(self, caplog: pytest.LogCaptureFixture) -> None:
        """Each is within its own limit of 2 GiB; nothing bounded their sum."""
        ends: dict[str, Execution] = {}

        async def hold(name: str, python: Interpreter, mib: int) -> None:
            ends[name] = await python.run(HOLD.format(mib=mib, s=4), timeout_s=LONG_S)

        config = SandboxConfig(memory_bytes=2 * GiB, total_memory_bytes=GiB, num_spare=0, preload=())
        async with open_pool(config) as pool, pool.lend() as small, pool.lend() as large:
            async with nursery() as tasks:
                tasks.start_soon(hold, "small", small, 300)
                tasks.start_soon(hold, "large", large, 900)
            assert (await large.run("1 + 1", timeout_s=LONG_S)).output == "2\n"
        assert (ends["small"].status, ends["small"].output) == (ExecutionStatus.OK, "300\n")
        assert ends["large"].status is ExecutionStatus.DIED
        assert "all programs together had used up the memory" in ends["large"].output
        assert "more than 1024; the largest is ended" in caplog.text

    async def test_children_count_with_the_program_that_started_them(self) -> None:
        config = SandboxConfig(memory_bytes=2 * GiB, total_memory_bytes=GiB, num_spare=0, preload=(), max_processes=4)
        split = f"import os\nfor _ in range(2): os.fork()\n{HOLD.format(mib=400, s=8)}"
        async with open_pool(config) as pool, pool.lend() as python:
            execution = await python.run(split, timeout_s=LONG_S)
            if "PermissionError" in execution.output:
                assert pool.confinement
                pytest.skip(f"no process may be started here: {pool.confinement.describe()}")
            assert "all programs together had used up the memory" in execution.output

    async def test_what_all_may_hold_ends_nobody(self) -> None:
        config = SandboxConfig(memory_bytes=GiB, total_memory_bytes=GiB, num_spare=0, preload=("numpy",))
        async with open_pool(config) as pool, pool.lend() as first, pool.lend() as second:
            for python in (first, second):
                assert (await python.run(HOLD.format(mib=300, s=0), timeout_s=LONG_S)).output == "300\n"
            await trio.sleep(1)
            for python in (first, second):
                assert (await python.run("len(x) >> 20", timeout_s=LONG_S)).output == "300\n"


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("max_processes", [2, 12])
async def test_a_program_starts_no_more_processes_than_it_may(max_processes: int) -> None:
    """Regression: threads were allowed for on top, and processes took their places: 20 where 12 were allowed."""
    config = SandboxConfig(memory_bytes=GiB, num_spare=0, preload=(), max_processes=max_processes)
    async with open_pool(config) as pool, pool.lend() as python:
        assert pool.confinement
        execution = await python.run(NUM_FORKED, timeout_s=LONG_S)
        if Layer.UID in pool.confinement.layers:  # a user id of its own: the kernel counts nobody else's
            assert execution.output == f"{max_processes - 1}\n"
        else:
            assert "PermissionError" in execution.output or int(execution.output) < max_processes


@pytest.mark.slow
@pytest.mark.anyio
async def test_where_no_process_may_be_started_threads_have_their_number() -> None:
    code = """
import threading, time
threads = []
try:
    while len(threads) < 50:
        threads.append(threading.Thread(target=time.sleep, args=(1,), daemon=True))
        threads[-1].start()
except RuntimeError:
    threads.pop()
len(threads)
"""
    config = SandboxConfig(memory_bytes=2 * GiB, num_spare=0, preload=(), max_threads=5)
    async with open_pool(config) as pool, pool.lend() as python:
        assert pool.confinement
        if not {Layer.UID, Layer.SECCOMP} <= pool.confinement.layers:
            pytest.skip(f"threads are counted together with others': {pool.confinement.describe()}")
        assert (await python.run(code, timeout_s=LONG_S)).output == "5\n"
