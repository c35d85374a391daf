"""Many files moved into a folder at once, copied or downloaded, so that whatever ends a run, the next one goes on.

A file grows under a temporary name (`partial_of`) and gets its own when it is whole and its size and SHA-256 are
right. One pool of threads, one count of bytes; a fault that ends all, or Ctrl-C, stops every thread at its next chunk.
Memory: one chunk a thread, whatever the size of a file. Standard library only: it is needed before anything is
installed.

Large copies are written past the page cache, which would otherwise lose all it holds to a copy that nobody reads
soon, and costs more than the disk (benchmarks/bundle_speed.py).
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from kit.errors import KitError, StorageError, cannot_write

_ItemT = TypeVar("_ItemT")
_ResultT = TypeVar("_ResultT")

_PARTIAL = ".partial"
SPARE_BYTES = 64 << 20  # left free on the disk, whatever is written
_BLOCK_BYTES = 4096  # no disk has larger ones
_MIN_DIRECT_BYTES = 64 << 20
_LIBC = ctypes.CDLL(None)


class StoppedError(Exception):
    """Another file's fault, or the user, ended the transfer."""


class Transfer:
    """What the threads of one transfer share. num_bytes: written in this run, without what was there."""

    def __init__(self, on_bytes: Callable[[int], None] = lambda num_bytes: None) -> None:
        """on_bytes: told how many more bytes are there, from any thread; negative where some were thrown away."""
        self.num_bytes = 0
        self.on_bytes = on_bytes
        self._stop = threading.Event()
        self._counting = threading.Lock()

    def run(
        self,
        move: Callable[[_ItemT], _ResultT],
        items: Sequence[_ItemT],
        *,
        size_bytes: Callable[[_ItemT], int],
        num_workers: int,
        ends_all: Callable[[BaseException], bool] = lambda fault: True,
    ) -> list[_ResultT]:
        """What `move` returns for each item, in their order; the largest are begun first.

        ends_all: whether a fault stops the other files, too.
        Raises: the first fault that ends all, else the first, and says how many other files failed.
        """
        pool = ThreadPoolExecutor(num_workers)
        order = sorted(range(len(items)), key=lambda place: -size_bytes(items[place]))
        futures = {place: pool.submit(move, items[place]) for place in order}
        try:
            _wait(futures.values(), ends_all)
            return [futures[place].result() for place in range(len(items))]
        except BaseException:  # Ctrl-C arrives here too: what has been written stays
            self._stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def append(self, chunks: Iterable[bytes | memoryview], file: IO[bytes], *digests: Any) -> int:
        """Write `chunks` to the end of an unbuffered file and feed them to `digests`; returns their bytes.

        Raises: StoppedError once another file has ended all; StorageError if the disk refuses.
        """
        num_bytes = 0
        for chunk in chunks:
            if self._stop.is_set():
                raise StoppedError
            for digest in digests:
                digest.update(chunk)
            write_all(file, chunk)
            num_bytes += len(chunk)
            with self._counting:
                self.num_bytes += len(chunk)
            self.on_bytes(len(chunk))
        return num_bytes

    def pause(self, pause_s: float) -> None:
        """Wait. Raises: StoppedError if the transfer ends meanwhile."""
        if self._stop.wait(pause_s):
            raise StoppedError

    def discard(self, path: Path) -> None:
        """Throw away what has been written of a file. Raises: StorageError."""
        self.on_bytes(-size_of(path))
        with storing(path):
            path.unlink(missing_ok=True)


def partial_of(path: Path) -> Path:
    """Where a file grows until it is whole."""
    return path.with_name(path.name + _PARTIAL)


@contextmanager
def growing(path: Path, size_bytes: int, *, aligned: bool) -> Iterator[IO[bytes]]:
    """A new file for `size_bytes`, written without a buffer, that becomes `path` if the block ends without a fault.

    aligned: whether it is written in whole blocks but for its end, and so can go past the page cache.
    Raises: StorageError.
    """
    with storing(path):
        with partial_of(path).open("wb", buffering=0) as file:
            if hasattr(_LIBC, "fallocate64"):  # all space at once; os.posix_fallocate may write every block instead
                _LIBC.fallocate64(file.fileno(), 0, ctypes.c_int64(0), ctypes.c_int64(size_bytes))
            if aligned and size_bytes >= _MIN_DIRECT_BYTES:
                _bypass_cache(file, os.O_DIRECT)
            yield file
        partial_of(path).replace(path)


def write_all(file: IO[bytes], chunk: bytes | memoryview) -> None:
    """Write without a buffer; a write may take a part only, and past the cache only whole blocks.

    Raises: StorageError.
    """
    rest = memoryview(chunk)
    with storing(Path(os.fspath(file.name).removesuffix(_PARTIAL))):
        while rest:
            if len(rest) % _BLOCK_BYTES:
                _bypass_cache(file, 0)
            rest = rest[file.write(rest) :]


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns the operating system's refusals into StorageError naming `path`."""
    try:
        yield
    except KitError:
        raise
    except OSError as error:
        raise cannot_write(path, error) from error


def check_space(folder: Path, needed_bytes: int, *, purpose: str, fix: str) -> None:
    """Refuse to begin what would fill the disk. purpose: a verb.

    Raises: StorageError.
    """
    free = free_bytes(folder)
    if needed_bytes > 0 and needed_bytes + SPARE_BYTES > free:
        wanted = f"{needed_bytes:,} bytes to {purpose} and {SPARE_BYTES:,} to spare"
        raise StorageError(f"{folder}: {wanted}, {free:,} are free; {fix}")


def free_bytes(path: Path) -> int:
    """Of the disk that `path` is on, or will be."""
    existing = next(each for each in (path.resolve(), *path.resolve().parents) if each.exists())
    return shutil.disk_usage(existing).free


def linked(path: Path, existing: Path) -> bool:
    """Give a file of an earlier build, which nobody writes into, a second name; False where the disk has no links."""
    try:
        path.hardlink_to(existing)
    except OSError:
        return False
    return True


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal; memory stays flat."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _wait(futures: Iterable[Future[Any]], ends_all: Callable[[BaseException], bool]) -> None:
    """Wait for all, or for a fault that ends all; raise what went wrong."""
    faults, pending = list[BaseException](), set(futures)
    while pending and not any(map(ends_all, faults)):
        done, pending = wait(pending, return_when=FIRST_EXCEPTION)
        faults += [fault for each in done if (fault := each.exception()) is not None]
    if not faults:
        return
    first = next(filter(ends_all, faults), faults[0])
    if len(faults) > 1 and isinstance(first, KitError):
        first.args = (f"{first}; and {len(faults) - 1} more failed",)  # the error itself, with its cause and traceback
    raise first


def _bypass_cache(file: IO[bytes], flag: int) -> None:
    """Write past the page cache (flag: O_DIRECT) or through it (0); a disk without the former goes on as before."""
    flags = fcntl.fcntl(file, fcntl.F_GETFL) & ~os.O_DIRECT
    with suppress(OSError):
        fcntl.fcntl(file, fcntl.F_SETFL, flags | flag)
