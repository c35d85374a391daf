"""What /proc says about the sandboxes of this test process."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

MARK = b"kit.sandbox.inside.forkserver"  # in the command line of a forkserver and of all that it forks
_SETTLED_S = 0.3


@dataclass(frozen=True, slots=True)
class Seen:
    """A process that is not a zombie."""

    pid: int
    parent: int
    uid: int
    command: bytes


def sandbox_processes() -> list[Seen]:
    """Init processes, workers and whatever these started, of this process's forkservers, running or gone."""
    everyone = _everyone()
    forkservers = {seen.pid for seen in everyone if seen.parent == os.getpid() and MARK in seen.command}
    below = set(forkservers)
    while True:
        more = {seen.pid for seen in everyone if seen.parent in below} - below
        if not more:
            break
        below |= more
    return [seen for seen in everyone if seen.pid in below - forkservers]


async def settled() -> list[Seen]:
    """The same, once they have stayed what they are for a moment."""
    seen, since_s = sandbox_processes(), trio.current_time()
    while trio.current_time() - since_s < _SETTLED_S:
        await trio.sleep(0.02)
        if (now := sandbox_processes()) != seen:
            seen, since_s = now, trio.current_time()
    return seen


def escaped() -> list[Seen]:
    """Processes of a sandbox user that nobody watches over."""
    return [seen for seen in _everyone() if seen.parent == 1 and 20_000 <= seen.uid < 60_000]


def _everyone() -> list[Seen]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
                if state != b"Z":
                    command = (entry / "cmdline").read_bytes()
                    found.append(Seen(int(entry.name), int(parent), entry.stat().st_uid, command))
    return found
