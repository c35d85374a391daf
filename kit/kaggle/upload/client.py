"""The real `kaggle` client: a process with a clean environment that serves all calls, answered in values.

In: what to ask. Out: typed values, or ClientError (`faults`). Nothing is asked of the user, and no secret stands in
what is told. The client has no time limits of its own: one that is silent for `stall_s` is ended. One that was ended or
died is started again by the next call, and its upload goes on where it was.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from kit.errors import MissingError
from kit.json_text import read_json
from kit.kaggle.upload.faults import ClientError, Fault, fault_of
from kit.linux import end_with_parent

PINS = ("kaggle==2.2.5", "six==1.17.0")  # the client imports six without declaring it
_WordT = TypeVar("_WordT", bound=Enum)
_PROCESS = Path(__file__).with_name("api_process.py")


class DatasetStatus(Enum):
    """Kaggle's word for where a dataset's newest version is. Source: kagglesdk DatabundleVersionStatus."""

    NOT_YET_PERSISTED = "not_yet_persisted"
    BLOBS_RECEIVED = "blobs_received"
    BLOBS_DECOMPRESSED = "blobs_decompressed"
    BLOBS_COPIED_TO_SDS = "blobs_copied_to_sds"
    INDIVIDUAL_BLOBS_COMPRESSED = "individual_blobs_compressed"
    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"
    REPROCESSING = "reprocessing"


class RunStatus(StrEnum):
    """Where a notebook's latest run is. Source: kagglesdk KernelWorkerStatus."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    ERROR = "ERROR"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    CANCEL_ACKNOWLEDGED = "CANCEL_ACKNOWLEDGED"
    NEW_SCRIPT = "NEW_SCRIPT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of a notebook. failure: why it failed, in Kaggle's words; empty if it did not, or Kaggle does not say."""

    status: RunStatus
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedKernel:
    """A version of a notebook that Kaggle has taken. lost: what could not be attached to it, by kind."""

    version: int
    url: str
    lost: Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class KaggleClient:
    """Every method raises ClientError. scrub: strikes secrets from a text."""

    process: ApiProcess
    scrub: Callable[[str], str]

    def status(self, ref: str) -> DatasetStatus:
        """Where the dataset `owner/slug` is, as Kaggle says."""
        return _known(DatasetStatus, self._call("status", ref=ref))

    def version_number(self, ref: str) -> int | None:
        """The number of the version that Kaggle shows; None if it names none."""
        number: int | None = self._call("version_number", ref=ref)
        return number

    def files(self, ref: str) -> Mapping[str, int]:
        """Bytes of every file of the dataset, by its name on Kaggle."""
        sizes_bytes: Mapping[str, int] = self._call("files", ref=ref)
        return sizes_bytes

    def model_files(self, ref: str) -> Mapping[str, int]:
        """Bytes of every file of a Kaggle Model, `owner/model/framework/variation/version`, by its path there."""
        sizes_bytes: Mapping[str, int] = self._call("model_files", ref=ref)
        return sizes_bytes

    def create(self, folder: str, *, is_public: bool, on_progress: Callable[[str, int], None]) -> str:
        """The address of a new dataset of `folder`, relative to the client's; on_progress: (file, its bytes sent)."""
        return str(self._call("create", on_progress, folder=folder, is_public=is_public))

    def add_version(self, folder: str, *, notes: str, on_progress: Callable[[str, int], None]) -> str:
        """As `create`, for a dataset that is there."""
        return str(self._call("add_version", on_progress, folder=folder, notes=notes))

    def push(self, folder: str) -> SavedKernel:
        """Save the notebook in `folder`, relative to the client's, and have Kaggle run it."""
        return SavedKernel(**self._call("push", folder=folder))

    def username(self) -> str:
        """Whose the credentials are."""
        return str(self._call("username"))

    def run(self, ref: str) -> Run:
        """The run of the notebook `owner/slug/version`, or without a version its latest."""
        told = self._call("run", ref=ref)
        return Run(status=_known(RunStatus, told["status"]), failure=self.scrub(told["failure"]))

    def log(self, ref: str) -> str:
        """What that run has printed, as Kaggle keeps it; empty while it keeps nothing."""
        return self.scrub(self._call("log", ref=ref))

    def attached(self, ref: str) -> Mapping[str, Any]:
        """The notebook `owner/slug` as Kaggle has it now, in the words of kernel-metadata.json."""
        metadata: Mapping[str, Any] = self._call("attached", ref=ref)
        return metadata

    def submit(self, competition: str, *, ref: str, version: int, file: str, message: str) -> str:
        """Take part in the competition with the file that this version left; gives Kaggle's words."""
        how = {"competition": competition, "ref": ref, "version": version, "file": file, "message": message}
        return str(self._call("submit", **how))

    def _call(self, call: str, on_progress: Callable[[str, int], None] = lambda *_: None, /, **arguments: Any) -> Any:
        try:
            answer = self.process.ask({"call": call, **arguments}, on_progress)
        except ClientError as broken:
            raise ClientError(broken.fault, self.scrub(broken.text)) from None  # it may hold a secret
        if "error" in answer:
            error = answer["error"]
            fault = fault_of(error["kind"], error["status"], error["text"])
            raise ClientError(fault, self.scrub(error["text"]))
        return answer["result"]


