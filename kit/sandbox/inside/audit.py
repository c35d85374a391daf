"""The last resort where the kernel offers nothing better: Python itself refuses, by an audit hook.

In: which groups to refuse, and what may be read. Out: a hook that cannot be removed. It stops programs that
try the network or the host's files, not one that is out to break it. Source: PEP 578, docs "Audit events table".

What raises no event is dealt with beside the hook. Functions that reach files or processes unheard are replaced
wherever a module holds them, and no module of theirs can be made anew. Modules whose C code opens files unheard
(sqlite3, dbm, readline, ssl, tkinter …) cannot be imported, nor can native code beyond the standard library and the
packages that a mathematician's program uses. A folder cannot be opened, since the hook is not told of `dir_fd`.
"""

from __future__ import annotations

import _imp
import importlib
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NoReturn

from kit.linux import HarmlessFcntl, HarmlessIoctl


class Group(Enum):
    """Audit events that are refused together."""

    NETWORK = (
        "socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr",
        "socket.getnameinfo", "socket.sendto", "socket.sendmsg", "socket.sethostname", "socket.__new__",
        "syslog.openlog", "syslog.syslog",
    )  # fmt: skip
    PROCESSES = (
        "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.system", "os.kill", "os.killpg",
        "subprocess.Popen", "pty.spawn", "signal.pthread_kill", "ctypes.dlopen", "ctypes.dlsym",
        "resource.prlimit", "cpython.PyInterpreterState_New",
    )  # fmt: skip
    FILES = (
        "open", "os.listdir", "os.scandir", "os.getxattr", "os.listxattr", "os.remove", "os.rename", "os.rmdir",
        "os.mkdir", "os.link", "os.symlink", "os.truncate", "ctypes.dlopen", "ctypes.dlsym", "sqlite3.connect",
        "import", "cpython.PyInterpreterState_New",
    )  # fmt: skip
    ATTRIBUTES = ("os.chmod", "os.chown", "os.chflags", "os.utime", "os.setxattr", "os.removexattr")
    LOCKS = ("fcntl.fcntl", "fcntl.ioctl", "fcntl.flock", "fcntl.lockf", "os.lockf")


_UNHEARD: dict[Group, dict[str, tuple[str, ...]]] = {
    Group.PROCESSES: {
        "_posixsubprocess": ("fork_exec",),
        "posix": (
            "setpriority", "sched_setaffinity", "sched_setparam", "sched_setscheduler", "setpgid", "tcsetpgrp",
            "pidfd_open", "memfd_create", "setns", "unshare",
        ),
        "signal": ("pidfd_send_signal",),
        "_signal": ("pidfd_send_signal",),
    },
    Group.FILES: {
        "posix": ("mkfifo", "mknod", "chroot", "sync", "memfd_create"),
        "_multiprocessing": ("SemLock", "sem_unlink"),
        "_ctypes": ("CFuncPtr", "call_function", "call_cdeclfunction", "PyObj_FromPtr"),
        "ctypes": ("CFUNCTYPE", "PYFUNCTYPE", "string_at", "wstring_at", "memmove", "memset"),
    },
}  # fmt: skip
"""Functions that raise no event."""

_CLOSED_MODULES = frozenset(
    "_sqlite3 _dbm _gdbm readline _curses _curses_panel _tkinter _ssl spwd nis syslog ossaudiodev _posixshmem"
    " _xxsubinterpreters _interpreters _testcapi _testinternalcapi _testlimitedcapi _ctypes_test".split()
)
"""Modules that open files, or another interpreter, unheard."""
_NATIVE_PACKAGES = frozenset(
    "numpy scipy sympy networkx mpmath gmpy2 flint pandas sklearn matplotlib PIL contourpy kiwisolver".split()
)
_LIBRARIES = os.path.realpath(Path(os.__file__).with_name("lib-dynload"))
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_READING_EVENTS = ("open", "os.listdir", "os.scandir", "os.getxattr", "os.listxattr")
_HARMLESS = {"fcntl.fcntl": frozenset(HarmlessFcntl), "fcntl.ioctl": frozenset(HarmlessIoctl)}


