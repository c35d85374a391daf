"""The process over one sandbox: starts it, passes on interrupts, and leaves nothing of it alive.

In: a packet socket to the kit, whose end means "kill", as does OUT_OF_MEMORY, with INTERRUPT in between. Out: its pid,
and the wait status of the worker, sent when it and all it started are dead. The init process is outside of the sandbox
and out of its reach.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from kit.linux import Control, prctl
from kit.sandbox.config import SandboxConfig
from kit.sandbox.confinement import Layer
from kit.sandbox.inside.layers import enter_own_processes, own_uid
from kit.sandbox.inside.worker import work
from kit.sandbox.packets import BIRTH, DEATH, FAILED, INTERRUPT, MAX_REPLY_BYTES

_PAUSE_S = 0.001


def keep(
    life: socket.socket, control: socket.socket, output: int, *, config: SandboxConfig, layers: frozenset[Layer]
) -> NoReturn:
    """Be the init process, in a process that was just forked. Ends the process."""
    os.setsid()
    prctl(Control.SET_CHILD_SUBREAPER, 1)  # what the sandbox orphans comes here, and can be found
    news = _news_of_children()
    uid = own_uid()
    life.send(BIRTH.pack(os.getpid()))
    try:
        if Layer.NAMESPACES in layers:
            enter_own_processes()
    except OSError as error:
        control.send(FAILED + str(error).encode())
        os._exit(1)
    worker = os.fork()
    if worker == 0:
        signal.set_wakeup_fd(-1)
        _close_all_but(control.fileno(), output)
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        work(control, output, config=config, layers=layers, uid=uid)
    control.close()
    os.close(output)
    _watch(life, worker, news)
    status = _end(worker)
    with suppress(OSError):  # the kit may be gone
        life.send(DEATH.pack(status))
    os._exit(0)


def _news_of_children() -> int:
    """A descriptor that becomes readable when a child ends."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return reading


def _watch(life: socket.socket, worker: int, news: int) -> None:
    """Return when the worker has ended or the kit has left."""
    poll = select.poll()
    poll.register(life, select.POLLIN)
    poll.register(news, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if news in ready:
            os.read(news, 4096)
            if os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT | os.WNOHANG):
                return
        if life.fileno() in ready:
            try:
                if life.recv(MAX_REPLY_BYTES) != INTERRUPT:
                    return
                os.kill(worker, signal.SIGINT)
                life.send(INTERRUPT)
            except OSError:  # the kit left in haste
                return


def _end(worker: int) -> int:
    """Kill the worker and all that came of it; its wait status.

    The worker is not reaped before, so that its pid is its own. In a process namespace its death is everybody's;
    elsewhere orphans come to this process, and it goes on until it has no children.
    """
    with suppress(ProcessLookupError):
        os.killpg(worker, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    _, status = os.waitpid(worker, 0)
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return status
        for descendant in _descendants(os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(descendant, signal.SIGKILL)
        time.sleep(_PAUSE_S)


def _close_all_but(*kept: int) -> None:
    begin = 3
    for descriptor in sorted(kept):
        os.closerange(begin, descriptor)
        begin = descriptor + 1
    os.closerange(begin, 1 << 20)


def _descendants(ancestor: int) -> list[int]:
    """Every process below one, from /proc; a snapshot."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                # "pid (name) state ppid": the name may hold anything, brackets and blanks included
                parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = []
    rest = [ancestor]
    while rest:
        below = children.get(rest.pop(), [])
        found += below
        rest += below
    return found
