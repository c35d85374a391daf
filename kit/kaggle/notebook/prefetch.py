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
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path

import trio

from kit.machine_memory import memory_available_bytes
from kit.recipes.attempts import PrefetchConfig

log = logging.getLogger(__name__)

MiB, GiB = 1 << 20, 1 << 30


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
    reading = _Reading(
        parts=_parts(files, config.read_bytes),
        config=config,
        is_stopped=is_stopped,
        available_bytes=available_bytes or memory_available_bytes,
    )
    threads = [threading.Thread(target=reading.run, name="prefetch") for _ in range(config.num_threads)]
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


@dataclass(slots=True, kw_only=True, eq=False)
class _Reading:
    """The state that the reading threads share. parts: of the files, each with its offset."""

    parts: Iterator[tuple[Path, int]]
    config: PrefetchConfig
    is_stopped: Callable[[], bool]
    available_bytes: Callable[[], int]
    num_bytes: int = 0
    ended: Ended = Ended.WHOLE
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """One thread's work: take the next part and read it, until there is none."""
        buffer = bytearray(self.config.read_bytes)
        while (part := self._next()) is not None:
            num_bytes = _read(*part, buffer)
            with self.lock:
                self.num_bytes += num_bytes

    def _next(self) -> tuple[Path, int] | None:
        with self.lock:
            if self.ended is not Ended.WHOLE:
                return None
            if self.is_stopped():
                self.ended = Ended.STOPPED
            elif self.available_bytes() - self.num_bytes < self.config.spare_bytes:
                self.ended = Ended.NO_ROOM
            else:
                return next(self.parts, None)
            return None


def _parts(files: Sequence[Path], read_bytes: int) -> Iterator[tuple[Path, int]]:
    for path in files:
        try:
            size_bytes = path.stat().st_size
        except OSError:
            continue
        for offset in range(0, size_bytes, read_bytes):
            yield path, offset


def _read(path: Path, offset: int, buffer: bytearray) -> int:
    """Bytes read; 0 if it cannot be read. Holds the interpreter's lock at no time while it waits."""
    try:
        with path.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), offset, len(buffer), os.POSIX_FADV_WILLNEED)
            return os.preadv(file.fileno(), [buffer], offset)
    except OSError:
        return 0
