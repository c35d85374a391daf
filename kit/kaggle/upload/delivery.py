"""The course of one upload: create or add a version, through faults, until Kaggle shows what was sent.

In: a checked and staged dataset, a client, and what an earlier run wrote down. Out: the address of a dataset that is
ready and whole; anything else raises. What is decided here, and why, is told case by case below.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kit.errors import cannot_write
from kit.json_text import read_json
from kit.kaggle.dataset.handle import DatasetHandle
from kit.kaggle.facts import MAX_BYTES, SITE
from kit.kaggle.upload.asking import not_accepted
from kit.kaggle.upload.client import DatasetStatus, KaggleClient
from kit.kaggle.upload.faults import ClientError, Fault, KaggleError
from kit.kaggle.upload.plan import Event, Stage, Uploaded
from kit.kaggle.upload.remote_dataset import KEPT, NotWholeError, RemoteDataset
from kit.kaggle.upload.staging import StagedDataset

STAGED_NAME = "files"
_REFUSALS = (Fault.FORBIDDEN, Fault.NAME_IN_USE, Fault.REFUSED, Fault.STORAGE)
_NUM_LOOKS = 3  # how often something that Kaggle forbids or hides is tried again before it is believed


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of this dataset at this place. url: None until Kaggle accepted it.

    version_before: the version that Kaggle showed before; None for a new dataset, or if Kaggle did not tell.
    is_whole: Kaggle has shown it ready and whole, as this version: another dataset's files may have the same sizes.
    """

    ref: str
    manifest_sha256: str
    is_new: bool = True
    version_before: int | None = None
    url: str | None = None
    is_whole: bool = False
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One dataset on its way. client: runs where the dataset is staged.

    sessions: the client's temporary folder; what it keeps there of an unfinished upload it goes on from.
    """

    staged: StagedDataset
    to: DatasetHandle
    remote: RemoteDataset
    client: KaggleClient
    sessions: Path
    record_path: Path
    on_event: Callable[[Event], None]

    def run(self) -> Uploaded:
        """Send, unless an earlier run did, and wait."""
        record = self._load()
        was_sent = False
        if record is not None and record.is_whole and not self._is_still_there(record):
            self.remote.note("an earlier run brought it to Kaggle whole, but it is not so any more")
            record = None
        if record is None or record.url is None:
            record, was_sent = self._send(is_maybe_there=record is not None), True
        else:
            self.remote.note("an earlier run handed everything over; nothing is sent again (--fresh sends it anew)")
        if not record.is_whole:
            self._await_whole(record)
            self._save(replace(record, is_whole=True, version=self.remote.version_number()))
        return Uploaded(
            ref=self.to.ref,
            url=record.url or "",
            num_files=len(self.staged.sizes_bytes),
            size_bytes=self.staged.size_bytes,
            was_sent=was_sent,
        )

    def forget(self) -> None:
        """Forget what earlier runs sent."""
        self._forget_sessions()
        self.record_path.unlink(missing_ok=True)

    def _send(self, *, is_maybe_there: bool) -> Record:
        """Create or add a version until Kaggle accepts it, or no further attempt would help.

        is_maybe_there: an attempt to create it ended without an answer, so a dataset that is there may be this one.
        """
        setbacks = _Setbacks()
        while True:
            record = self._prepared(is_maybe_there=is_maybe_there)
            if record.url is not None:
                return self._handed_over(record, record.url)
            progress = _Progress(self.staged, self.on_event)
            try:
                url = self._deliver(progress, is_new=record.is_new)
            except ClientError as problem:
                is_maybe_there = is_maybe_there or record.is_new
                setbacks.count(problem, progress.num_bytes)
                self._check_worth_repeating(problem, is_new=record.is_new, setbacks=setbacks)
                self.remote.pause(problem, setbacks.in_a_row)
            else:
                return self._handed_over(record, url)

    def _prepared(self, *, is_maybe_there: bool) -> Record:
        """Find out whether to create or to add a version, and write it down; with an address if it is there already."""
        record = Record(ref=self.to.ref, manifest_sha256=self.staged.manifest_sha256)
        status = self.remote.status()
        if status is None or status is DatasetStatus.DELETED:
            return self._save(record)
        self.remote.await_settled(status)
        if is_maybe_there and self.remote.is_whole():
            return replace(record, url=self.remote.page)
        number = self.remote.version_number()
        visibility = "; --public has no effect on it" if self.to.is_public else ""
        self.remote.note(f"{self.to.ref} is there: adding a version, its visibility stays as it is{visibility}")
        self.record_path.unlink(missing_ok=True)  # from here on, a dataset that is there is an older one
        return replace(record, is_new=False, version_before=number)

    def _deliver(self, progress: _Progress, *, is_new: bool) -> str:
        if is_new:
            return self.client.create(STAGED_NAME, is_public=self.to.is_public, on_progress=progress)
        return self.client.add_version(STAGED_NAME, notes=self.to.notes, on_progress=progress)

    def _handed_over(self, record: Record, url: str) -> Record:
        if not url.rstrip("/").lower().endswith(f"/{self.to.ref}"):
            raise KaggleError(f"Kaggle put the dataset at {url}, not at {self.to.ref}; delete it there, change --slug")
        self._save(replace(record, url=url))
        self._forget_sessions()
        return replace(record, url=url)

    def _check_worth_repeating(self, problem: ClientError, *, is_new: bool, setbacks: _Setbacks) -> None:
        """Raises: KaggleError, with the fix, for what another attempt cannot change."""
        is_believed = setbacks.num_refusals >= _NUM_LOOKS
        match problem.fault:
            case Fault.PASSING | Fault.LIMITED if setbacks.in_a_row < self.remote.retry_policy.num_attempts:
                return
            case Fault.FORBIDDEN if not is_new and not is_believed:
                return  # so Kaggle answers while a first version is processed, even some time after it is ready
            case Fault.STORAGE if not is_believed:
                return  # its session may have expired, and was forgotten
            case Fault.NAME_IN_USE | Fault.REFUSED if is_new and not is_believed and self.remote.status() is not None:
                return  # most likely by this very upload, whose answer was lost
            case Fault.PASSING | Fault.LIMITED:
                fix = f"gave up after {setbacks.in_a_row} attempts without a byte more; {KEPT}"
            case Fault.UNAUTHENTICATED:
                raise not_accepted(problem, KEPT) from problem
            case Fault.STORAGE:
                fix = f"is this machine's clock right, and does no proxy or firewall refuse large uploads? {KEPT}"
            case Fault.QUOTA:
                space = f"private datasets share {MAX_BYTES / 1e9:.0f} GB"
                fix = f"{space}: delete what you no longer need at {SITE}/{self.to.owner}/datasets; {KEPT}"
            case Fault.NAME_IN_USE:
                fix = f"choose another --slug or --title; {KEPT}, under another name, too"
            case Fault.REFUSED if is_new:  # a title may be in use as well, of which Kaggle has no status
                fix = f"if the name is in use, choose another --slug or --title; else {KEPT}; --fresh sends all anew"
            case Fault.FORBIDDEN:
                fix = f"is --username {self.to.owner} right, and the account's phone number verified? {KEPT}"
            case _:
                fix = f"{KEPT}; --fresh sends everything anew"
        raise KaggleError(f"{self.to.ref}: {problem}\n{fix}") from problem

    def _forget_sessions(self) -> None:
        shutil.rmtree(self.sessions)
        self.sessions.mkdir(mode=0o700)

    def _await_whole(self, record: Record) -> None:
        try:
            self.remote.await_whole(version_before=record.version_before)
        except NotWholeError:
            self.record_path.unlink(missing_ok=True)  # so that the next run sends it again
            raise

    def _is_still_there(self, record: Record) -> bool:
        """Whether what an earlier run finished is there as it was; False if it was deleted or replaced since."""
        if self.remote.status() is not DatasetStatus.READY or not self.remote.is_whole():
            return False
        return record.version is not None and record.version == self.remote.version_number()

    def _load(self) -> Record | None:
        """The record of an earlier run with this very dataset and place; None if there is none."""
        try:
            record = Record(**read_json(self.record_path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        is_same = (record.ref, record.manifest_sha256) == (self.to.ref, self.staged.manifest_sha256)
        return record if is_same else None

    def _save(self, record: Record) -> Record:
        partial = self.record_path.with_suffix(".partial")
        try:
            partial.write_text(json.dumps(asdict(record)), encoding="utf-8")
            partial.replace(self.record_path)
        except OSError as error:
            raise cannot_write(self.record_path, error) from error
        return record


class _Setbacks:
    """What went wrong so far: how often in a row without a byte more, and how often it was a refusal."""

    def __init__(self) -> None:
        self.in_a_row = self.num_refusals = 0
        self._most_bytes = 0

    def count(self, problem: ClientError, num_bytes: int) -> None:
        self.in_a_row = 1 if num_bytes > self._most_bytes else self.in_a_row + 1
        self._most_bytes = max(self._most_bytes, num_bytes)
        self.num_refusals += problem.fault in _REFUSALS


class _Progress:
    """Bytes of each file that are through in one attempt, told as events."""

    def __init__(self, staged: StagedDataset, on_event: Callable[[Event], None]) -> None:
        self._sent_bytes: dict[str, int] = {}
        self._staged, self._on_event = staged, on_event

    @property
    def num_bytes(self) -> int:
        return sum(self._sent_bytes.values())

    def __call__(self, file: str, num_bytes: int) -> None:
        self._sent_bytes[file] = num_bytes
        text = f"{len(self._sent_bytes)} of {len(self._staged.sizes_bytes)}: {file}"
        self._on_event(Event(stage=Stage.SENDING, text=text, done=self.num_bytes, total=self._staged.size_bytes))
