"""The real `kaggle` client: started as a process for each call, with a clean environment, and answered in values.

In: what to ask. Out: typed values, or ClientError, whose fault is decided by the HTTP status and the kind of the
error alone. Nothing is asked of the user, and no secret stands in what is told. The client has no time limits of its
own: one that is silent for `stall_s` is ended, and its upload goes on where it was when it is started again.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from kit.errors import KitError, MissingError
from kit.linux import end_with_parent

PINS = ("kaggle==2.2.5", "six==1.17.0")  # the client imports six without declaring it
_WordT = TypeVar("_WordT", bound=Enum)
_PROCESS = Path(__file__).with_name("api_process.py")


class KaggleError(KitError, RuntimeError):
    """Kaggle, its client or the line to it did not do what was asked."""


class Fault(Enum):
    """What went wrong, by what can be done about it."""

    UNAUTHENTICATED = "the credentials are not accepted"
    FORBIDDEN = "Kaggle forbids it"
    ABSENT = "not found"
    NAME_IN_USE = "the name is in use"
    LIMITED = "too many requests"
    PASSING = "Kaggle or the line to it is failing"
    REFUSED = "Kaggle refuses it"


class ClientError(KaggleError):
    """One call that failed, and why in the server's words."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(f"{fault.value}: {text}")
        self.fault, self.text = fault, text


_BY_STATUS = {
    401: Fault.UNAUTHENTICATED,
    403: Fault.FORBIDDEN,
    404: Fault.ABSENT,
    408: Fault.PASSING,
    409: Fault.NAME_IN_USE,
    429: Fault.LIMITED,
}
_BY_KIND = {
    "line": Fault.PASSING,
    "storage": Fault.PASSING,  # of one file: sent again, it may be taken
    "credentials": Fault.UNAUTHENTICATED,
    "request": Fault.REFUSED,
}


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
class SavedKernel:
    """A version of a notebook that Kaggle has taken. lost: what could not be attached to it, by kind."""

    version: int
    url: str
    lost: Mapping[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class KaggleClient:
    """folder: where it runs. environ: all of its environment. scrub: strikes secrets from a text.

    Every method raises ClientError.
    """

    folder: Path
    environ: Mapping[str, str]
    scrub: Callable[[str], str]
    stall_s: float

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

    def create(self, folder: str, *, is_public: bool, on_progress: Callable[[str, int], None]) -> str:
        """The address of a new dataset of `folder`, relative to `self.folder`; on_progress: (file, its bytes sent)."""
        return str(self._call("create", on_progress, folder=folder, is_public=is_public))

    def add_version(self, folder: str, *, notes: str, on_progress: Callable[[str, int], None]) -> str:
        """As `create`, for a dataset that is there."""
        return str(self._call("add_version", on_progress, folder=folder, notes=notes))

    def push(self, folder: str) -> SavedKernel:
        """Save the notebook in `folder`, relative to `self.folder`, and have Kaggle run it."""
        return SavedKernel(**self._call("push", folder=folder))

    def run_status(self, ref: str) -> RunStatus:
        """Where the latest run of the notebook `owner/slug` is."""
        return _known(RunStatus, self._call("run_status", ref=ref))

    def submit(self, competition: str, *, ref: str, version: int, file: str, message: str) -> str:
        """Take part in the competition with the file that this version left; gives Kaggle's words."""
        how = {"competition": competition, "ref": ref, "version": version, "file": file, "message": message}
        return str(self._call("submit", **how))

    def _call(self, call: str, on_progress: Callable[[str, int], None] = lambda *_: None, /, **arguments: Any) -> Any:
        answers, answering = os.pipe()
        request = json.dumps({"call": call, **arguments})
        with open(answers, "rb", buffering=0) as stream, tempfile.TemporaryFile() as said:  # noqa: PTH123
            try:
                process = subprocess.Popen(
                    [sys.executable, "-P", str(_PROCESS), str(answering), request],  # -P: no folder named `kaggle`
                    cwd=self.folder,
                    env=dict(self.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    pass_fds=(answering,),
                    preexec_fn=partial(end_with_parent, signal.SIGKILL),
                )
            finally:
                os.close(answering)
            try:
                answer = self._listen(stream, on_progress)
            finally:
                process.kill()  # at the end of its answers it has nothing more to do
                process.wait()
            return self._result(answer, said)

    def _listen(self, stream: IO[bytes], on_progress: Callable[[str, int], None]) -> Mapping[str, Any]:
        """The last line of the answer; empty if the process ended without one."""
        answer: Mapping[str, Any] = {}
        rest = b""
        while select.select([stream], [], [], self.stall_s)[0]:
            chunk = stream.read(1 << 16)
            if not chunk:
                return answer
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                if "file" in answer:
                    on_progress(answer["file"], answer["num_bytes"])
        raise ClientError(Fault.PASSING, "the client was silent for too long and was ended")

    def _result(self, answer: Mapping[str, Any], said: IO[bytes]) -> Any:
        if "result" in answer:
            return answer["result"]
        if "error" not in answer:  # it broke, and Python told why last
            said.seek(0)
            words = said.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise ClientError(Fault.REFUSED, self.scrub(f"the client broke: {words or 'without a word'}"))
        error = answer["error"]
        raise ClientError(_fault(error["kind"], error["status"]), self.scrub(error["text"]))


def check_installed() -> str:
    """The client's version.

    Raises: MissingError if it, or what it needs without saying so, is not installed.
    """
    for pin in PINS:
        name = pin.partition("=")[0]
        if importlib.util.find_spec(name) is None:
            raise MissingError(f"{sys.executable}: has no package `{name}`; install it: pip install {' '.join(PINS)}")
    return importlib.metadata.version("kaggle")


def _known(words: type[_WordT], said: str) -> _WordT:
    try:
        return words(said)
    except ValueError as error:
        raise ClientError(Fault.REFUSED, f"it says {said!r}, which this kit does not know") from error


def _fault(kind: str, status: int | None) -> Fault:
    if kind != "http" or status is None:
        return _BY_KIND[kind]
    return _BY_STATUS.get(status, Fault.PASSING if status >= 500 else Fault.REFUSED)
