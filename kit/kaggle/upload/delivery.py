"""The course of one upload: create or add a version, through faults, until Kaggle shows what was sent.

In: a checked and staged dataset, a client, and what an earlier run wrote down. Out: the address of a dataset that is
ready and whole; anything else raises. What is decided here, and why, is told case by case below.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kit.errors import cannot_write
from kit.kaggle.dataset.handle import DatasetHandle
from kit.kaggle.upload.client import KaggleClient, Sessions
from kit.kaggle.upload.plan import Event, Stage, Uploaded
from kit.kaggle.upload.remote_dataset import KEPT, NotWholeError, RemoteDataset, not_accepted
from kit.kaggle.upload.replies import (
    ClientError,
    DatasetStatus,
    Fault,
    KaggleError,
    Reply,
    Sending,
    accepted_url,
    client_error,
    is_bar,
)
from kit.kaggle.upload.staging import StagedDataset

STAGED_NAME = "files"
_NUM_LOOKS = 3  # how often something that Kaggle forbids or hides is tried again before it is believed


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of this dataset at this place. url: None until Kaggle accepted it.

    version_before: the version that Kaggle showed before; None for a new dataset, or if Kaggle did not tell.
    is_whole: Kaggle has shown it ready and whole.
    """

    ref: str
    manifest_sha256: str
    is_new: bool = True
    version_before: int | None = None
    url: str | None = None
    is_whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One dataset on its way. client: runs where the dataset is staged. sessions: what the client goes on from."""

    staged: StagedDataset
    to: DatasetHandle
    remote: RemoteDataset
    client: KaggleClient
    sessions: Sessions
    record_path: Path
    on_event: Callable[[Event], None]

    def run(self) -> Uploaded:
        """Send, unless an earlier run did, and wait."""
        record = self._load()
        was_sent = False
        if record is not None and record.is_whole and not self._is_still_there():
            self.remote.note("an earlier run brought it to Kaggle whole, but it is not so any more")
            record = None
        if record is None or record.url is None:
            record, was_sent = self._send(is_maybe_there=record is not None), True
        else:
            self.remote.note("an earlier run handed everything over; nothing is sent again (--fresh sends it anew)")
        if not record.is_whole:
            self._await_whole(record)
            self._save(replace(record, is_whole=True))
        return Uploaded(
            ref=self.to.ref,
            url=record.url or "",
            num_files=len(self.staged.sizes_bytes),
            size_bytes=self.staged.size_bytes,
            was_sent=was_sent,
        )

    def forget(self) -> None:
        """Forget what earlier runs sent."""
        self.sessions.forget()
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
            reply, sending = self._deliver(is_new=record.is_new)
            if (url := accepted_url(reply)) is not None:
                return self._handed_over(record, url)
            is_maybe_there = is_maybe_there or record.is_new
            problem = _problem(reply, sending)
            setbacks.count(problem, sending, sending.num_bytes(self.staged.sizes_bytes))
            if sending.dropped is not None and (sending.is_lost or setbacks.drops[sending.dropped] > 1):
                self.sessions.forget(sending.dropped)  # going on in the middle did not help
            self._check_worth_repeating(problem, is_new=record.is_new, setbacks=setbacks)
            self.remote.pause(problem, setbacks.in_a_row)

    def _prepared(self, *, is_maybe_there: bool) -> Record:
        """Find out whether to create or to add a version, and write it down; with an address if it is there already."""
        record = Record(ref=self.to.ref, manifest_sha256=self.staged.manifest_sha256)
        status = self.remote.status()
        if isinstance(status, ClientError) or status is DatasetStatus.DELETED:
            return self._save(record)
        self.remote.await_settled(status)
        if is_maybe_there and self.remote.is_whole():
            return replace(record, url=self.remote.page)
        number = self.remote.version_number()
        visibility = "; --public has no effect on it" if self.to.is_public else ""
        self.remote.note(f"{self.to.ref} is there: adding a version, its visibility stays as it is{visibility}")
        self.record_path.unlink(missing_ok=True)  # from here on, a dataset that is there is an older one
        return replace(record, is_new=False, version_before=number)

    def _deliver(self, *, is_new: bool) -> tuple[Reply, Sending]:
        self.sessions.bring_back()
        watch = _Watch(self.staged, self.sessions, self.on_event)
        if is_new:
            reply = self.client.create(STAGED_NAME, is_public=self.to.is_public, on_line=watch)
        else:
            reply = self.client.add_version(STAGED_NAME, notes=self.to.notes, on_line=watch)
        return reply, watch.sending

    def _handed_over(self, record: Record, url: str) -> Record:
        if not url.rstrip("/").lower().endswith(f"/{self.to.ref}"):
            raise KaggleError(f"Kaggle put the dataset at {url}, not at {self.to.ref}; delete it there, change --slug")
        self._save(replace(record, url=url))
        self.sessions.forget()
        return replace(record, url=url)

    def _check_worth_repeating(self, problem: ClientError, *, is_new: bool, setbacks: _Setbacks) -> None:
        """Raises: KaggleError, with the fix, for what another attempt cannot change."""
        is_believed = setbacks.num_refusals >= _NUM_LOOKS
        match problem.fault:
            case Fault.PASSING | Fault.LIMITED if setbacks.in_a_row < self.remote.retry_policy.num_attempts:
                return
            case Fault.FORBIDDEN if not is_new and not is_believed:
                return  # so Kaggle answers while a first version is processed, even some time after it is ready
            case Fault.NAME_IN_USE if is_new and not is_believed and self._is_there():
                return  # most likely by this very upload, whose answer was lost
            case Fault.PASSING | Fault.LIMITED:
                fix = f"gave up after {setbacks.in_a_row} attempts without a byte more; {KEPT}"
            case Fault.UNAUTHENTICATED:
                raise not_accepted(problem)
            case Fault.NAME_IN_USE:
                fix = f"choose another --slug or --title; {KEPT}, under another name, too"
            case Fault.FORBIDDEN:
                fix = f"is --username {self.to.owner} right, and the account's phone number verified? {KEPT}"
            case _:
                fix = f"{KEPT}; --fresh sends everything anew"
        raise KaggleError(f"{self.to.ref}: {problem.fault.value}: {problem.text}\n{fix}")

    def _is_there(self) -> bool:
        return isinstance(self.remote.status(), DatasetStatus)

    def _await_whole(self, record: Record) -> None:
        try:
            self.remote.await_whole(version_before=record.version_before)
        except NotWholeError:
            self.record_path.unlink(missing_ok=True)  # so that the next run sends it again
            raise

    def _is_still_there(self) -> bool:
        """Whether what an earlier run finished is there as it was; False if it was deleted or replaced since."""
        return self.remote.status() is DatasetStatus.READY and self.remote.is_whole()

    def _load(self) -> Record | None:
        """The record of an earlier run with this very dataset and place; None if there is none."""
        try:
            record = Record(**json.loads(self.record_path.read_bytes()))
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


def _problem(reply: Reply, sending: Sending) -> ClientError:
    """Why an upload was not accepted. A dropped file may have any cause: the client does not tell."""
    if sending.dropped is not None:
        return ClientError(Fault.PASSING, f"Kaggle's storage did not take {sending.dropped}")
    return client_error(reply)


class _Setbacks:
    """What went wrong so far: how often in a row without a byte more, how often refused, how often by file."""

    def __init__(self) -> None:
        self.in_a_row = self.num_refusals = 0
        self.drops: Counter[str] = Counter()
        self._most_bytes = 0

    def count(self, problem: ClientError, sending: Sending, num_bytes: int) -> None:
        self.in_a_row = 1 if num_bytes > self._most_bytes else self.in_a_row + 1
        self._most_bytes = max(self._most_bytes, num_bytes)
        self.num_refusals += problem.fault in (Fault.FORBIDDEN, Fault.NAME_IN_USE)
        if sending.dropped is not None:
            self.drops[sending.dropped] += 1


class _Watch:
    """Follows an upload line by line: tells progress, and copies each session once it is there."""

    def __init__(self, staged: StagedDataset, sessions: Sessions, on_event: Callable[[Event], None]) -> None:
        self.sending = Sending()
        self._file = ""  # the last one begun
        self._kept_file: str | None = None
        self._parcel, self._sessions, self._on_event = staged, sessions, on_event

    def __call__(self, line: str) -> None:
        before, self.sending = self.sending, self.sending.after(line)
        if is_bar(line) and self._kept_file != self.sending.file:  # the first bar: the session is written before it
            self._kept_file = self.sending.file
            self._sessions.keep()
        if self.sending != before:
            self._on_event(self._event())

    def _event(self) -> Event:
        sizes = self._parcel.sizes_bytes
        number = len(self.sending.sent) + (self.sending.file is not None)
        self._file = self.sending.file or self._file
        text = f"{number} of {len(sizes)}: {self._file}"
        done = self.sending.num_bytes(sizes)
        return Event(stage=Stage.SENDING, text=text, done=done, total=self._parcel.size_bytes)
