"""Everything a run has computed, as JSON lines on disk, so that a killed process loses nothing.

One line a record, synced to disk before `append` returns unless the caller says otherwise: a `run` record at the head,
then the run's `seed`, and what `kit.solver.records` makes of attempts and answers. Opening an existing journal of the
same run resumes it; a line torn by a kill or a full disk is skipped. Where the caller cannot wait for a disk that
hangs, a thread writes, and every line in its order once the disk is there again.
Does not judge: answers and votes are recomputed from the samples' texts.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from kit.errors import StorageError, cannot_write
from kit.json_text import read_json
from kit.lock import hold
from kit.tasks import QueueThread

log = logging.getLogger(__name__)

Sync = Callable[[int], None]
"""Brings what was written to a descriptor onto the disk, as os.fsync does."""

Record = Mapping[str, Any]
"""A JSON object; `kind` says which."""


class _LateError(StorageError):
    """It is not written yet, and will be."""


@dataclass(slots=True)
class Journal:
    """An append-only file of records and the records it already held when it was opened."""

    path: Path
    _file: BinaryIO
    _past: Sequence[Record]
    _sync: Sync = os.fsync
    _patience_s: float | None = None
    _torn: bool = False  # the last append may have left half a line
    _is_closed: bool = False
    _writer: QueueThread = field(default_factory=partial(QueueThread, name="journal"))

    @classmethod
    def open(cls, path: Path, *, run: Record, patience_s: float | None = None, sync: Sync = os.fsync) -> Journal:
        """Open the journal of this run at `path`, resuming it if it is there.

        run: what identifies the run (config, model, seed) and goes to the head of the file. A journal
        whose head differs belongs to another run: it is kept, renamed to `<name>.<n>`, and a new one begun.
        patience_s: how long `append` and `close` wait for the disk; None for as long as it takes.
        Raises: StorageError if the folder or file cannot be written, or another process is writing it.
        """
        head = head_of(run)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = _opened(path)
            past = tuple(read_records(path))
            if past[:1] != (head,) and path.stat().st_size:
                with file:  # held until it has its other name
                    path.rename(_free_name(path))
                file, past = _opened(path), ()
        except StorageError:
            raise
        except OSError as error:
            raise cannot_write(path, error) from error
        journal = cls(path, file, past, sync, patience_s, _torn=bool(past) and not _ends_whole(path))
        if not past:
            journal._begin(head)
        return journal

    def append(self, record: Record, *, is_synced: bool = True) -> None:
        """Write one record and, if asked to, sync it to disk.

        Raises: StorageError if it cannot be written, the journal staying usable, and whole before it; or if that takes
            longer than the journal's patience, and it is written later.
        """
        if self._is_closed:
            raise StorageError(f"{self.path}: the journal is closed; open it again to write")
        line = json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        self._do(partial(self._write, line, is_synced=is_synced))

    def past(self, kind: str, problem_key: str | None = None) -> Iterator[Record]:
        """The records of `kind`, about this problem if one is named, that an earlier process left, oldest first."""
        for record in self._past:
            if record.get("kind") == kind and problem_key in (None, record.get("problem")):
                yield record

    @property
    def is_on_disk(self) -> bool:
        """Whether it is closed and the disk has all of it."""
        return self._file.closed

    def close(self) -> None:
        """Close the file, once the disk has taken what was appended; nothing may be appended after this.

        Where that takes longer than the journal's patience it is left to go on; to close again is to wait again.
        """
        self._is_closed = True
        try:
            self._do(self._file.close, is_last=True)
        except StorageError as error:
            log.warning("%s", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _begin(self, head: Record) -> None:
        try:
            self.append(head)
        except _LateError as error:
            log.warning("%s", error)

    def _do(self, work: Callable[[], None], *, is_last: bool = False) -> None:
        """In this thread, or where it may not take as long as it takes, in the journal's own."""
        if self._patience_s is None:
            return work()
        try:
            self._writer.do(work, within_s=self._patience_s, even_if_late=is_last)
        except TimeoutError:
            raise _LateError(
                f"{self.path}: the disk did not answer within {self._patience_s:g} s; it is written once the disk does"
            ) from None

    def _write(self, line: bytes, *, is_synced: bool) -> None:
        try:
            _write_whole(self._file, b"\n" + line if self._torn else line)
            self._torn = False
            if is_synced:
                self._sync(self._file.fileno())
        except OSError as error:
            self._torn = True
            raise cannot_write(self.path, error) from error


def read_records(path: Path) -> Iterator[Record]:
    """The whole records of a journal in order; lines torn by a kill are passed over.

    Raises: OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        for line in file:
            record = _parse(line)
            if record is not None:
                yield record


def head_of(run: Record) -> Record:
    """The head of this run's journal, as it is read back from there."""
    # Through JSON and back, so that tuples and paths compare equal to what was read from disk.
    head: Record = json.loads(json.dumps({"kind": "run", **run}, default=str))
    return head


def _parse(line: bytes) -> Record | None:
    try:
        record = read_json(line)
    except ValueError:  # covers a torn UTF-8 sequence, and one nested without end
        return None
    return _in_todays_words(record) if isinstance(record, dict) and "kind" in record else None


def _in_todays_words(record: dict[str, Any]) -> Record:
    """Journals of the first version say `cut`, of a record as of a finish."""
    if record["kind"] == "cut":
        record["kind"] = "cancelled"
    if record.get("finish") == "cut":
        record["finish"] = "aborted"
    return record


def _opened(path: Path) -> BinaryIO:
    """The file, to be written at its end, made if need be and held by this process alone.

    Nothing of it is read or renamed before it is held: until then it may be another's. Whoever held it may have renamed
    it meanwhile; then what has its name now is opened. Raises: StorageError if another process holds it; OSError.
    """
    while True:
        file = path.open("ab", buffering=0)
        hold(file, path)
        if _is_at(path, file):
            return file
        file.close()


def _is_at(path: Path, file: BinaryIO) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _write_whole(file: BinaryIO, data: bytes) -> None:
    """Unbuffered writes may be short, on a nearly full disk above all."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _free_name(path: Path) -> Path:
    number = 1
    while (candidate := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return candidate
