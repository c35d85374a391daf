"""The parent of a server: runs one command, of which nothing outlives the kit.

    python -I reaper.py GRACE_S COMMAND...

A program of its own: it needs Linux and the standard library and imports nothing of the kit. When its standard input
ends, because the kit stops the server or was killed, the server gets SIGTERM, GRACE_S seconds, and SIGKILL; a `k` skips
the grace. All descendants die too: the reaper adopts orphans of any process group (PR_SET_CHILD_SUBREAPER).
Exit status: the server's own, 128 plus the signal's number if a signal ended it.

PR_SET_PDEATHSIG alone would not do: it fires when the *thread* ends that started the process (man 2 prctl), and trio's
threads come and go. The reaper has one thread.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_TICK_S = 0.5


def main(argv: list[str]) -> int:
    """Run the command; see the module."""
    grace_s, command = float(argv[1]), argv[2:]
    parent = os.getppid()
    wakeup = _wake_on(signal.SIGCHLD, signal.SIGTERM)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    server = _start(command)
    kill_at: float | None = None
    line = [sys.stdin.fileno()]
    while True:
        readable, _, _ = select.select([wakeup, *line], [], [], _TICK_S)
        is_told = _drain_signals(wakeup) if wakeup in readable else False
        word = os.read(line[0], 1) if line and line[0] in readable else None
        status = _reap(server)
        if status is not None:
            break
        # the parent is compared too, since another process may keep the line open after its death
        if word is not None or is_told or os.getppid() != parent:
            line = []
            if kill_at is None:
                kill_at = time.monotonic() + grace_s
                os.kill(server, signal.SIGTERM)
        if kill_at is not None and (word == b"k" or time.monotonic() >= kill_at):
            os.kill(server, signal.SIGKILL)
    _end_descendants()
    return status


def _start(command: list[str]) -> int:
    """The server, in the reaper's process group, without standard input."""
    reaper = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != reaper:  # it died before the call above
            os._exit(1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execve(command[0], command, os.environ)
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(127)


def _wake_on(*numbers: signal.Signals) -> int:
    """A descriptor that becomes readable with any of these signals."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda _number, _frame: None)
    return reader


def _drain_signals(wakeup: int) -> bool:
    """Whether SIGTERM was among the signals that came."""
    with suppress(BlockingIOError):
        return signal.SIGTERM in os.read(wakeup, 1024)
    return False


def _reap(server: int) -> int | None:
    """Reap what died; the server's exit status once it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not pid:
            return found
        if pid == server:
            code = os.waitstatus_to_exitcode(status)
            found = code if code >= 0 else 128 - code


def _end_descendants() -> None:
    """Kill what is left, again and again, since a process may fork meanwhile."""
    while pids := _descendants(os.getpid()):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            # the command's name, in brackets, may hold anything: count from the last bracket
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = list(children.get(root, ()))
    for pid in found:  # grows as it is walked through
        found += children.get(pid, ())
    return found


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
