"""A server process under its reaper: its log, its end, and nothing left of it. It knows nothing of HTTP or vLLM.

In: a command line and an environment. Out: a running process.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import trio

from kit.errors import EngineError

log = logging.getLogger(__name__)

_REAPER = Path(__file__).with_name("reaper.py")
_REAPER_SLACK_S = 5.0  # what the reaper may take beyond the grace, to kill and bury


class ServerLog:
    """What a server writes: its last lines in memory, everything in a file.

    path: appended to; None for no file. A full disk ends the file and not the server.
    """

    def __init__(self, path: Path | None, *, num_lines: int = 400) -> None:
        self._path = path
        self._lines: deque[bytes] = deque(maxlen=num_lines)
        self._rest = b""
        self._file: BinaryIO | None = None
        if path is not None:
            self._keep(lambda: self._open(path))

    @property
    def tail(self) -> str:
        """The last lines of this start."""
        return b"\n".join([*self._lines, self._rest]).decode(errors="replace")

    def begin(self, title: str) -> None:
        """Forget the lines of the start before; the file keeps them."""
        self._lines.clear()
        self._rest = b""
        self._write(f"=== {title}\n".encode(errors="replace"))

    def add(self, data: bytes) -> None:
        """Take in what came."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-4096:]  # no line is told at more length
        self._lines += whole
        self._write(data)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            file, self._file = self._file, None
            with suppress(OSError):
                file.close()

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def _write(self, data: bytes) -> None:
        file = self._file
        if file is not None:
            self._keep(lambda: file.write(data))

    def _keep(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            self.close()
            log.warning("%s: the server's log is no longer kept: %s", self._path, error)


class ServerProcess:
    """A reaper and the server under it, in one process group."""

    def __init__(self, process: trio.Process, server_log: ServerLog, *, grace_s: float) -> None:
        self._process = process
        self._grace_s = grace_s
        self.log = server_log

    @property
    def pid(self) -> int:
        """The reaper's, and the process group's."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the server's end; its exit status, 128 plus the signal's number if a signal ended it."""
        return await self._process.wait()

    async def stop(self, *, is_hung: bool = False) -> None:
        """End it by SIGTERM, the grace and SIGKILL; if it hangs, at once. Returns when nothing of it is left."""
        stdin = self._process.stdin
        assert stdin is not None
        grace_s = 0.0 if is_hung else self._grace_s
        with trio.move_on_after(grace_s + _REAPER_SLACK_S):
            if is_hung:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await stdin.send_all(b"k")
            await stdin.aclose()
            await self._process.wait()
        # whatever became of the reaper itself
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self._process.wait()

    async def pump(self) -> None:
        """Read the log until its last writer has closed it."""
        assert self._process.stdout is not None
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            async for data in self._process.stdout:
                self.log.add(bytes(data))


@asynccontextmanager
async def running(
    command: Sequence[str], environment: Mapping[str, str], *, log: ServerLog, folder: Path, grace_s: float
) -> AsyncIterator[ServerProcess]:
    """A server in `folder` until this is left; then nothing of it remains.

    Raises: EngineError if it cannot be started.
    """
    try:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-I", str(_REAPER), f"{grace_s:g}", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,  # Ctrl-C in a terminal is ours to handle
        )
    except OSError as error:
        raise EngineError(f"the server's reaper cannot be started in {folder}: {error}") from error
    server = ServerProcess(process, log, grace_s=grace_s)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.pump)
        try:
            yield server
        finally:
            with trio.CancelScope(shield=True):
                await server.stop()
            nursery.cancel_scope.cancel()
            assert process.stdout is not None
            with trio.CancelScope(shield=True):
                await process.stdout.aclose()
