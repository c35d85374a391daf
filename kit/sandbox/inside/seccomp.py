"""A seccomp filter: the system calls that a mathematician's program needs, and no others.

In: which groups to refuse. Out: a BPF program, and its installation. x86-64 only (Kaggle's machines); the
caller treats OSError as "not available". It reads numbers and plain arguments, never what pointers point to.

It lists what is allowed, not what is refused: a list of refusals was found to lack io_setup (a quota of the whole
machine), flock and leases (on any file that can be read), and each new kernel adds to what it lacks. The list was
made from what CPython and glibc call, and tried with numpy, sympy, networkx, threads, asyncio, multiprocessing and
subprocesses under it (tests/sandbox/test_filter.py and test_hostile.py). Not on it, of what a program might miss:
locks on files (sqlite3 and dbm on disk; in memory they work), pipes with a name, file monitors, shared memory.
What is refused fails with "not permitted"; what no kernel had yet when the list was made does not exist.
Source: seccomp(2), linux/filter.h, linux/seccomp.h; numbers from asm/unistd_64.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kit.linux import Control, HarmlessFcntl, HarmlessIoctl, prctl

_ARCHITECTURE = 0xC000003E  # AUDIT_ARCH_X86_64
_FIRST_X32_CALL = 0x40000000  # the x32 ABI would reach the same calls by other numbers
_MODE_FILTER = 2
_LOAD, _EQUALS, _AT_LEAST, _ANY_BIT, _RETURN, _AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE, _NO_SUCH_CALL = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
# Offsets in struct seccomp_data; of the arguments the lower halves, since the kernel reads no more of these.
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT, _SECOND_ARGUMENT_AT = 0, 4, 16, 24
_CLONE_THREAD, _CLONE_NEW = 0x00010000, 0x7E020000  # all of CLONE_NEW* that clone itself knows

_IOCTL, _SOCKETPAIR, _CLONE, _KILL_CALL, _FCNTL, _TGKILL, _PRLIMIT, _CLONE3 = 16, 53, 56, 62, 72, 234, 302, 435
_LAST_KNOWN_CALL = 470  # of Linux 6.18; newer ones do not exist for the program, so that libraries fall back
# socketpair stays, for asyncio, where it is bound to its other end: a datagram socket sends to any path it can name.
_AF_UNIX, _SOCKET_TYPE, _SOCK_STREAM, _SOCK_SEQPACKET = 1, 0xF, 1, 5

_MEMORY = {
    "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "mremap": 25, "msync": 26, "madvise": 28,
    "get_mempolicy": 239, "mseal": 462,
}  # fmt: skip
_OPEN_FILES = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "pread64": 17, "pwrite64": 18, "readv": 19,
    "writev": 20, "pipe": 22, "select": 23, "dup": 32, "dup2": 33, "sendfile": 40, "fsync": 74, "fdatasync": 75,
    "ftruncate": 77, "getdents": 78, "fchdir": 81, "getdents64": 217, "epoll_create": 213, "epoll_wait": 232,
    "epoll_ctl": 233, "pselect6": 270, "ppoll": 271, "epoll_pwait": 281, "signalfd": 282, "timerfd_create": 283,
    "eventfd": 284, "fallocate": 285, "timerfd_settime": 286, "timerfd_gettime": 287, "signalfd4": 289,
    "eventfd2": 290, "epoll_create1": 291, "dup3": 292, "pipe2": 293, "preadv": 295, "pwritev": 296,
    "copy_file_range": 326, "preadv2": 327, "pwritev2": 328, "close_range": 436, "epoll_pwait2": 441,
}  # fmt: skip
# Which of them may be named, mounts and Landlock say.
_NAMED_FILES = {
    "open": 2, "stat": 4, "lstat": 6, "access": 21, "truncate": 76, "getcwd": 79, "chdir": 80, "rename": 82,
    "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "readlink": 89, "umask": 95,
    "statfs": 137, "fstatfs": 138, "getxattr": 191, "lgetxattr": 192, "fgetxattr": 193, "listxattr": 194,
    "llistxattr": 195, "flistxattr": 196, "openat": 257, "mkdirat": 258, "newfstatat": 262, "unlinkat": 263,
    "renameat": 264, "linkat": 265, "symlinkat": 266, "readlinkat": 267, "faccessat": 269, "renameat2": 316,
    "statx": 332, "openat2": 437, "faccessat2": 439,
}  # fmt: skip
# Of a pair of sockets, since there are no others.
_PAIRS = {
    "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "shutdown": 48, "getsockname": 51, "getpeername": 52,
    "setsockopt": 54, "getsockopt": 55, "recvmmsg": 299, "sendmmsg": 307,
}  # fmt: skip
_OWN_PROCESS = {
    "sched_yield": 24, "pause": 34, "getpid": 39, "exit": 60, "wait4": 61, "uname": 63, "getrlimit": 97,
    "getrusage": 98, "sysinfo": 99, "times": 100, "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108,
    "setpgid": 109, "getppid": 110, "getpgrp": 111, "setsid": 112, "getgroups": 115, "getresuid": 118,
    "getresgid": 120, "getpgid": 121, "getsid": 124, "capget": 125, "getpriority": 140, "sched_getparam": 143,
    "sched_getscheduler": 145, "sched_get_priority_max": 146, "sched_get_priority_min": 147,
    "sched_rr_get_interval": 148, "prctl": 157, "arch_prctl": 158, "setrlimit": 160, "gettid": 186, "futex": 202,
    "sched_getaffinity": 204, "set_tid_address": 218, "restart_syscall": 219, "exit_group": 231, "waitid": 247,
    "set_robust_list": 273, "getcpu": 309, "sched_getattr": 315, "getrandom": 318, "membarrier": 324, "rseq": 334,
    "futex_waitv": 449, "futex_wake": 454, "futex_wait": 455, "futex_requeue": 456,
}  # fmt: skip
_SIGNALS_AND_CLOCKS = {
    "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "nanosleep": 35, "getitimer": 36, "alarm": 37,
    "setitimer": 38, "gettimeofday": 96, "rt_sigpending": 127, "rt_sigtimedwait": 128, "rt_sigsuspend": 130,
    "sigaltstack": 131, "time": 201, "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230,
}  # fmt: skip
_NEW_PROCESSES = {"fork": 57, "vfork": 58, "execve": 59, "execveat": 322}
_SIGNALLING = {"kill": _KILL_CALL, "tgkill": _TGKILL}
# What Landlock leaves open.
_FILE_ATTRIBUTES = {
    "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "utime": 132, "setxattr": 188,
    "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "utimes": 235,
    "fchownat": 260, "futimesat": 261, "fchmodat": 268, "utimensat": 280, "fchmodat2": 452,
}  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """What is refused beyond all that is on no list.

    new_processes: fork and exec. others_signals: kill and tgkill of anything but oneself; the ways that no honest
    program takes are refused in any case. file_attributes: chmod and its kind, for where files are the kit's own
    user's.
    """

    new_processes: bool
    others_signals: bool
    file_attributes: bool


def install(refusals: Refusals) -> None:
    """Filter this process and all it starts, for good; PR_SET_NO_NEW_PRIVS must be set. Raises: OSError."""
    if platform.machine() != "x86_64":
        raise OSError(errno.ENOSYS, f"seccomp: no filter for {platform.machine()}")
    instructions = _program(refusals, os.getpid())
    program = _Program(len(instructions), b"".join(instructions))
    prctl(Control.SET_SECCOMP, _MODE_FILTER, ctypes.byref(program))


def _program(refusals: Refusals, own_pid: int) -> list[bytes]:
    lines = [
        _instruction(_LOAD, _ARCHITECTURE_AT),
        *_unless(_EQUALS, _ARCHITECTURE, [_instruction(_RETURN, _KILL)]),
        _instruction(_LOAD, _NUMBER_AT),
        *_when(_AT_LEAST, _FIRST_X32_CALL, [_instruction(_RETURN, _REFUSE)]),
        *_when(_AT_LEAST, _LAST_KNOWN_CALL + 1, [_instruction(_RETURN, _NO_SUCH_CALL)]),
        *_when(_EQUALS, _CLONE3, [_instruction(_RETURN, _NO_SUCH_CALL)]),  # glibc then calls clone
        *_when(_EQUALS, _CLONE, _on_clone(refusals.new_processes)),
        *_when(_EQUALS, _PRLIMIT, _only(_FIRST_ARGUMENT_AT, (0, own_pid))),
        *_when(_EQUALS, _FCNTL, _only(_SECOND_ARGUMENT_AT, HarmlessFcntl)),
        *_when(_EQUALS, _IOCTL, _only(_SECOND_ARGUMENT_AT, HarmlessIoctl)),
        *_when(_EQUALS, _SOCKETPAIR, _on_socketpair()),
    ]
    if refusals.others_signals:
        lines += _when(_EQUALS, _KILL_CALL, _only(_FIRST_ARGUMENT_AT, (0, own_pid)))
        lines += _when(_EQUALS, _TGKILL, _only(_FIRST_ARGUMENT_AT, (own_pid,)))
    for number in _allowed(refusals):
        lines += _when(_EQUALS, number, [_instruction(_RETURN, _ALLOW)])
    return [*lines, _instruction(_RETURN, _REFUSE)]


def _allowed(refusals: Refusals) -> Iterator[int]:
    """The numbers of the calls that are allowed whatever their arguments are."""
    for group in (_MEMORY, _OPEN_FILES, _NAMED_FILES, _PAIRS, _OWN_PROCESS, _SIGNALS_AND_CLOCKS, _SIGNALLING):
        yield from group.values()
    if not refusals.new_processes:
        yield from _NEW_PROCESSES.values()
    if not refusals.file_attributes:
        yield from _FILE_ATTRIBUTES.values()


def _on_clone(refuses_processes: bool) -> list[bytes]:
    """Clone's flags decide: no new namespaces; where processes are refused, threads only."""
    lines = [
        _instruction(_LOAD, _FIRST_ARGUMENT_AT),
        *_when(_ANY_BIT, _CLONE_NEW, [_instruction(_RETURN, _REFUSE)]),
    ]
    if refuses_processes:
        lines += _unless(_ANY_BIT, _CLONE_THREAD, [_instruction(_RETURN, _REFUSE)])
    return [*lines, _instruction(_RETURN, _ALLOW)]


