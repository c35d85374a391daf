"""From a lock to a folder with exactly its wheels, whatever happens to the connection on the way.

A file grows as `NAME.part` and gets its own name only when its size and SHA-256 are the lock's. So whatever ends
a fetch (a dropped line, Ctrl-C, a kill, a full disk), the next one goes on from the bytes that are there.
"""

from __future__ import annotations

import io
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

from kit.errors import InputError, KitError, MissingError, StorageError, cannot_write
from kit.kaggle.digest import sha256_of
from kit.kaggle.wheels.index import BeyondEndError, DroppedError, Index
from kit.kaggle.wheels.lockfile import Lock, Wheel
from kit.lock import held

PART_SUFFIX = ".part"
_CHUNK_BYTES = 1 << 18
_SPARE_BYTES = 64 << 20  # left free on the disk
_RELOCK = "make the lock anew with `kit wheels lock`, or fix pip's index"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch did. num_bytes: received in this run, without what was there."""

    num_present: int
    num_downloaded: int
    num_bytes: int


class StoppedError(Exception):
    """Another file's fault, or the user, ended the fetch."""


def fetch(
    lock: Lock,
    into: Path,
    index: Index,
    *,
    num_parallel: int = 8,
    on_bytes: Callable[[int], None] = lambda num_bytes: None,
) -> Fetched:
    """Download what `into` does not hold yet, verified; files that the lock does not name are left alone.

    on_bytes: told how many more bytes of the lock are there, from any thread; negative where some were thrown away.
    Raises: MissingError for a file the index no longer has, or cannot give now; InputError for one that is not
    the locked one; StorageError for a full or read-only disk, or a folder that another fetch is filling.
    """
    with held(into):
        run = _Run(lock, into, index, on_bytes)
        wanted = run.missing(num_parallel)
        _check_space(into, sum(wheel.size_bytes - _size(run.part(wheel)) for wheel in wanted))
        run.download(wanted, num_parallel)
    return Fetched(len(lock.wheels) - len(wanted), len(wanted), run.num_bytes)


