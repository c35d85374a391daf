"""The kernel calls that Python 3.11 has no function for, through the C library.

In: numbers and paths. Out: nothing, or OSError with the call's name. Source: the manual pages of each call.
"""

from __future__ import annotations

import ctypes
import os
import signal
from enum import IntEnum, IntFlag
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long
_MOUNT_SETATTR = 442  # the same number on every architecture
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_CAPABILITY_VERSION_3 = 0x20080522


class Namespace(IntFlag):
    """CLONE_NEW*, linux/sched.h."""

    MOUNT = 0x00020000
    UTS = 0x04000000
    IPC = 0x08000000
    USER = 0x10000000
    PID = 0x20000000
    NETWORK = 0x40000000


class Mount(IntFlag):
    """MS_*, linux/mount.h."""

    NONE = 0
    NOSUID = 2
    NODEV = 4
    BIND = 0x1000
    RECURSIVE = 0x4000
    PRIVATE = 0x40000


class Attribute(IntFlag):
    """MOUNT_ATTR_*, linux/mount.h."""

    READ_ONLY = 1
    NOSUID = 2
    NODEV = 4


class Control(IntEnum):
    """PR_*, linux/prctl.h."""

    SET_PDEATHSIG = 1
    SET_SECCOMP = 22
    SET_CHILD_SUBREAPER = 36
    SET_NO_NEW_PRIVS = 38


class HarmlessFcntl(IntEnum):
    """Commands of fcntl that change nothing but the caller's own descriptors. linux/fcntl.h.

    Not among them: F_SETOWN and F_SETSIG, with which SIGKILL on "readable" reaches any process of this user; locks and
    leases (F_SETLK, F_SETLEASE), which hold up whoever uses that file; F_SETPIPE_SZ, which eats a user's quota.
    """

    DUPFD = 0
    GETFD = 1
    SETFD = 2
    GETFL = 3
    SETFL = 4
    GETLK = 5
    DUPFD_CLOEXEC = 1030
    GETPIPE_SZ = 1032


class HarmlessIoctl(IntEnum):
    """Requests of ioctl that do the same: is it a terminal, how much waits, does it block. asm-generic/ioctls.h.

    Not among them: FIOSETOWN and its kind, which signal; TIOCSTI, which types at a terminal; those of devices.
    """

    TCGETS = 0x5401
    TIOCGWINSZ = 0x5413
    FIONREAD = 0x541B
    FIONBIO = 0x5421
    FIONCLEX = 0x5450
    FIOCLEX = 0x5451


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def checked(result: int, what: str) -> int:
    """The result of a call, or OSError naming it."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(number: int, *args: object, what: str) -> int:
    """A system call by number. Integers are passed as 64 bits. Raises: OSError."""
    wide = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    return checked(_LIBC.syscall(ctypes.c_long(number), *wide), what)


def prctl(option: Control, *args: object) -> None:
    """Raises: OSError."""
    wide = [ctypes.c_ulong(arg) if isinstance(arg, int) else arg for arg in args]
    missing = [ctypes.c_ulong(0)] * (4 - len(wide))
    checked(_LIBC.prctl(int(option), *wide, *missing), f"prctl {option.name}")


def unshare(namespaces: Namespace) -> None:
    """Raises: OSError."""
    checked(_LIBC.unshare(int(namespaces)), "unshare")


def mount(source: Path | str, target: Path, kind: str = "", flags: Mount = Mount.NONE, data: str = "") -> None:
    """Raises: OSError."""
    result = _LIBC.mount(
        os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(int(flags)), data.encode()
    )
    checked(result, f"mount {target}")


def restrict_mount(path: Path, attributes: Attribute) -> None:
    """Set attributes of a mount and of all below it (Linux 5.12). Raises: OSError."""
    attr = _MountAttr(attr_set=int(attributes))
    size = ctypes.sizeof(attr)
    arguments = (_AT_FDCWD, os.fsencode(path), _AT_RECURSIVE, ctypes.byref(attr), size)
    syscall(_MOUNT_SETATTR, *arguments, what=f"mount_setattr {path}")


def pivot_root(new_root: Path) -> None:
    """Make a mounted folder the root and let go of the old one. Raises: OSError."""
    os.chdir(new_root)
    # The old root is stacked onto the new one and taken off again: pivot_root(2), "pivot_root(".", ".")".
    checked(_LIBC.pivot_root(b".", b"."), "pivot_root")
    checked(_LIBC.umount2(b".", 2), "umount2")  # MNT_DETACH
    os.chdir("/")


def drop_capabilities() -> None:
    """Give up every capability of this process. Raises: OSError."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    checked(_LIBC.capset(header, data), "capset")


def let_go() -> None:
    """Make every function here fail from now on: the last act of a process before it runs what it does not trust.

    A C function that was once looked up is called without an audit event, by whoever finds it.
    """
    global _LIBC  # the one state of this module, and its end
    vars(_LIBC).clear()
    del _LIBC


def end_with_parent(number: signal.Signals) -> None:
    """Have the system send this signal to the calling process when its parent dies, even by SIGKILL.

    May run between fork and exec. Where there is no prctl nothing happens, and the child's pipe breaks instead.
    """
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(int(Control.SET_PDEATHSIG), number, 0, 0, 0)
