"""The filter by itself, with no other layer that would refuse the same: what it says to each call."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ASK = """
import ctypes, errno, json, os, sys
from kit.sandbox.inside import seccomp
from kit.linux import Control, prctl
libc = ctypes.CDLL(None, use_errno=True)
reading, writing = os.pipe()
file = os.open(os.__file__, os.O_RDONLY)
own = os.getpid()
prctl(Control.SET_NO_NEW_PRIVS, 1)
seccomp.install(seccomp.Refusals(new_processes=True, others_signals=True, file_attributes=True))
result = libc.syscall(*eval(sys.argv[1], {"own": own, "other": int(sys.argv[2]), "fd": reading, "file": file}))
print(json.dumps(errno.errorcode[ctypes.get_errno()] if result == -1 else "OK"))
"""
REFUSED = {
    "tgkill": "234, other, other, 0",
    "tkill": "200, other, 0",
    "kill": "62, other, 0",
    "kill a group": "62, -other, 0",
    "kill everybody": "62, -1, 0",
    "F_SETOWN": "72, fd, 8, other",
    "F_SETSIG": "72, fd, 10, 9",
    "F_SETOWN_EX": "72, fd, 15, (1).to_bytes(4, 'little') + other.to_bytes(4, 'little')",
    "FIOSETOWN": "16, fd, 0x8901, other.to_bytes(4, 'little')",
    "SIOCSPGRP": "16, fd, 0x8902, other.to_bytes(4, 'little')",
    "TIOCSTI": "16, fd, 0x5412, b'x'",
    "datagram pair": "53, 1, 2, 0, bytes(8)",
    "raw pair": "53, 1, 3, 0, bytes(8)",
    "datagram pair that does not block": "53, 1, 2 | 0x800, 0, bytes(8)",
    "TIPC pair": "53, 30, 1, 0, bytes(8)",
    "rt_sigqueueinfo": "129, other, 0, bytes(128)",
    "rt_tgsigqueueinfo": "297, other, other, 0, bytes(128)",
    "pidfd_open": "434, other, 0",
    "a quota of the machine": "206, 8, bytes(8)",
    "flock": "73, file, 6",
    "a lock on a file": "72, file, 6, bytes([0] * 32)",
    "a lock on a file that waits": "72, file, 7, bytes([0] * 32)",
    "a lock of the open file": "72, file, 37, bytes([0] * 32)",
    "a lease": "72, file, 1024, 0",
    "news of a folder": "72, file, 1026, 1",
    "a greater pipe": "72, fd, 1031, 1 << 20",
    "news of files": "253, 0",
    "every disk of the machine written": "162, 0",
    "pages of others dropped": "221, file, 0, 0, 4",
    "a pipe with a name": "133, b'/tmp/x', 0o10600, 0",
    "a file in memory": "319, b'x', 0",
    "a timer": "222, 1, None, bytes(8)",
    "another filter": "317, 0, 0, None",
    "a disk's label": "16, file, 0x80086601, bytes(8)",
    "NUMA of all memory": "238, 0, None, 0",
    "pidfd_send_signal": "424, 0, 0, None, 0",
    "ptrace": "101, 16, other, 0, 0",
    "process_vm_writev": "311, other, None, 0, None, 0, 0",
    "kcmp": "312, own, own, 0, 0, 0",
    "prlimit of another": "302, other, 7, None, None",
    "setpriority": "141, 0, other, 0",
    "sched_setaffinity": "203, other, 8, bytes([255]) * 8",
    "msgctl": "71, 0, 0, None",
    "semctl": "66, 0, 0, 0",
    "mq_unlink": "241, b'x'",
    "io_uring": "425, 1, bytes(120)",
    "personality": "135, 0xffffffff",
    "userfaultfd": "323, 1",
    "perf_event_open": "298, None, 0, -1, -1, 0",
    "bpf": "321, 0, None, 0",
    "keyctl": "250, 0, -3, 0",
    "open_by_handle_at": "304, -100, None, 0",
}
ALLOWED = {
    "tgkill of itself": "234, own, own, 0",
    "kill of itself": "62, own, 0",
    "prlimit of itself": "302, 0, 7, None, None",
    "F_GETFL": "72, fd, 3",
    "FIONREAD": "16, fd, 0x541B, bytes(4)",
    "stream pair": "53, 1, 1 | 0x80000, 0, bytes(8)",
    "attributes read": "194, b'/usr', None, 0",
    "packet pair": "53, 1, 5, 0, bytes(8)",
    "die with the parent": "157, 1, 9, 0, 0, 0",
}


@pytest.fixture(scope="module")
def other() -> Iterator[int]:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield process.pid
        process.kill()


def answer(repo: Path, call: str, other: int) -> str:
    """OK or the name of the error."""
    run = subprocess.run([sys.executable, "-c", ASK, f"({call})", str(other)], capture_output=True, cwd=repo, text=True)
    assert run.returncode == 0, run.stderr
    return str(json.loads(run.stdout))


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_refuses_what_reaches_others(repo: Path, other: int, call: str) -> None:
    assert answer(repo, call, other) == "EPERM"


@pytest.mark.parametrize("call", ALLOWED.values(), ids=ALLOWED)
def test_lets_through_what_does_not(repo: Path, other: int, call: str) -> None:
    assert answer(repo, call, other) == "OK"


def test_a_call_that_no_kernel_had_when_the_list_was_made_does_not_exist(repo: Path, other: int) -> None:
    """Libraries try new calls and fall back where there are none; where they are refused, some give up."""
    assert answer(repo, "471, 0", other) == "ENOSYS"


def test_asking_whether_a_pipe_is_a_terminal_is_answered_by_the_kernel(repo: Path, other: int) -> None:
    assert answer(repo, "16, fd, 0x5401, bytes(64)", other) == "ENOTTY"