def refuse(groups: Iterable[Group], readable: Iterable[Path]) -> None:
    """Refuse these events from now on.

    FILES lets readable paths be opened for reading, and /dev/null; PROCESSES lets calls through that reach no other.
    """
    wanted = frozenset(groups)
    events = frozenset(event for group in wanted for event in group.value)
    roots = tuple(os.path.realpath(path) for path in readable)
    # Whose functions are replaced, nobody gets a second time.
    closed = _CLOSED_MODULES | {module for group in wanted for module in _UNHEARD.get(group, ())}

    def may(event: str, args: tuple[Any, ...]) -> bool:
        if event in _READING_EVENTS:
            return may_read(event, args)
        if event == "resource.prlimit":
            return bool(args[0] in (0, os.getpid()))
        if event == "socket.sendmsg":
            return bool(args[1] is None)
        return event in _HARMLESS and args[1] in _HARMLESS[event]

    def may_read(event: str, args: tuple[Any, ...]) -> bool:
        path = args[0]
        if isinstance(path, int):  # an open file is already granted
            return True
        if event == "open" and isinstance(args[2], int) and args[2] & _WRITING:
            return bool(path == os.devnull)
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        real = os.path.realpath(os.fsdecode(path))
        if event == "open" and Path(real).is_dir():  # from which others could be opened by `dir_fd`
            return False
        return any(real == root or real.startswith(root + "/") for root in roots)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in events:
            return
        if event == "import":
            if not _may_import(args[0], args[1], closed):
                raise ImportError(f"not permitted in this sandbox: {args[0]}")
        elif not may(event, args):
            raise PermissionError(f"not permitted in this sandbox: {event}")

    if wanted:
        _withhold(wanted)
        _guard_import_functions(closed)
        sys.addaudithook(hook)


def _may_import(name: str, file: str | None, closed: frozenset[str]) -> bool:
    """Python's own modules but those that are closed, and native code of known packages. file: of native code only."""
    if name in closed:
        return False
    if file is None:
        return True
    folder, base = os.path.split(os.path.realpath(file))
    if folder == _LIBRARIES:
        return base.partition(".")[0] not in closed
    _, _, below = f"{folder}/{base}".replace("/dist-packages/", "/site-packages/").partition("/site-packages/")
    return below.partition("/")[0].partition(".")[0] in _NATIVE_PACKAGES


def _withhold(groups: Iterable[Group]) -> None:
    """Put a refusal in the place of every function that raises no event, wherever a module holds it."""
    refusals: dict[int, Callable[..., NoReturn]] = {}
    for group in groups:
        for module, names in _UNHEARD.get(group, {}).items():
            with suppress(ImportError):
                there = vars(importlib.import_module(module))
                refusals |= {id(there[name]): _refusal(f"{module}.{name}") for name in names if name in there}
    for loaded in tuple(sys.modules.values()):
        for name, value in tuple(vars(loaded).items() if loaded is not None else ()):
            if id(value) in refusals:
                setattr(loaded, name, refusals[id(value)])
    for holder in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks, os.supports_effective_ids):
        holder.difference_update({function for function in holder if id(function) in refusals})


def _guard_import_functions(closed: frozenset[str]) -> None:
    """Make no second module of a closed one, nor fill the first anew: what importlib itself calls raises no event."""
    there = {id(sys.modules[name]) for name in closed if name in sys.modules}

    def makes(made: Callable[..., object]) -> Callable[..., object]:
        def make(spec: ModuleSpec, *args: object) -> object:
            # exactly of these types, so that the name stays what it is here
            if type(spec) is not ModuleSpec or type(spec.name) is not str or spec.name in closed:
                raise ImportError(f"not permitted in this sandbox: {spec.name}")
            return made(spec, *args)

        return make

    def fills(filled: Callable[..., object]) -> Callable[..., object]:
        def fill(module: object) -> object:
            if id(module) in there:
                raise ImportError(f"not permitted in this sandbox: {module}")
            return filled(module)

        return fill

    for verb, guard in (("create", makes), ("exec", fills)):
        for kind in ("builtin", "dynamic"):
            name = f"{verb}_{kind}"
            setattr(_imp, name, guard(getattr(_imp, name)))


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refused(*args: object, **kwargs: object) -> NoReturn:
        raise PermissionError(f"not permitted in this sandbox: {name}")

    return refused
