"""How much memory the sandboxes hold together, and which of them is to end when that is too much.

In: the pids of their init processes. Out: bytes, read from /proc; nothing is ended here. A limit of the kernel's binds
one process (`memory_bytes`); nothing binds their sum but a cgroup, which few containers let anyone make, so the pool
watches it. What a program takes between two looks is not bounded, but the kernel ends sandboxes before all else when
memory runs out (`inside.layers`). Files in a private /tmp are not counted: `scratch_bytes` bounds them.
Source: proc(5), /proc/pid/status and /proc/pid/task/tid/children (CONFIG_PROC_CHILDREN).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_PROC = Path("/proc")
_COUNTED = ("RssAnon:", "RssShmem:")


def can_be_watched(*, proc: Path = _PROC) -> bool:
    """Whether this kernel lists the children of a process."""
    return (proc / f"{os.getpid()}/task/{os.getpid()}/children").exists()


def default_total_bytes(memory_bytes: int) -> int:
    """Half of the machine's memory, and never less than one sandbox may have."""
    return max(memory_bytes, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)


def held_bytes(init: int, shared_bytes: int, *, proc: Path = _PROC) -> int:
    """What the processes below an init process hold. shared_bytes: of each, what it has from the forkserver."""
    return sum(max(0, own_bytes(pid, proc=proc) - shared_bytes) for pid in _below(init, proc))


def own_bytes(pid: int, *, proc: Path = _PROC) -> int:
    """Memory of a process that is no file's; 0 if it is gone."""
    try:
        lines = (proc / str(pid) / "status").read_text(errors="replace").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(_COUNTED))


def to_end(held: Mapping[int, int], total_bytes: int) -> int | None:
    """The init process whose sandbox holds most, if all of them hold more than `total_bytes`; the newer of equals."""
    if sum(held.values()) <= total_bytes:
        return None
    return max(held, key=lambda init: (held[init], init))


def _below(init: int, proc: Path) -> list[int]:
    """Every process below one; a snapshot."""
    found: list[int] = []
    rest = [init]
    while rest:
        below = _children(rest.pop(), proc)
        found += below
        rest += below
    return found


def _children(pid: int, proc: Path) -> list[int]:
    """Of each of its threads."""
    children: list[int] = []
    try:
        for task in (proc / str(pid) / "task").iterdir():
            children += map(int, (task / "children").read_text().split())
    except OSError:
        pass  # it ended meanwhile
    return children
