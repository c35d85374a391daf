"""A seccomp filter: system calls that a mathematician's program does not need are refused with "not permitted".

In: which groups to refuse. Out: a BPF program, and its installation. x86-64 only (Kaggle's machines); the
caller treats OSError as "not available". It reads numbers and plain arguments, never what pointers point to.
Source: seccomp(2), linux/filter.h, linux/seccomp.h; numbers from asm/unistd_64.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from kit.linux import Control, FcntlSignal, IoctlSignal, prctl

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
# socketpair stays, for asyncio, where it is bound to its other end: a datagram socket sends to any path it can name.
_AF_UNIX, _SOCKET_TYPE, _SOCK_STREAM, _SOCK_SEQPACKET = 1, 0xF, 1, 5
# io_uring would open sockets past the filter.
_NETWORK = {
    "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "accept4": 288,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
}  # fmt: skip
_OTHER_PROCESSES = {
    "ptrace": 101, "rt_sigqueueinfo": 129, "sched_setparam": 142, "setpriority": 141, "sched_setscheduler": 144,
    "tkill": 200, "sched_setaffinity": 203, "ioprio_set": 251, "migrate_pages": 256, "move_pages": 279,
    "rt_tgsigqueueinfo": 297, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "sched_setattr": 314,
    "pidfd_send_signal": 424, "pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440, "process_mrelease": 448,
}  # fmt: skip
# Memory that neither the address space nor the scratch folder counts, and what others keep there.
_UNCOUNTED_MEMORY = {
    "shmget": 29, "shmat": 30, "shmctl": 31, "semget": 64, "semop": 65, "semctl": 66, "msgget": 68, "msgsnd": 69,
    "msgrcv": 70, "msgctl": 71, "semtimedop": 220, "mq_open": 240, "mq_unlink": 241, "mq_notify": 244,
    "memfd_create": 319, "memfd_secret": 447,
}  # fmt: skip
_KERNEL = {
    "syslog": 103, "personality": 135, "pivot_root": 155, "adjtimex": 159, "chroot": 161, "acct": 163,
    "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169,
    "sethostname": 170, "setdomainname": 171, "init_module": 175, "delete_module": 176, "quotactl": 179,
    "clock_settime": 227, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272,
    "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304,
    "clock_adjtime": 305, "setns": 308, "finit_module": 313, "kexec_file_load": 320, "bpf": 321,
    "userfaultfd": 323, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "fspick": 433, "mount_setattr": 442, "open_tree_attr": 467,
}  # fmt: skip
_NEW_PROCESSES = {"fork": 57, "vfork": 58, "execve": 59, "execveat": 322}
# What Landlock leaves open.
_FILE_ATTRIBUTES = {
    "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "utime": 132, "setxattr": 188,
    "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "utimes": 235,
    "fchownat": 260, "futimesat": 261, "fchmodat": 268, "utimensat": 280, "fchmodat2": 452, "setxattrat": 463,
    "removexattrat": 466, "file_setattr": 469,
}  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """What is refused beyond the network and the kernel's inner parts.

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
    refused = [_NETWORK, _OTHER_PROCESSES, _UNCOUNTED_MEMORY, _KERNEL]
    if refusals.new_processes:
        refused.append(_NEW_PROCESSES)
    if refusals.file_attributes:
        refused.append(_FILE_ATTRIBUTES)
    lines = [
        _instruction(_LOAD, _ARCHITECTURE_AT),
        *_unless(_EQUALS, _ARCHITECTURE, [_instruction(_RETURN, _KILL)]),
        _instruction(_LOAD, _NUMBER_AT),
        *_when(_AT_LEAST, _FIRST_X32_CALL, [_instruction(_RETURN, _REFUSE)]),
        *_when(_EQUALS, _CLONE3, [_instruction(_RETURN, _NO_SUCH_CALL)]),  # glibc then calls clone
        *_when(_EQUALS, _CLONE, _on_clone(refusals.new_processes)),
        *_when(_EQUALS, _PRLIMIT, _only(_FIRST_ARGUMENT_AT, (0, own_pid))),
        *_when(_EQUALS, _FCNTL, _none_of(_SECOND_ARGUMENT_AT, FcntlSignal)),
        *_when(_EQUALS, _IOCTL, _none_of(_SECOND_ARGUMENT_AT, IoctlSignal)),
        *_when(_EQUALS, _SOCKETPAIR, _on_socketpair()),
    ]
    if refusals.others_signals:
        lines += _when(_EQUALS, _KILL_CALL, _only(_FIRST_ARGUMENT_AT, (0, own_pid)))
        lines += _when(_EQUALS, _TGKILL, _only(_FIRST_ARGUMENT_AT, (own_pid,)))
    for group in refused:
        for number in group.values():
            lines += _when(_EQUALS, number, [_instruction(_RETURN, _REFUSE)])
    return [*lines, _instruction(_RETURN, _ALLOW)]


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


def _none_of(argument_at: int, refused: Iterable[int]) -> list[bytes]:
    """An argument must be none of these."""
    lines = [_instruction(_LOAD, argument_at)]
    for value in refused:
        lines += _when(_EQUALS, value, [_instruction(_RETURN, _REFUSE)])
    return [*lines, _instruction(_RETURN, _ALLOW)]


def _when(test: int, value: int, body: list[bytes]) -> list[bytes]:
    return [_instruction(test, value, if_false=len(body)), *body]


def _unless(test: int, value: int, body: list[bytes]) -> list[bytes]:
    return [_instruction(test, value, if_true=len(body)), *body]


def _instruction(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    """struct sock_filter: the jumps count instructions to pass over."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
