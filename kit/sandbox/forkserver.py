"""The kit's side of the forkserver: starts it, learns what the machine grants, and has sandboxes forked by it.

In: a configuration. Out: `Process`es, some milliseconds each. A dead forkserver is replaced by the pool; the sandboxes
it forked live on. The kit itself never forks: it has threads, and perhaps a GPU.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from array import array
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import trio

from kit.errors import EngineError
from kit.sandbox.config import SandboxConfig
from kit.sandbox.confinement import Confinement
from kit.sandbox.memory import own_bytes
from kit.sandbox.packets import FAILED, MAX_REPLY_BYTES, MAX_REQUEST_BYTES, READY, SPAWN
from kit.sandbox.process import Process

_START_S = 120.0  # a cold disk takes its time over sympy
_SPAWN_S = 10.0
_KIT_PARENT = Path(__file__).parents[2]
# The path to the kit is for the forkserver's imports alone: the model's code has no business there.
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from kit.sandbox.inside.forkserver import main
sys.path.remove(sys.argv[1])
main(int(sys.argv[2]))
"""
_WARNINGS = ("-W", "ignore::SyntaxWarning", "-W", "ignore::DeprecationWarning")
_INHERITED = ("LD_LIBRARY_PATH",)  # without it some machines' numpy does not load; nothing else is passed on
_ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "MPLBACKEND": "Agg",
    "MALLOC_ARENA_MAX": "2",  # glibc reserves 64 MiB of address space for each arena
    **dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
    ),
}


class ForkServer:
    """A running forkserver.

    confinement: what it found to hold here. has_failed: a sandbox that it was asked for did not come up.
    """

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        channel: trio.socket.SocketType,
        confinement: Confinement,
        config: SandboxConfig,
    ) -> None:
        self._popen = popen
        self._channel = channel
        self._config = config
        self.confinement = confinement
        self.has_failed = False
        self.shared_bytes = own_bytes(popen.pid)  # what each of its sandboxes has from it

    @classmethod
    async def start(cls, config: SandboxConfig) -> Self:
        """Start one; takes about as long as importing the modules to preload.

        Raises: EngineError if it does not come up.
        """
        popen, channel = _popen(config.python or Path(sys.executable))
        answer = b""
        try:
            with trio.move_on_after(_START_S):
                await channel.send(json.dumps(config.to_json()).encode())
                answer = await channel.recv(MAX_REQUEST_BYTES)
        except OSError:
            pass  # it ended: the empty answer says so
        except BaseException:
            _stop(popen, channel)
            raise
        if not answer or answer.startswith(FAILED):
            _stop(popen, channel)
            why = answer.decode(errors="replace") or "it ended or hung while it started"
            raise EngineError(f"the sandbox cannot be started: {why}; see the error output above")
        return cls(popen, channel, Confinement.from_json(json.loads(answer)), config)

    async def spawn(self) -> Process:
        """Fork one sandbox and wait until it is confined.

        Raises: EngineError if the forkserver is gone, the sandbox could not be confined (then the forkserver has
        failed), or descriptors have run out here.
        """
        process, control, theirs = self._new_channels()
        answer = b""
        try:
            with ExitStack() as stack:  # the far side's ends are open here no longer than it takes to send them
                for descriptor in theirs:
                    stack.callback(os.close, descriptor)
                await self._channel.sendmsg([SPAWN], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, theirs)])
            with trio.move_on_after(_SPAWN_S):
                answer = await control.recv(MAX_REPLY_BYTES)
                if answer == READY:
                    await process.wait_born()
        except (OSError, struct.error, trio.ClosedResourceError):
            pass  # the forkserver is gone: the empty answer says so
        except BaseException:
            process.abandon()
            raise
        if answer != READY or process.init is None:
            self.has_failed = True
            process.abandon()  # never waited for: a forkserver that hangs holds the far ends for ever
            told = b"its init process is gone" if answer == READY else answer.removeprefix(FAILED)
            why = told.decode(errors="replace") or "the forkserver is gone"
            raise EngineError(f"a sandbox could not be started: {why}")
        return process

    def _new_channels(self) -> tuple[Process, trio.socket.SocketType, array[int]]:
        """A process that is still to be forked, its control channel, and the three ends that are to be sent.

        Raises: EngineError if descriptors or memory have run out.
        """
        try:
            with ExitStack() as undo:
                life, its_life = map(undo.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                control, its_control = map(undo.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                output, its_output = os.pipe()
                undo.pop_all()
        except OSError as error:
            raise EngineError(f"no channels to a sandbox can be opened: {error}") from error
        ours = trio.socket.from_stdlib_socket(control)
        process = Process(
            trio.socket.from_stdlib_socket(life),
            ours,
            output,
            output_bytes=self._config.output_bytes,
            grace_s=self._config.grace_s,
        )
        return process, ours, array("i", (its_life.detach(), its_control.detach(), its_output))

    def stop(self) -> None:
        """End it. The sandboxes it forked live on under their init processes. Waits a moment at most."""
        _stop(self._popen, self._channel)


def _popen(python: Path) -> tuple[subprocess.Popen[bytes], trio.socket.SocketType]:
    """The process, and the kit's end of its channel. Raises: EngineError."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    try:
        with ExitStack() as undo:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.enter_context(ours)
            with theirs:
                popen = subprocess.Popen(
                    [str(python), "-I", "-B", *_WARNINGS, "-c", _PROGRAM, str(_KIT_PARENT), str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=_ENVIRONMENT | inherited,
                    cwd="/",
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # an interrupt from the keyboard is the kit's to handle
                )
            undo.pop_all()
    except OSError as error:
        raise EngineError(f"the sandbox cannot be started: {error}") from error
    return popen, trio.socket.from_stdlib_socket(ours)


def _stop(popen: subprocess.Popen[bytes], channel: trio.socket.SocketType) -> None:
    channel.close()
    popen.kill()
    popen.wait()
