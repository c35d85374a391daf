"""The real `kaggle` client, run as a process: clean environment, no questions, no secrets in what it says.

In: what to ask. Out: a Reply, read by `replies`. It is started as `python -m kaggle` would be (see
`guarded`), so it is the release installed beside the kit. It has no time limits of its own: one that is silent
for `stall_s` is ended, and its upload goes on where it was when it is started again.

The client keeps the sessions of an unfinished upload in its temporary folder, one JSON a file, and forgets them
when it ends with 0, even after Kaggle refused the dataset (200 and `status: error`). `Sessions` keeps copies.
Source: kaggle 2.2.4 and 2.2.5, `ResumableUploadContext`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from kit.errors import MissingError
from kit.kaggle.upload import guarded
from kit.kaggle.upload.replies import (
    ClientError,
    DatasetStatus,
    Page,
    Reply,
    dataset_status,
    is_bar,
    page,
    version_number,
)
from kit.linux import end_with_parent

PINS = ("kaggle==2.2.4", "six==1.17.0")  # the client imports six without declaring it
PAGE_SIZE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class KaggleClient:
    """folder: where it runs. environ: all of its environment. scrub: strikes secrets from a line."""

    folder: Path
    environ: Mapping[str, str]
    scrub: Callable[[str], str]
    stall_s: float

    def status(self, ref: str) -> DatasetStatus | ClientError:
        """Where `owner/slug` is, as Kaggle says."""
        return dataset_status(self._run("datasets", "status", ref))

    def version_number(self, ref: str) -> int | ClientError:
        """The number of the version that Kaggle shows."""
        return version_number(self._run("datasets", "status", ref, "--format", "json(current_version_number)"))

    def files(self, ref: str) -> Mapping[str, int] | ClientError:
        """Bytes of every file of the dataset, by its name on Kaggle."""
        sizes: dict[str, int] = {}
        part = Page({}, "")
        while part.next_token is not None:
            after = ("--page-token", part.next_token) if part.next_token else ()
            listed = page(
                self._run("datasets", "files", ref, "--format", "json", "--page-size", str(PAGE_SIZE), *after)
            )
            if isinstance(listed, ClientError):
                return listed
            sizes |= listed.sizes_bytes
            part = listed
        return sizes

    def create(self, files: str, *, is_public: bool, on_line: Callable[[str], None]) -> Reply:
        """Make a dataset of the folder `files`, relative to `self.folder`; `on_line` is told every line."""
        return self._run("datasets", "create", "-p", files, *(["--public"] if is_public else []), on_line=on_line)

    def add_version(self, files: str, *, notes: str, on_line: Callable[[str], None]) -> Reply:
        """As `create`, for a dataset that is there."""
        return self._run("datasets", "version", "-p", files, "-m", notes, on_line=on_line)

    def _run(self, *arguments: str, on_line: Callable[[str], None] = lambda _: None) -> Reply:
        command = [
            sys.executable,
            "-P",
            guarded.__file__,
            "-W",
            *arguments,
        ]  # -P: no folder `kaggle` is taken for it
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=dict(self.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # one pipe: bars and words in the order they were said
            preexec_fn=partial(end_with_parent, signal.SIGKILL),
        )
        return self._listen(process, on_line)

    def _listen(self, process: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> Reply:
        """Take in the client's lines until they end or none comes for too long."""
        assert process.stdout is not None
        said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(process.stdout, said))
        reader.start()
        lines: list[str] = []
        has_ended = False
        try:
            has_ended = self._take(said, lines, on_line)
        finally:
            if not has_ended:
                process.kill()
            status = process.wait()
            reader.join()
            process.stdout.close()
        return Reply(status=status, lines=tuple(lines), is_stalled=not has_ended)

    def _take(self, said: queue.SimpleQueue[str | None], lines: list[str], on_line: Callable[[str], None]) -> bool:
        """Put what is worth keeping into `lines` until the client's end; False if it was silent for too long."""
        while True:
            try:
                line = said.get(timeout=self.stall_s)
            except queue.Empty:
                return False
            if line is None:
                return True
            line = self.scrub(line)
            if not is_bar(line):
                lines.append(line)
            on_line(line)


@dataclass(frozen=True, slots=True)
class Sessions:
    """The client's upload sessions in `folder`, its TMPDIR, and copies of them in `copies`."""

    folder: Path
    copies: Path

    def make_room(self) -> None:
        """Make both folders, for this user only: a session's address lets whoever has it write to the upload."""
        for each in (self.folder, self.copies):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(self) -> None:
        """Copy the sessions there are."""
        for session in self.folder.rglob("*.json"):
            _copy(session, self.copies / session.relative_to(self.folder))

    def bring_back(self) -> None:
        """Restore those that the client forgot."""
        for session in self.copies.rglob("*.json"):
            target = self.folder / session.relative_to(self.copies)
            if not target.exists():
                _copy(session, target)

    def forget(self, file: str | None = None) -> None:
        """Remove the session of one file, so that it is sent from its start; or of all."""
        for root in (self.folder, self.copies):
            for session in root.rglob("*.json"):
                if file is None or _file_of(session) == file:
                    session.unlink(missing_ok=True)


def check_installed() -> str:
    """The client's version.

    Raises: MissingError if it, or what it needs without saying so, is not installed.
    """
    for pin in PINS:
        name = pin.partition("=")[0]
        if importlib.util.find_spec(name) is None:
            raise MissingError(f"{sys.executable}: has no package `{name}`; install it: pip install {' '.join(PINS)}")
    return importlib.metadata.version("kaggle")


def _file_of(session: Path) -> str | None:
    try:
        return Path(json.loads(session.read_bytes())["path"]).name
    except (OSError, ValueError, LookupError, TypeError):
        return None  # cut off while it was written: the client takes no notice of it, either


def _copy(session: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):  # the client removes its sessions whenever it is through
        shutil.copyfile(session, target)


def _read(stream: IO[bytes], said: queue.SimpleQueue[str | None]) -> None:
    """Put the stream's lines into the queue, and None at its end; a bar ends its lines with a carriage return."""
    rest = b""
    while chunk := stream.read1(1 << 16):  # type: ignore[attr-defined]
        *whole, rest = re.split(rb"[\r\n]+", rest + chunk)
        for line in whole:
            said.put(line.decode(errors="replace"))
    if rest:
        said.put(rest.decode(errors="replace"))
    said.put(None)
