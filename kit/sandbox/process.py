"""One sandboxed Python, seen from the kit: code in, an `Execution` out, and its end.

In: the kit's ends of three channels. Out: executions. Nothing that comes from the far side is trusted: it is
bounded and compared with what was expected; otherwise the process is ended. No timing of the far side is relied
on, and no descriptor blocks. It starts nothing; `kit.sandbox.forkserver` does.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import struct
import termios
from contextlib import suppress
from enum import Enum

import trio

from kit.interpreter import Execution, ExecutionStatus
from kit.sandbox.packets import (
    BIRTH,
    DEATH,
    INTERRUPT,
    MAX_CODE_BYTES,
    MAX_REPLY_BYTES,
    NONCE_BYTES,
    OUT_OF_MEMORY,
    Verdict,
)
from kit.sandbox.transcript import Transcript
from kit.tasks import background

_READ_BYTES = 1 << 16
_PACED_FROM_BYTES = 1 << 20  # a program that has written more is slowed to 64 MB/s, so that reading stays cheap
_PAUSE_S = 0.001
_OUT_OF_MEMORY = "was killed, since all programs together had used up the memory"
_LAST_WORDS_S = 1.0  # how long a death certificate may take


class Ending(Enum):
    """How a request ended."""

    OK = "ok"
    ERROR = "error"
    INTERRUPTED = "interrupted"  # its time was up, it stopped when told to, its variables live
    KILLED = "killed"  # its time was up and it did not stop
    DIED = "died"  # the process ended
    BROKEN = "broken"  # something else came than an answer


_STATUS = {
    Ending.OK: ExecutionStatus.OK,
    Ending.ERROR: ExecutionStatus.ERROR,
    Ending.INTERRUPTED: ExecutionStatus.TIMEOUT,
    Ending.KILLED: ExecutionStatus.TIMEOUT,
    Ending.DIED: ExecutionStatus.DIED,
    Ending.BROKEN: ExecutionStatus.DIED,
}


class Process:
    """A confined Python that keeps its variables until it dies. One task at a time may use it.

    life: to its init process. control: to the Python itself. output: a pipe that it writes to.
    """

    def __init__(
        self,
        life: trio.socket.SocketType,
        control: trio.socket.SocketType,
        output: int,
        *,
        output_bytes: int,
        grace_s: float,
    ) -> None:
        self._life = life
        self._control = control
        self._output = trio.lowlevel.FdStream(output)
        self._output_bytes = output_bytes
        self._grace_s = grace_s
        self._is_ended = False
        self._is_out_of_memory = False
        self.init: int | None = None  # the pid of its init process, once it is born

    @property
    def is_alive(self) -> bool:
        """It has not been ended, and nothing unasked for has come from it, its end included."""
        return not self._is_ended and not self._control.is_readable()

    async def run(self, code: str, *, timeout_s: float) -> Execution:
        """Run code for at most `timeout_s` seconds; see kit.interpreter.Interpreter.

        A program whose time is up is interrupted shortly before it, and killed when it does not stop. The output
        says whether variables are kept. Cancelling kills it, and comes out as a plain `trio.Cancelled`.
        """
        begun_s = trio.current_time()
        sent = code.encode(errors="surrogatepass")
        if len(sent) > MAX_CODE_BYTES:
            output = f"the code has {len(sent)} bytes; at most {MAX_CODE_BYTES} are run"
            return Execution(output=output, status=ExecutionStatus.ERROR, seconds=0)
        transcript = Transcript(self._output_bytes)
        try:
            self._drain(None)  # what a thread left behind wrote since the last run belongs to nobody
            async with background() as tasks:
                tasks.start_soon(self._read_output, transcript)
                ending = await self._request(sent, timeout_s)
            self._drain(transcript)
        except BaseException:
            self.end()
            raise
        note = await self._note(ending, timeout_s)
        text = transcript.text()
        if note and text and not text.endswith("\n"):
            text += "\n"
        return Execution(output=text + note, status=_STATUS[ending], seconds=trio.current_time() - begun_s)

    async def wait_born(self) -> None:
        """Learn the pid of its init process, which says it before the Python says that it is ready.

        Raises: OSError, or struct.error, if the init process is gone.
        """
        (self.init,) = BIRTH.unpack(await self._life.recv(MAX_REPLY_BYTES))

    async def end_for_memory(self) -> None:
        """Have it killed as one that took too much; the run that goes on hears of it as of a death."""
        with suppress(OSError, trio.ClosedResourceError):  # it ended just now
            await self._life.send(OUT_OF_MEMORY)
            self._is_out_of_memory = True

    def end(self) -> None:
        """Have it and all it started killed. Does not wait."""
        if self._is_ended:
            return
        self._is_ended = True
        self._control.close()
        with suppress(OSError):  # the init process is gone
            self._life.shutdown(socket.SHUT_WR)  # it may still say how the Python ended

    async def wait_ended(self) -> int | None:
        """End it and wait until nothing of it is alive; its wait status, or None if that is not known."""
        self.end()
        try:
            while packet := await self._life.recv(MAX_REPLY_BYTES):
                if len(packet) == DEATH.size:
                    return int(DEATH.unpack(packet)[0])
        except (OSError, trio.ClosedResourceError):
            pass  # the init process is gone, or this was asked before
        finally:
            self.abandon()
        return None

    def abandon(self) -> None:
        """End it and look after it no more; its init process sees to the rest. Does not wait."""
        self.end()
        self._life.close()
        self._output.close()

    async def _request(self, code: bytes, timeout_s: float) -> Ending:
        nonce = secrets.token_bytes(NONCE_BYTES)
        grace_s = min(self._grace_s, timeout_s / 4)
        with trio.move_on_after(timeout_s):
            try:
                await self._control.send(nonce + code)
            except OSError:
                return Ending.DIED
            with trio.move_on_after(timeout_s - grace_s):
                return self._read_reply(nonce, await self._receive())
            await self._interrupt()
            answered = self._read_reply(nonce, await self._receive())
            return Ending.INTERRUPTED if answered in (Ending.OK, Ending.ERROR) else answered
        return Ending.KILLED

    async def _receive(self) -> bytes:
        """The next packet from the Python; empty if there will be none."""
        try:
            return bytes(await self._control.recv(MAX_REPLY_BYTES))
        except OSError:
            return b""

    def _read_reply(self, nonce: bytes, reply: bytes) -> Ending:
        if reply == nonce + Verdict.OK:
            return Ending.OK
        if reply == nonce + Verdict.ERROR:
            return Ending.ERROR
        return Ending.BROKEN if reply else Ending.DIED

    async def _interrupt(self) -> None:
        """Have the Python interrupted; returns when the signal is sent, so that it cannot hit a later run."""
        try:
            await self._life.send(INTERRUPT)
            await self._life.recv(MAX_REPLY_BYTES)
        except OSError:
            pass  # it died just now: the next read says so

    async def _read_output(self, transcript: Transcript) -> None:
        num_bytes = 0
        while piece := await self._output.receive_some(_READ_BYTES):
            transcript.add(piece)
            num_bytes += len(piece)
            if num_bytes > _PACED_FROM_BYTES:
                await trio.sleep(_PAUSE_S)

    def _drain(self, transcript: Transcript | None) -> None:
        """Take what lies in the pipe now, and no more: another process may write without end."""
        output = self._output.fileno()
        waiting = struct.unpack("i", fcntl.ioctl(output, termios.FIONREAD, b"\0" * 4))[0]
        if waiting:
            piece = os.read(output, waiting)
            if transcript is not None:
                transcript.add(piece)

    async def _note(self, ending: Ending, timeout_s: float) -> str:
        """What the reader must know beyond what the program wrote."""
        limit = f"[The time limit of {timeout_s:g} s was reached"
        if ending in (Ending.OK, Ending.ERROR):
            return ""
        if ending is Ending.INTERRUPTED:
            return f"{limit}; variables are kept.]\n"
        if ending is Ending.KILLED:
            self.end()
            return f"{limit} and the program did not stop: Python was restarted, variables are lost.]\n"
        if ending is Ending.BROKEN:
            self.end()
            return "[Python broke its channel: it was restarted, variables are lost.]\n"
        status: int | None = None
        with trio.move_on_after(_LAST_WORDS_S):
            status = await self.wait_ended()
        cause = _OUT_OF_MEMORY if self._is_out_of_memory else _cause(status)
        return f"[Python {cause}: it was restarted, variables are lost.]\n"


def _cause(status: int | None) -> str:
    """A wait status in words."""
    if status is None:
        return "ended"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"left with exit status {code}"
    if code == -signal.SIGKILL:
        return "was killed, having used up memory or processor time"
    return f"crashed ({signal.Signals(-code).name})"
