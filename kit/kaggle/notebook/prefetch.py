"""Reading files into the page cache before the loader wants them: many large reads at once.

In: files in the order in which they will be read. Out: how much was read, and why it ended. Kaggle's mounts are
slow for one reader and fast for many: public notebooks read 65 GB in 62-189 s with 16 threads
(docs/peers.md#common-ancestor). All threads work on the same few hundred MiB at the front, so a loader that started at
the same moment finds its first file first, and never waits for one it wants later. Nothing is kept, and no error of a
file is raised: the loader will tell it better.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import trio

from kit.errors import check_fields

log = logging.getLogger(__name__)

MiB, GiB = 1 << 20, 1 << 30
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefetchConfig:
    """How weights are read ahead.

    num_threads: 0 reads nothing ahead. read_bytes: of one read. spare_bytes: of memory left alone.
    Raises: InputError for a value outside its range.
    """

    num_threads: int = 16  # as the public notebooks (docs/peers.md#common-ancestor)
    read_bytes: int = 16 * MiB
    spare_bytes: int = 4 * GiB

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("num_threads", 0 <= self.num_threads <= 64, "from 0 to 64"),
                ("read_bytes", MiB <= self.read_bytes <= GiB, "from 1 MiB to 1 GiB"),
                ("spare_bytes", self.spare_bytes >= 0, ">= 0"),
            ),
        )


class Ended(StrEnum):
    """Why reading ahead ended."""

    WHOLE = "everything was read"
    NO_ROOM = "memory is short"
    STOPPED = "it was stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefetched:
    """What came into the page cache."""

    num_bytes: int
    seconds: float
    ended: Ended

    def __str__(self) -> str:
        rate = self.num_bytes / MiB / max(self.seconds, 1e-9)
        return f"{self.num_bytes / MiB:,.0f} MiB at {rate:,.0f} MiB/s, {self.ended}"


def prefetch(
    files: Sequence[Path],
    config: PrefetchConfig,
    *,
    is_stopped: Callable[[], bool] = lambda: False,
    available_bytes: Callable[[], int] | None = None,
) -> Prefetched:
    """Read `files` until all is read, `is_stopped` says so, or memory gets short; blocks.

    available_bytes: of memory, as the system counts it: pages of files are among it, also those read here.
    """
    begun_s = time.monotonic()
    parts = list(_parts(files, config.read_bytes))
    reading = _Reading(parts, config, is_stopped, available_bytes or memory_available_bytes)
    threads = [
        threading.Thread(target=reading.run, name="prefetch") for _ in range(min(config.num_threads, len(parts)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Prefetched(num_bytes=reading.num_bytes, seconds=time.monotonic() - begun_s, ended=reading.ended)


async def read_ahead(
    files: Sequence[Path], config: PrefetchConfig, *, available_bytes: Callable[[], int] | None = None
) -> Prefetched:
    """As `prefetch`, for an event loop of trio's; cancelled, it leaves threads behind that end with their next read."""
    stop = threading.Event()
    work = partial(prefetch, files, config, is_stopped=stop.is_set, available_bytes=available_bytes)
    try:
        done = await trio.to_thread.run_sync(work, abandon_on_cancel=True)
    finally:
        stop.set()
    log.info("read ahead: %s", done)
    return done


def memory_available_bytes(*, meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """What processes could still be given, pages of files included, of the machine or of the container if it has less.

    Source: MemAvailable in proc(5); memory.max, memory.current and `file` of memory.stat in the kernel's cgroup-v2.
    """
    of_machine = _numbers(meminfo).get("MemAvailable", 0) * 1024
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):  # no second version here, or "max"
        return of_machine
    return min(of_machine, limit - used + _numbers(cgroup / "memory.stat").get("file", 0))


class _Reading:
    """The state that the reading threads share."""

    def __init__(
        self,
        parts: Sequence[_Part],
        config: PrefetchConfig,
        is_stopped: Callable[[], bool],
        available_bytes: Callable[[], int],
    ) -> None:
        self.num_bytes = 0
        self.ended = Ended.WHOLE
        self._config = config
        self._is_stopped = is_stopped
        self._available_bytes = available_bytes
        self._parts = iter(parts)
        self._lock = threading.Lock()

    def run(self) -> None:
        """One thread's work: take the next part and read it, until there is none."""
        buffer = bytearray(self._config.read_bytes)
        while (part := self._next()) is not None:
            num_bytes = _read(part, buffer)
            with self._lock:
                self.num_bytes += num_bytes

    def _next(self) -> _Part | None:
        with self._lock:
            if self.ended is not Ended.WHOLE:
                return None
            if self._is_stopped():
                self.ended = Ended.STOPPED
            elif self._available_bytes() - self.num_bytes < self._config.spare_bytes:
                self.ended = Ended.NO_ROOM
            else:
                return next(self._parts, None)
            return None


@dataclass(frozen=True, slots=True)
class _Part:
    """What one read takes of a file."""

    path: Path
    offset: int


def _parts(files: Sequence[Path], read_bytes: int) -> Iterator[_Part]:
    for path in files:
        try:
            size_bytes = path.stat().st_size
        except OSError:
            continue
        for offset in range(0, size_bytes, read_bytes):
            yield _Part(path, offset)


def _read(part: _Part, buffer: bytearray) -> int:
    """Bytes read; 0 if it cannot be read. Holds the interpreter's lock at no time while it waits."""
    try:
        with part.path.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), part.offset, len(buffer), os.POSIX_FADV_WILLNEED)
            return os.preadv(file.fileno(), [buffer], part.offset)
    except OSError:
        return 0


def _numbers(path: Path) -> dict[str, int]:
    """The lines `name: 123` or `name 123` of a file of the kernel's."""
    try:
        text = path.read_text(encoding="ascii")
    except OSError:
        return {}
    return {name: int(number) for name, number in re.findall(r"^(\w+):? +(\d+)", text, re.MULTILINE)}