@dataclass(frozen=True, slots=True)
class _Running:
    """said: what the client printed."""

    process: subprocess.Popen[bytes]
    line: socket.socket
    said: IO[bytes]


class ApiProcess:
    """The process of `api_process.py`: started by the first request, and by the next one after its end.

    folder: where it runs. environ: all of its environment. stall_s: how long it may be silent.
    """

    def __init__(self, *, folder: Path, environ: Mapping[str, str], stall_s: float) -> None:
        self._folder, self._environ, self._stall_s = folder, environ, stall_s
        self._running: _Running | None = None

    @property
    def id(self) -> int | None:
        """Of the process that runs; None if none does."""
        return self._running.process.pid if self._running is not None else None

    def ask(self, request: Mapping[str, Any], on_progress: Callable[[str, int], None]) -> Mapping[str, Any]:
        """The last line of its answer.

        Raises: ClientError if it is silent for too long, or ends without an answer.
        """
        if self._running is None or self._running.process.poll() is not None:
            self.end()
            self._running = self._start()
        answer: Mapping[str, Any] | None = None
        try:
            answer = _answer(self._running.line, request, on_progress)
            if answer is None:
                raise ClientError(Fault.REFUSED, f"the client broke: {_last_line(self._running.said)}")
        except TimeoutError:
            raise ClientError(Fault.PASSING, "the client was silent for too long and was ended") from None
        finally:
            if answer is None:
                self.end()
        return answer

    def end(self) -> None:
        """End it, whatever it does: at the end of its answers it has nothing more to do."""
        if self._running is not None:
            self._running.line.close()
            self._running.process.kill()
            self._running.process.wait()
            self._running.said.close()
            self._running = None

    def _start(self) -> _Running:
        ours, theirs = socket.socketpair()
        ours.settimeout(self._stall_s)
        said = tempfile.TemporaryFile()  # noqa: SIM115
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", str(_PROCESS), str(theirs.fileno())],  # -P: no folder named `kaggle`
                cwd=self._folder,
                env=dict(self._environ),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=(theirs.fileno(),),
                preexec_fn=partial(end_with_parent, signal.SIGKILL),
            )
        return _Running(process, ours, said)


@contextmanager
def client_in(
    folder: Path, *, environ: Mapping[str, str], scrub: Callable[[str], str], stall_s: float
) -> Iterator[KaggleClient]:
    """The client in `folder`, where it finds what it is to send. environ: all of its environment; it is ended after."""
    process = ApiProcess(folder=folder, environ=environ, stall_s=stall_s)
    try:
        yield KaggleClient(process, scrub)
    finally:
        process.end()


def check_installed() -> str:
    """The client's version.

    Raises: MissingError if it, or what it needs without saying so, is not installed.
    """
    for pin in PINS:
        name = pin.partition("=")[0]
        if importlib.util.find_spec(name) is None:
            raise MissingError(f"{sys.executable}: has no package `{name}`; install it: pip install {' '.join(PINS)}")
    return importlib.metadata.version("kaggle")


def _answer(
    line: socket.socket, request: Mapping[str, Any], on_progress: Callable[[str, int], None]
) -> Mapping[str, Any] | None:
    """The last line of the answer to `request`; None if the process ended without one."""
    try:
        line.sendall(json.dumps(request).encode() + b"\n")
        with line.makefile("rb") as lines:
            for told in lines:
                answer: Mapping[str, Any] = read_json(told) if told.endswith(b"\n") else {}
                if "file" not in answer:
                    return answer or None
                on_progress(answer["file"], answer["num_bytes"])
    except ConnectionError:  # it ended before it had read the request
        pass
    return None


def _last_line(said: IO[bytes]) -> str:
    """Python tells last why a process broke."""
    said.seek(0)
    return said.read().decode(errors="replace").strip().rpartition("\n")[2] or "without a word"


def _known(words: type[_WordT], said: str) -> _WordT:
    try:
        return words(said)
    except ValueError as error:
        raise ClientError(Fault.REFUSED, f"it says {said!r}, which this kit does not know") from error
