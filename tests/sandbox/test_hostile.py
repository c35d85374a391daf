"""Hostile programs leave the host, the other sandboxes and the answer untouched; under every set of layers."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
import trio

import kit
from kit.interpreter import Execution, ExecutionStatus, Interpreter
from kit.sandbox.config import GiB, SandboxConfig
from kit.sandbox.confinement import Layer
from kit.sandbox.pool import SandboxPool, open_pool
from tests.sandbox.hostile import PROGRAMS, SECRET_TEXT, Hostile
from tests.sandbox.processes import Seen, escaped, sandbox_processes
from tests.waiting import longer_and_longer

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SHORT_S = 0.3  # for programs that would run on
LONG_S = 100.0  # for programs that end by themselves, however busy the machine
SYSTEM_PYTHON = Path("/usr/bin/python3")
KIT = Path(kit.__file__).resolve().parent


def _everybody_reads(folder: Path) -> bool:
    return all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What another process could change of one without a signal."""

    priority: int
    scheduler: int
    cpus: frozenset[int]
    group: int
    num_files: tuple[int, int]

    @classmethod
    def of(cls, pid: int) -> Self:
        return cls(
            priority=os.getpriority(os.PRIO_PROCESS, pid),
            scheduler=os.sched_getscheduler(pid),
            cpus=frozenset(os.sched_getaffinity(pid)),
            group=os.getpgid(pid),
            num_files=resource.prlimit(pid, resource.RLIMIT_NOFILE),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What must stay as it is."""

    file: Path
    secret: Path
    weights: Path
    process: subprocess.Popen[bytes]
    listener: socket.socket
    mailbox: socket.socket
    standing: Standing

    def fill_in(self, code: str) -> str:
        return code.format(
            canary_file=self.file,
            canary_pid=self.process.pid,
            kit_pid=os.getpid(),
            secret=self.secret,
            weights=self.weights,
            port=self.listener.getsockname()[1],
            mailbox=self.mailbox.getsockname(),
        )

    def check(self) -> None:
        assert self.file.read_text() == "canary"
        assert {path.name for path in self.file.parent.iterdir()} == {"canary", "mailbox", "secret", "weights.bin"}
        assert not Path("/dev/shm/kit-canary").exists()
        assert self.secret.read_text() == SECRET_TEXT
        assert self.weights.read_text() == SECRET_TEXT
        assert self.weights.stat().st_mode & 0o777 == 0o644
        assert self.process.poll() is None
        with pytest.raises(BlockingIOError):
            self.listener.accept()
        with pytest.raises(BlockingIOError):
            self.mailbox.recv(1)
        assert Standing.of(self.process.pid) == self.standing


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    for parent in (folder, *folder.parents[:2]):  # nothing but the sandbox stands between a program and these
        parent.chmod(0o755)
    file, secret, weights = folder / "canary", folder / "secret", folder / "weights.bin"
    file.write_text("canary")
    secret.write_text(SECRET_TEXT)
    secret.chmod(0o600)
    weights.write_text(SECRET_TEXT)
    weights.chmod(0o644)
    # a program that ends its group ends no test
    process = subprocess.Popen(["sleep", "infinity"], start_new_session=True)
    os.environ["KIT_TEST_TOKEN"] = SECRET_TEXT
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mailbox,
    ):
        listener.setblocking(False)
        mailbox.bind(str(folder / "mailbox"))
        mailbox.setblocking(False)
        yield Host(
            file=file,
            secret=secret,
            weights=weights,
            process=process,
            listener=listener,
            mailbox=mailbox,
            standing=Standing.of(process.pid),
        )
    del os.environ["KIT_TEST_TOKEN"]
    process.kill()
    process.wait()


@dataclass(frozen=True, slots=True)
class Ground:
    """A pool, an innocent attempt in it, and how many processes that makes."""

    pool: SandboxPool
    innocent: Interpreter
    num_processes: int


@asynccontextmanager
async def open_ground(config: SandboxConfig) -> AsyncIterator[Ground]:
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(config))
        innocent = await stack.enter_async_context(pool.lend())
        await innocent.run("x = 41", timeout_s=LONG_S)
        num_processes = 2 * (1 + config.num_spare)  # each an init process and a worker
        await settle(num_processes)
        yield Ground(pool, innocent, num_processes)


async def settle(num_processes: int) -> None:
    """Wait until exactly these many processes of sandboxes are left, and stay the same ones."""
    before: list[Seen] = []
    with trio.fail_after(LONG_S):
        while len(before) != num_processes or before != sandbox_processes():
            before = sandbox_processes()
            await trio.sleep(0.02)


async def attack(ground: Ground, host: Host, program: Hostile, *, short_s: float = SHORT_S) -> Execution:
    """Run a program next to the innocent one; check all that must hold whatever the program does.

    short_s: for one that does not end by itself.
    """
    async with ground.pool.lend() as attempt:
        timeout_s = short_s if ExecutionStatus.TIMEOUT in program.ends else LONG_S
        execution = await attempt.run(host.fill_in(program.code), timeout_s=timeout_s)
        after = await attempt.run("assert 2 + 2 == 4", timeout_s=SHORT_S)
        if after.status is not ExecutionStatus.OK:  # the program had broken its own Python: one run is lost at most
            after = await attempt.run("assert 2 + 2 == 4", timeout_s=LONG_S)
        assert after.status is ExecutionStatus.OK, after
    answer = await ground.innocent.run("x + 1", timeout_s=LONG_S)
    assert (answer.output, answer.status) == ("42\n", ExecutionStatus.OK)
    host.check()
    assert SECRET_TEXT not in execution.output
    assert len(execution.output) < SandboxConfig().output_bytes + 200
    await settle(ground.num_processes)
    assert escaped() == []
    return execution


def config_for(host: Host, **changes: object) -> SandboxConfig:
    return SandboxConfig(**{"memory_bytes": GiB, "num_spare": 1, "hidden": (host.file.parent,), **changes})


def named(programs: list[Hostile]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("program", programs, ids=[program.name.replace(" ", "-") for program in programs])


def test_there_are_at_least_forty_programs_with_names_of_their_own() -> None:
    assert len({program.name for program in PROGRAMS}) == len(PROGRAMS) >= 40


class TestEveryLayer:
    """All that this machine grants, no process to be started."""

    @pytest.fixture(scope="class")
    async def ground(self, host: Host) -> AsyncIterator[Ground]:
        async with open_ground(config_for(host)) as ground:
            yield ground

    @named(list(PROGRAMS))
    async def test_a_hostile_program_harms_nobody(self, ground: Ground, host: Host, program: Hostile) -> None:
        for short_s in longer_and_longer(SHORT_S):  # a busy machine may not tell a program in time that it is to stop
            execution = await attack(ground, host, program, short_s=short_s)
            if program.says in execution.output:
                break
        assert execution.status in program.ends, execution
        assert program.says in execution.output

    @pytest.mark.parametrize(
        ("code", "says"),
        [
            ("import sqlite3\nsqlite3.connect(':memory:').execute('select 6 * 7').fetchall()", "[(42,)]"),
            (
                "import os, shutil, tempfile\na = tempfile.mkdtemp()\nopen(a + '/x', 'w').write('abc')\n"
                "shutil.copy2(a + '/x', a + '/y')\nshutil.copytree(a, a + 'b')\nos.rename(a + '/y', a + '/z')\n"
                "shutil.rmtree(a)\nsorted(os.listdir(a + 'b'))",
                "['x', 'y']",
            ),
            ("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.savefig('/tmp/a.png')\nprint('done')", "done"),
        ],
        ids=["sqlite", "files", "matplotlib"],
    )
    async def test_an_honest_program_runs(self, ground: Ground, code: str, says: str) -> None:
        async with ground.pool.lend() as attempt:
            assert ground.pool.confinement
            if not ground.pool.confinement.has_scratch:
                pytest.skip(f"there is no private /tmp: {ground.pool.confinement.describe()}")
            assert says in (await attempt.run(code, timeout_s=LONG_S)).output


class TestProcessesAllowed:
    """All that this machine grants, and a few processes: none outlives the attempt."""

    @pytest.fixture(scope="class")
    async def ground(self, host: Host) -> AsyncIterator[Ground]:
        async with open_ground(config_for(host, max_processes=12)) as ground:
            yield ground

    @named([program for program in PROGRAMS if program.starts_processes])
    async def test_a_hostile_program_leaves_no_process(self, ground: Ground, host: Host, program: Hostile) -> None:
        await attack(ground, host, program)


class TestFewerLayers:
    """What is left when a machine does not grant a layer, or grants one only, or none."""

    @pytest.fixture(
        scope="class",
        params=[
            *(
                pytest.param(frozenset(Layer) - {layer}, marks=[pytest.mark.long] * (layer is not Layer.SECCOMP))
                for layer in Layer
            ),
            *(pytest.param({layer}, marks=pytest.mark.long) for layer in (Layer.SECCOMP, Layer.LANDLOCK)),
            set(),
        ],
        ids=[*(f"without-{layer}" for layer in Layer), "only-seccomp", "only-landlock", "none"],
    )
    async def ground(self, host: Host, request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
        async with open_ground(config_for(host, layers=frozenset(request.param))) as ground:
            assert ground.pool.confinement
            assert ground.pool.confinement.layers <= request.param
            yield ground

    @named([program for program in PROGRAMS if program.is_core])
    async def test_a_hostile_program_harms_nobody(self, ground: Ground, host: Host, program: Hostile) -> None:
        execution = await attack(ground, host, program)
        assert execution.status in program.ends, execution


class TestOnlyTheFilter:
    """What the filter is narrow enough to leave to honest programs."""

    @pytest.fixture(scope="class")
    async def ground(self, host: Host) -> AsyncIterator[Ground]:
        async with open_ground(config_for(host, layers=frozenset({Layer.SECCOMP}), preload=())) as ground:
            yield ground

    @pytest.mark.parametrize(
        ("code", "says"),
        [
            ("import asyncio\nasync def f(): await asyncio.sleep(0)\nasyncio.run(f())\nprint('done')", "done"),
            ("import multiprocessing\na, b = multiprocessing.Pipe()\na.send(3)\nb.recv()", "3"),
            ("import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETFL, os.O_NONBLOCK)\nprint('done')", "done"),
            ("import fcntl, struct, termios\nprint(len(fcntl.ioctl(1, termios.FIONREAD, bytes(4))))", "4"),
            ("import resource\nresource.getrlimit(resource.RLIMIT_CPU)\nprint('done')", "done"),
            ("import os\nos.kill(os.getpid(), 0)\nprint('done')", "done"),
            ("import os\nos.abort()", "SIGABRT"),
            ("import signal, threading\nsignal.pthread_kill(threading.get_ident(), signal.SIGTERM)", "SIGTERM"),
            (
                "from concurrent.futures import ThreadPoolExecutor\n"
                "sum(ThreadPoolExecutor(4).map(lambda n: n * n, range(100)))",
                "328350",
            ),
            ("import numpy\nround(numpy.linalg.det(numpy.eye(200) * 2) / 2**200)", "1"),
            ("import sympy\nsympy.factorint(2**67 - 1)", "193707721: 1"),
            ("import networkx\nnetworkx.diameter(networkx.cycle_graph(9))", "4"),
            (
                "import signal, time\nsignal.signal(signal.SIGALRM, print)\nsignal.setitimer(0, 0.01)\ntime.sleep(1)",
                "14",
            ),
            ("import os\n'ast.py' in os.listdir(os.path.dirname(os.__file__))", "True"),
        ],
        ids=[
            "asyncio",
            "pipe",
            "fcntl",
            "ioctl",
            "limits",
            "kill",
            "abort",
            "pthread_kill",
            "threads",
            "numpy",
            "sympy",
            "networkx",
            "alarm",
            "listing",
        ],
    )
    async def test_an_honest_program_runs(self, ground: Ground, code: str, says: str) -> None:
        async with ground.pool.lend() as attempt:
            assert says in (await attempt.run(code, timeout_s=LONG_S)).output


@pytest.mark.skipif(os.geteuid() != 0 or not SYSTEM_PYTHON.exists(), reason="needs root and a Python for everybody")
class TestAsInAContainer:
    """Root without the right to mount, as in a container: a user id, Landlock and the filter do it.

    The tests' own Python may lie where only root reads, so the system's is run.
    """

    @pytest.fixture(scope="class")
    async def ground(self, host: Host) -> AsyncIterator[Ground]:
        layers = frozenset({Layer.UID, Layer.LANDLOCK, Layer.SECCOMP})
        config = config_for(host, layers=layers, python=SYSTEM_PYTHON, preload=(), max_processes=12)
        async with open_ground(config) as ground:
            assert ground.pool.confinement
            assert ground.pool.confinement.layers == layers
            yield ground

    @named([program for program in PROGRAMS if program.is_core or program.starts_processes])
    async def test_a_hostile_program_harms_nobody(self, ground: Ground, host: Host, program: Hostile) -> None:
        await attack(ground, host, program)


@pytest.mark.skipif(
    os.geteuid() != 0 or not SYSTEM_PYTHON.exists() or shutil.which("setpriv") is None or not _everybody_reads(KIT),
    reason="needs root, setpriv, a Python for everybody, and a checkout that everybody may read",
)
class TestAsAnOrdinaryUser:
    """No rights at all: a user namespace, where there may be one, stands in for them."""

    @pytest.fixture(scope="class")
    async def ground(self, host: Host, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
        python = tmp_path_factory.mktemp("user") / "python"
        drop = "setpriv --reuid=65534 --regid=65534 --clear-groups"
        python.write_text(f'#!/bin/sh\nexec {drop} {SYSTEM_PYTHON} "$@"\n')
        python.chmod(0o755)
        async with open_ground(config_for(host, python=python, preload=())) as ground:
            assert ground.pool.confinement
            assert Layer.UID not in ground.pool.confinement.layers
            yield ground

    @named([program for program in PROGRAMS if program.is_core])
    async def test_a_hostile_program_harms_nobody(self, ground: Ground, host: Host, program: Hostile) -> None:
        execution = await attack(ground, host, program)
        assert execution.status in program.ends, execution
