"""Pieces written to disk and hashed in one reading, in parallel, and not again if that was done before.

In: pieces, a folder to fill, and the record of what earlier runs wrote. Out: the manifest's entries. A piece grows
under a temporary name and gets its own when it is whole, so whatever ends a run, the next one goes on with the pieces
that are missing. A piece counts as written while neither its sources nor itself have changed: by size and times (of a
source also the time of change, which nobody can set back), not by reading it again. What a power cut may do
to it, `kit verify` and the upload find, which read every byte.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from kit.errors import InputError, MissingError, cannot_write
from kit.json_text import read_json
from kit.kaggle.dataset.contents import Source
from kit.kaggle.dataset.manifest import Entry, Member
from kit.kaggle.dataset.packing import END, Packed, Piece, header, padding_bytes
from kit.kaggle.transfer import Transfer, growing, linked, partial_of, write_all

_BUFFER_BYTES = 4 << 20
_MAX_WORKERS = 8
_FORMAT = 1  # of the record; another one counts as empty


class Record:
    """What was written and from what, in one small file that is replaced as a whole.

    Not readable, it counts as empty: everything is then written again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._written: dict[str, Any] = _load(path)

    def entry(self, piece: Piece, folder: Path) -> Entry | None:
        """The entry of a piece that lies written in `folder`; None if it does not, or anything has changed."""
        known = self._written.get(piece.file)
        if known is None or known["sources"] != _identity(piece) or known["target"] != _times(folder / piece.file):
            return None
        members = tuple(Member(**member) for member in known["entry"]["members"])
        return Entry(**{**known["entry"], "members": members})

    def add(self, piece: Piece, sources: list[list[object]], folder: Path, entry: Entry) -> None:
        """Note that a piece has been written. sources: their identity before they were read."""
        with self._lock:
            self._written[piece.file] = {
                "sources": sources,
                "target": _times(folder / piece.file),
                "entry": asdict(entry),
            }
            partial = partial_of(self._path)
            partial.write_text(json.dumps({"format": _FORMAT, "pieces": self._written}), encoding="utf-8")
            partial.replace(self._path)


def reuse(pieces: Sequence[Piece], folder: Path, earlier: Path, record: Record) -> dict[str, Entry]:
    """Entries of the pieces that need no writing: those in `folder`, and those of `earlier`, which are linked there.

    Whatever else lies in `folder` is deleted. Raises: StorageError.
    """
    entries: dict[str, Entry] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for piece in pieces:
            entry = record.entry(piece, folder)
            if entry is None and (entry := record.entry(piece, earlier)) is not None:
                (folder / piece.file).unlink(missing_ok=True)
                entry = entry if linked(folder / piece.file, earlier / piece.file) else None
            if entry is not None:
                entries[piece.file] = entry
        for path in folder.iterdir():
            if path.name not in entries:
                path.unlink()
    except OSError as error:
        raise cannot_write(folder, error) from error
    return entries


def write(
    pieces: Sequence[Piece], folder: Path, record: Record, *, on_bytes: Callable[[int], None], num_workers: int = 0
) -> dict[str, Entry]:
    """Write `pieces` into `folder`, the largest first; returns their entries by name.

    on_bytes: told of the bytes read, from any thread. num_workers: threads; 0 for one a core, at most 8.
    Raises: InputError for a source that changed meanwhile, or is not the one that is expected; StorageError.
    """
    transfer = Transfer(on_bytes)

    def move(piece: Piece) -> Entry:
        before = _identity(piece)
        with growing(folder / piece.file, piece.size_bytes, aligned=not piece.is_archive) as file:
            entry = _write_archive(piece, file, transfer) if piece.is_archive else _write_file(piece, file, transfer)
            _check_unchanged(piece, before)
        record.add(piece, before, folder, entry)
        return entry

    num_workers = num_workers or min(_MAX_WORKERS, os.cpu_count() or 1)
    entries = transfer.run(move, pieces, size_bytes=lambda piece: piece.size_bytes, num_workers=num_workers)
    return {piece.file: entry for piece, entry in zip(pieces, entries, strict=True)}


def _write_file(piece: Piece, file: IO[bytes], transfer: Transfer) -> Entry:
    (packed,) = piece.contents
    sha256 = _copy(packed.source, file, transfer)
    return Entry(packed.source.path, piece.file, packed.source.size_bytes, sha256)


def _write_archive(piece: Piece, file: IO[bytes], transfer: Transfer) -> Entry:
    whole, members = hashlib.sha256(), []

    def frame(content: bytes) -> None:
        whole.update(content)
        write_all(file, content)

    for packed in piece.contents:
        frame(header(packed))
        source, offset_bytes = packed.source, file.tell()
        member = Member(
            path=source.path,
            file=packed.name,
            size_bytes=source.size_bytes,
            sha256=_copy(source, file, transfer, whole),
            offset_bytes=offset_bytes,
        )
        members.append(member)
        frame(bytes(padding_bytes(source.size_bytes)))
    frame(END)
    return Entry(piece.file, piece.file, piece.size_bytes, whole.hexdigest(), tuple(members))


def _copy(source: Source, target: IO[bytes], transfer: Transfer, *also: Any) -> str:
    """Append a source to `target`; returns its SHA-256. also: further digests to feed."""
    digest = hashlib.sha256()
    with _reading(source.file) as file:
        num_bytes = transfer.append(_chunks(file, source), target, digest, *also)
    if num_bytes != source.size_bytes:
        raise InputError(f"{source.file}: it changed while it was copied; run the command again")
    sha256 = digest.hexdigest()
    if source.sha256 not in (None, sha256):
        raise InputError(f"{source.file}: not the locked file; `kit wheels fetch` gets it anew")
    return sha256


def _chunks(file: IO[bytes], source: Source) -> Iterator[memoryview]:
    """The bytes of a source, each time in the same buffer, which is aligned as disks ask."""
    buffer = memoryview(mmap.mmap(-1, min(_BUFFER_BYTES, source.size_bytes + 1)))
    while num_read := _read(file, buffer, source.file):
        yield buffer[:num_read]


def _read(file: IO[bytes], buffer: memoryview, path: Path) -> int:
    try:
        num_read: int = file.readinto(buffer)  # type: ignore[attr-defined]  # a FileIO
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); copy it again from where it came") from error
    return num_read


def _identity(piece: Piece) -> list[list[object]]:
    """What must be the same for a piece to be the same, as JSON gives it back."""
    return [[packed.name, *_source_identity(packed)] for packed in piece.contents]


def _source_identity(packed: Packed) -> list[object]:
    source = packed.source
    with _reading(source.file) as file:
        state = os.fstat(file.fileno())
    return [source.path, str(source.file.resolve()), state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def _check_unchanged(piece: Piece, before: list[list[object]]) -> None:
    for packed, was, now in zip(piece.contents, before, _identity(piece), strict=True):
        if was != now:
            raise InputError(f"{packed.source.file}: it changed while it was copied; run the command again")


def _times(path: Path) -> list[int] | None:
    """Size and time of a written piece; None if it is not there."""
    try:
        state = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return [state.st_size, state.st_mtime_ns]


def _load(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    is_record = isinstance(content, dict) and content.get("format") == _FORMAT
    return content["pieces"] if is_record else {}


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError:
        raise MissingError(f"{path}: it was there a moment ago; run the command again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); fix its rights") from error
    with file:
        yield file