def _on_socketpair() -> list[bytes]:
    """Of the one family that never leaves the machine, and of the types that reach none but their other end."""
    return [
        _instruction(_LOAD, _FIRST_ARGUMENT_AT),
        *_unless(_EQUALS, _AF_UNIX, [_instruction(_RETURN, _REFUSE)]),
        *_only(_SECOND_ARGUMENT_AT, (_SOCK_STREAM, _SOCK_SEQPACKET), mask=_SOCKET_TYPE),
    ]


def _only(argument_at: int, allowed: Iterable[int], *, mask: int = 0xFFFFFFFF) -> list[bytes]:
    """Those bits of an argument must be one of these."""
    lines = [_instruction(_LOAD, argument_at), _instruction(_AND, mask)]
    for value in allowed:
        lines += _when(_EQUALS, value, [_instruction(_RETURN, _ALLOW)])
    return [*lines, _instruction(_RETURN, _REFUSE)]


def _when(test: int, value: int, body: list[bytes]) -> list[bytes]:
    return [_instruction(test, value, if_false=len(body)), *body]


def _unless(test: int, value: int, body: list[bytes]) -> list[bytes]:
    return [_instruction(test, value, if_true=len(body)), *body]


def _instruction(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    """struct sock_filter: the jumps count instructions to pass over."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
