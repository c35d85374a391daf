"""The last resort where the kernel offers nothing better: Python itself refuses, by an audit hook.

In: which groups to refuse, and what may be read. Out: a hook that cannot be removed. It stops programs that
try the network or the host's files, not one that is out to break it. Source: PEP 578, docs "Audit events table".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from kit.linux import FcntlSignal, IoctlSignal


class Group(Enum):
    """Audit events that are refused together."""

    NETWORK = ("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.__new__")
    PROCESSES = (
        "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.system", "os.kill", "os.killpg",
        "subprocess.Popen", "pty.spawn", "signal.pthread_kill", "ctypes.dlopen", "ctypes.dlsym", "fcntl.fcntl",
        "fcntl.ioctl", "resource.prlimit",
    )  # fmt: skip
    FILES = (
        "open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink",
        "os.truncate", "ctypes.dlopen", "ctypes.dlsym",
    )  # fmt: skip
    ATTRIBUTES = ("os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr")


_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_READING_EVENTS = ("open", "os.listdir", "os.scandir")
_SIGNALLING = {"fcntl.fcntl": frozenset(FcntlSignal), "fcntl.ioctl": frozenset(IoctlSignal)}


def refuse(groups: Iterable[Group], readable: Iterable[Path]) -> None:
    """Refuse these events from now on.

    FILES lets readable paths be opened for reading, and /dev/null; PROCESSES lets calls through that reach no other.
    """
    wanted = frozenset(groups)
    events = frozenset(event for group in wanted for event in group.value)
    roots = tuple(os.path.realpath(path) for path in readable)

    def may(event: str, args: tuple[object, ...]) -> bool:
        if event in _READING_EVENTS:
            return may_read(event, args)
        if event == "resource.prlimit":
            return args[0] in (0, os.getpid())
        signalling = _SIGNALLING.get(event)
        return signalling is not None and args[1] not in signalling

    def may_read(event: str, args: tuple[object, ...]) -> bool:
        path = args[0]
        if isinstance(path, int):  # an open file is already granted
            return True
        if event == "open" and isinstance(args[2], int) and args[2] & _WRITING:
            return path == os.devnull
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        real = os.path.realpath(os.fsdecode(path))
        return any(real == root or real.startswith(root + "/") for root in roots)

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event not in events or may(event, args):
            return
        raise PermissionError(f"not permitted in this sandbox: {event}")

    if wanted:
        sys.addaudithook(hook)
