"""From a lock to a folder with exactly its wheels, whatever happens to the connection on the way.

A file grows under a temporary name and gets its own only when its size and SHA-256 are the lock's. So whatever ends
a fetch (a dropped line, Ctrl-C, a kill, a full disk), the next one goes on from the bytes that are there; neither pip
nor uv does that from one run to the next. In the folder lies the export for pip, too.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

from kit.errors import InputError, MissingError
from kit.kaggle.transfer import Transfer, check_space, partial_of, sha256_of, size_of, storing
from kit.kaggle.wheels.closure import damaged
from kit.kaggle.wheels.index import BeyondEndError, DroppedError, Index
from kit.kaggle.wheels.lockfile import Lock, Wheel, requirements_path
from kit.lock import held

_ResultT = TypeVar("_ResultT")

_CHUNK_BYTES = 1 << 18
_RELOCK = "make the lock anew with `kit wheels lock`, or fix pip's index"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch did. num_bytes: received in this run, without what was there."""

    num_present: int
    num_downloaded: int
    num_bytes: int


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
    transfer = Transfer(on_bytes)
    download = _Download(into, index, transfer)

    with held(into):
        present = download.each(download.is_present, lock.wheels, num_parallel)
        wanted = tuple(wheel for wheel, is_there in zip(lock.wheels, present, strict=True) if not is_there)
        begun_bytes = sum(size_of(download.partial(wheel)) for wheel in wanted)
        on_bytes(begun_bytes)
        needed_bytes = sum(wheel.size_bytes for wheel in wanted) - begun_bytes
        check_space(into, needed_bytes, purpose="fetch", fix="free some disk")
        download.each(download.fetch, wanted, num_parallel)
        save_requirements(lock, into)
    return Fetched(len(lock.wheels) - len(wanted), len(wanted), transfer.num_bytes)


def ensure(lock: Lock, folder: Path, index: Callable[[], Index]) -> None:
    """See to it that the folder holds a small set whole; nobody is asked if it does, and any number may do so at once.

    index: asked for only if something is missing, for pip takes seconds to name it.
    Raises: as `fetch`.
    """
    if not requirements_path(folder, lock.target.name).is_file() or any(damaged(lock, folder)):
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                fetch(lock, Path(scratch), index())
                for file in (*(wheel.file for wheel in lock.wheels), requirements_path(folder, lock.target.name).name):
                    (Path(scratch) / file).replace(folder / file)


def save_requirements(lock: Lock, folder: Path) -> None:
    """Put the export for pip beside the wheels; one that is right keeps its time, so that builds reuse it.

    Raises: StorageError.
    """
    path, text = requirements_path(folder, lock.target.name), lock.requirements()
    with storing(path):
        if not path.is_file() or path.read_bytes() != text.encode():
            path.write_text(text, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Download:
    """One file after another, from the index into a folder."""

    into: Path
    index: Index
    transfer: Transfer

    def each(self, move: Callable[[Wheel], _ResultT], wheels: tuple[Wheel, ...], num_parallel: int) -> list[_ResultT]:
        """Do one thing with every wheel, in parallel."""
        return self.transfer.run(
            move, wheels, size_bytes=lambda wheel: wheel.size_bytes, num_workers=num_parallel, ends_all=_ends_all
        )

    def partial(self, wheel: Wheel) -> Path:
        """Where a wheel grows."""
        return partial_of(self.into / wheel.file)

    def is_present(self, wheel: Wheel) -> bool:
        """Whether a wheel is there and whole; a damaged one is thrown away."""
        path = self.into / wheel.file
        if size_of(path) == wheel.size_bytes and sha256_of(path) == wheel.sha256:
            self.transfer.on_bytes(wheel.size_bytes)
            return True
        with storing(path):
            path.unlink(missing_ok=True)
        return False

    def fetch(self, wheel: Wheel) -> None:
        """Download the rest of a wheel; a partial one that turns out wrong is thrown away once."""
        url, partial = self._url(wheel), self.partial(wheel)
        if size_of(partial) > wheel.size_bytes:
            self.transfer.discard(partial)
        while True:
            was_begun = size_of(partial) > 0
            self.index.retried(
                lambda: self._receive(wheel, url),
                what=wheel.file,
                progress=lambda: size_of(partial),
                pause=self.transfer.pause,
            )
            found = sha256_of(partial)
            if found == wheel.sha256:
                with storing(partial):
                    partial.replace(self.into / wheel.file)
                return
            self.transfer.discard(partial)
            if not was_begun:
                raise InputError(f"{wheel.file}: its SHA-256 is {found}, the lock says {wheel.sha256}; {_RELOCK}")

    def _url(self, wheel: Wheel) -> str:
        for offer in self.index.offers(wheel.name):
            if offer.file == wheel.file:
                if offer.sha256 not in (None, wheel.sha256):
                    raise InputError(f"{wheel.file}: the index has another file of this name; {_RELOCK}")
                return offer.url
        raise MissingError(f"{wheel.file}: the index has it no more; {_RELOCK}")

    def _receive(self, wheel: Wheel, url: str) -> None:
        """One request for the bytes that are missing.

        Raises: DroppedError if it ends before the last of them.
        """
        partial = self.partial(wheel)
        if (begun := size_of(partial)) == wheel.size_bytes and begun:
            return
        headers = {"Range": f"bytes={begun}-"} if begun else {}
        try:
            with self.index.opened(url, what=wheel.file, headers=headers) as answer:
                if begun and not _continues(answer, begun):  # the server sends it whole
                    self.transfer.discard(partial)
                with storing(partial):
                    file = partial.open("ab", buffering=0)
                with file:
                    self.transfer.append(_chunks(answer, wheel, wheel.size_bytes - file.tell()), file)
        except BeyondEndError:
            self.transfer.discard(partial)
            raise
        if size_of(partial) < wheel.size_bytes:
            raise DroppedError(f"it ended after {size_of(partial)} of {wheel.size_bytes} bytes")


def _ends_all(fault: BaseException) -> bool:
    """A full disk ends the other files, too; one that the index does not give or gives wrong does not."""
    return not isinstance(fault, InputError | MissingError)


def _chunks(answer: Any, wheel: Wheel, left_bytes: int) -> Iterator[bytes]:
    while chunk := answer.read(_CHUNK_BYTES):
        left_bytes -= len(chunk)
        if left_bytes < 0:
            raise InputError(f"{wheel.file}: the index sends more than {wheel.size_bytes} bytes; {_RELOCK}")
        yield chunk


def _continues(answer: Any, begun: int) -> bool:
    """Whether the server sends the bytes from `begun` on, as asked."""
    return answer.status == HTTPStatus.PARTIAL_CONTENT and bool(
        re.match(rf"bytes {begun}-", answer.headers.get("Content-Range", ""))
    )