class _Run:
    """One fetch: what its threads share."""

    def __init__(self, lock: Lock, into: Path, index: Index, on_bytes: Callable[[int], None]) -> None:
        self.num_bytes = 0
        self._lock = lock
        self._into = into
        self._index = index
        self._on_bytes = on_bytes
        self._stop = threading.Event()
        self._counting = threading.Lock()

    def part(self, wheel: Wheel) -> Path:
        """Where a wheel grows."""
        return self._into / f"{wheel.file}{PART_SUFFIX}"

    def missing(self, num_parallel: int) -> list[Wheel]:
        """The wheels that are not there, or not whole; a damaged one is thrown away."""
        with ThreadPoolExecutor(num_parallel) as pool:
            present = list(pool.map(self._is_present, self._lock.wheels))
        wanted = [wheel for wheel, is_present in zip(self._lock.wheels, present, strict=True) if not is_present]
        for wheel in wanted:
            self._on_bytes(_size(self.part(wheel)))
        return wanted

    def download(self, wanted: list[Wheel], num_parallel: int) -> None:
        """Fetch all, the largest first; of several faults, the first is raised and the others are counted."""
        pool = ThreadPoolExecutor(num_parallel)
        by_size = sorted(wanted, key=lambda wheel: -wheel.size_bytes)
        futures = [pool.submit(self._fetch, wheel) for wheel in by_size]
        try:
            _raise_first(self._watched(futures))
        finally:  # Ctrl-C arrives here too: what has been received stays
            self._stop.set()
            pool.shutdown(cancel_futures=True)

    def _watched(self, futures: list[Future[None]]) -> list[BaseException]:
        """The faults of all files; a full disk ends the others, a missing file does not."""
        pending, faults = set(futures), list[BaseException]()
        while pending:
            done, pending = wait(pending, return_when=FIRST_EXCEPTION)
            faults += [fault for each in done if (fault := each.exception()) is not None]
            if any(not isinstance(fault, KitError) or isinstance(fault, StorageError) for fault in faults):
                break
        return faults

    def _is_present(self, wheel: Wheel) -> bool:
        path = self._into / wheel.file
        if _size(path) == wheel.size_bytes and sha256_of(path) == wheel.sha256:
            self._on_bytes(wheel.size_bytes)
            return True
        with _storing(path):
            path.unlink(missing_ok=True)
        return False

    def _fetch(self, wheel: Wheel) -> None:
        url = self._url(wheel)
        part = self.part(wheel)
        if _size(part) > wheel.size_bytes:
            self._discard(part)
        while True:
            was_begun = _size(part) > 0
            self._index.retried(
                lambda: self._receive(wheel, url),
                what=wheel.file,
                progress=lambda: _size(part),
                pause=self._pause,
            )
            found = sha256_of(part)
            if found == wheel.sha256:
                with _storing(part):
                    part.replace(self._into / wheel.file)
                return
            self._discard(part)
            if not was_begun:
                raise InputError(f"{wheel.file}: its SHA-256 is {found}, the lock says {wheel.sha256}; {_RELOCK}")

    def _url(self, wheel: Wheel) -> str:
        for offer in self._index.offers(wheel.name):
            if offer.file == wheel.file:
                if offer.sha256 not in (None, wheel.sha256):
                    raise InputError(f"{wheel.file}: the index has another file of this name; {_RELOCK}")
                return offer.url
        raise MissingError(f"{wheel.file}: the index has it no more; {_RELOCK}")

    def _receive(self, wheel: Wheel, url: str) -> None:
        """One request for the bytes that are missing.

        Raises: DroppedError if it ends before the last of them.
        """
        part = self.part(wheel)
        if (begun := _size(part)) == wheel.size_bytes and begun:
            return
        headers = {"Range": f"bytes={begun}-"} if begun else {}
        try:
            with self._index.opened(url, what=wheel.file, headers=headers) as answer:
                if begun and not _continues(answer, begun):  # the server sends it whole
                    self._discard(part)
                self._append(answer, part, wheel)
        except BeyondEndError:
            self._discard(part)
            raise
        if _size(part) < wheel.size_bytes:
            raise DroppedError(f"it ended after {_size(part)} of {wheel.size_bytes} bytes")

    def _append(self, answer: IO[bytes], part: Path, wheel: Wheel) -> None:
        with _storing(part):
            file = part.open("ab", buffering=0)
        with file:
            left = wheel.size_bytes - file.tell()
            while chunk := answer.read(_CHUNK_BYTES):
                if self._stop.is_set():
                    raise StoppedError
                if len(chunk) > left:
                    raise InputError(f"{wheel.file}: the index sends more than {wheel.size_bytes} bytes; {_RELOCK}")
                with _storing(part):
                    _write_all(file, chunk)
                left -= len(chunk)
                self._count(len(chunk))

    def _count(self, num_bytes: int) -> None:
        with self._counting:
            self.num_bytes += num_bytes
        self._on_bytes(num_bytes)

    def _discard(self, part: Path) -> None:
        self._on_bytes(-_size(part))
        with _storing(part):
            part.unlink(missing_ok=True)

    def _pause(self, pause_s: float) -> None:
        if self._stop.wait(pause_s):
            raise StoppedError


def _raise_first(faults: Sequence[BaseException]) -> None:
    """Raise the gravest fault, if any, and say how many other files failed."""
    if not faults:
        return
    first = min(faults, key=lambda fault: (isinstance(fault, KitError), not isinstance(fault, StorageError)))
    if len(faults) == 1 or not isinstance(first, KitError):
        raise first
    raise type(first)(f"{first}; and {len(faults) - 1} more failed")


def _check_space(into: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(into).free
    if needed_bytes and needed_bytes + _SPARE_BYTES > free_bytes:
        raise StorageError(f"{into}: {needed_bytes:,} bytes to fetch, {free_bytes:,} are free; free some disk")


def _continues(answer: Any, begun: int) -> bool:
    """Whether the server sends the bytes from `begun` on, as asked."""
    return answer.status == HTTPStatus.PARTIAL_CONTENT and bool(
        re.match(rf"bytes {begun}-", answer.headers.get("Content-Range", ""))
    )


def _write_all(file: io.FileIO, chunk: bytes) -> None:
    """Write without a buffer, so that what is counted is on its way to the disk; a write may take a part only."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def _size(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
