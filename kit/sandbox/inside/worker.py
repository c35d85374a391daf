"""One sandboxed Python: confines itself, says that it is ready, and runs what comes until the other side leaves.

In: a packet socket that brings (16 bytes that name the request, code), and a pipe for all that is written. Out: on
the socket READY or FAILED and the reason, then for each request the same 16 bytes and OK or ERROR. The code may
find and misuse the socket; whoever reads it must not believe more than that the code said so. What the code replaces
in modules is not used here: functions are taken hold of by name before any code runs.
"""

from __future__ import annotations

import os
import socket
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from os import dup2, getpid
from signal import SIG_IGN, SIGINT, default_int_handler, signal
from typing import NoReturn

from kit.sandbox.config import SandboxConfig
from kit.sandbox.confinement import Layer
from kit.sandbox.inside import layers as confining
from kit.sandbox.inside.execution import Session
from kit.sandbox.packets import FAILED, MAX_REQUEST_BYTES, NONCE_BYTES, READY, Verdict


def work(control: socket.socket, output: int, *, config: SandboxConfig, layers: frozenset[Layer], uid: int) -> NoReturn:
    """Be the sandbox, in a process that was just forked. Ends the process."""
    try:
        _rest()
        for standard in (1, 2):
            dup2(output, standard)
        confining.confine(config, layers, uid)
        _reseed()
        control.send(READY)
        _serve(control, output)
    except Exception as error:  # noqa: BLE001  # told to the kit, which may try again
        control.send(FAILED + str(error).encode()[:500])
    os._exit(0)


def _serve(control: socket.socket, output: int) -> None:
    """Answer requests until the kit closes its end."""
    session = Session()
    own_pid = getpid()
    while request := control.recv(MAX_REQUEST_BYTES):
        nonce, code = request[:NONCE_BYTES], request[NONCE_BYTES:].decode(errors="surrogatepass")
        is_ok = _run(session, code, output)
        if getpid() != own_pid:  # the code forked, and this is the child
            os._exit(0)
        control.send(nonce + (Verdict.OK if is_ok else Verdict.ERROR))


def _run(session: Session, code: str, output: int) -> bool:
    """Run code with fresh streams and the interrupt at work, whatever the last run did to either."""
    for standard in (1, 2):
        dup2(output, standard)
    # One stream for both keeps their order; by lines, so that little is lost when the process is killed.
    raw = FileIO(1, "w", closefd=False)
    stream = TextIOWrapper(BufferedWriter(raw), "utf-8", "backslashreplace", line_buffering=True)
    sys.stdout = sys.stderr = stream
    is_ok = False
    try:
        signal(SIGINT, default_int_handler)
        is_ok = session.run(code, stream)
        stream.flush()
    except (KeyboardInterrupt, OSError, ValueError):
        pass  # interrupted between the code's end and the next line, or the code closed its own output
    finally:
        _rest()
    return is_ok


def _rest() -> None:
    """Let interrupts pass while no code runs; one that is already under way is met here."""
    try:
        signal(SIGINT, SIG_IGN)
    except KeyboardInterrupt:
        signal(SIGINT, SIG_IGN)


def _reseed() -> None:
    """Give numpy's global generator, which is copied by a fork, a seed of its own; Python's sees to itself."""
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
