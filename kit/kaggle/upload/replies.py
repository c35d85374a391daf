"""What the Kaggle client said, read: was it accepted, what went wrong, how far an upload is, what Kaggle lists.

In: lines of the client's output. Out: values. Pure: starts nothing, waits for nothing.

The client's exit status is not enough. A refused creation ends with 0, and release 2.2.4 ends with 0 after leaving
a file out. Its texts come in two forms, `404 Client Error: ...` or just the server's message, so both are read.
Source: kaggle 2.2.4 and 2.2.5 (cli.py, api/kaggle_api_extended.py), run against a loopback server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from kit.errors import KitError
from kit.kaggle.upload.guarded import DROPPED


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A client that ended. lines: of its output and errors in order, without bars. is_stalled: silent and killed."""

    status: int
    lines: tuple[str, ...] = ()
    is_stalled: bool = False


@dataclass(frozen=True, slots=True)
class ClientError:
    """A fault and the client's line that told it."""

    fault: Fault
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """Part of Kaggle's list: bytes by file name, and what to ask the next part with."""

    sizes_bytes: Mapping[str, int]
    next_token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How far an upload is, from the client's lines so far.

    file: the one being sent, of which `fraction` of what follows `start_bytes` is through. sent: whole ones.
    dropped: one that the client gave up. is_lost: its session cannot be resumed.
    """

    file: str | None = None
    start_bytes: int = 0
    fraction: float = 0.0
    sent: frozenset[str] = frozenset()
    dropped: str | None = None
    is_lost: bool = False

    def after(self, line: str) -> Sending:
        """The state after one more line of the client's output or errors."""
        if line.startswith(_STARTING):
            name = line.removeprefix(_STARTING)
            return Sending(file=name, sent=self.sent)
        if self.file is not None and line.startswith(f"Upload successful: {self.file} ("):
            return Sending(sent=self.sent | {self.file})
        if line.startswith(DROPPED):
            return replace(self, dropped=line.removeprefix(DROPPED))
        if match := _RESUMING.match(line):
            return replace(self, start_bytes=int(match[1]), fraction=0.0)
        if _LOST.match(line):
            return replace(self, is_lost=True)
        if match := _BAR.match(line):
            return replace(self, fraction=int(match[1]) / 100)
        return self

    def num_bytes(self, sizes_bytes: Mapping[str, int]) -> int:
        """Bytes through so far, given every file's size."""
        whole = sum(sizes_bytes.get(name, 0) for name in self.sent)
        if self.file is None:
            return whole
        return whole + self.start_bytes + int(self.fraction * (sizes_bytes.get(self.file, 0) - self.start_bytes))


_STARTING = "Starting upload for file "
_RESUMING = re.compile(r"Already uploaded -?\d+ bytes\. Will resume upload at (\d+)\.")
_LOST = re.compile(r"Upload of .* expired\.|Server returned 4\d\d\. Please try again")
_BAR = re.compile(r"\s*(\d{1,3})%\|")
_ANY_BAR = re.compile(r"\s*\d{1,3}%\||\s*[\d.]+[kMGT]?B \[")
_ACCEPTED = re.compile(
    r"(?:Your (?:private|public) Dataset|Dataset version) is being created\. Please check progress at (\S+)"
)
_CODE = re.compile(r"\b([45]\d\d) (?:Client|Server) Error\b|^([45]\d\d) - ")
_ROUTINE = (_STARTING, "Upload successful: ", "Already uploaded", "Warning: Looks like")
_HINTS = (  # release 2.2.5 adds one after the message; it tells the code where the message does not
    "The resource was not found.",
    "You don't have access to this resource.",
    "You have been rate limited.",
    "This is a problem on Kaggle's side",
)
_OWN_RETRY = "Will retry in"  # the client tries again by itself: not yet a fault
_CODES = {
    401: Fault.UNAUTHENTICATED,
    403: Fault.FORBIDDEN,
    404: Fault.ABSENT,
    408: Fault.PASSING,
    409: Fault.NAME_IN_USE,
    429: Fault.LIMITED,
}
_PHRASES = {
    Fault.NAME_IN_USE: r"already in use|already exists",
    Fault.UNAUTHENTICATED: r"authentication required|unauthenticated|unauthorized|invalid credentials",
    Fault.FORBIDDEN: r"denied|forbidden|not allowed|don't have access",
    Fault.LIMITED: r"rate.limit|too many requests",
    Fault.PASSING: r"ConnectionError|Connection(Pool| aborted| refused| reset| broken)|Max retries|timed out"
    r"|RemoteDisconnected|ProtocolError|IncompleteRead|SSLError|name resolution|internal (server )?error|unavailable"
    r"|Kaggle's side",
    Fault.ABSENT: r"not found",
}  # in this order: a message may hold the words of two


def is_bar(line: str) -> bool:
    """Whether a line is one state of a progress bar, which is not worth keeping."""
    return _ANY_BAR.match(line) is not None


def accepted_url(reply: Reply) -> str | None:
    """The new dataset's or version's address if Kaggle accepted it; anything but its plain yes is a no."""
    if reply.status != 0 or reply.is_stalled:
        return None
    matches = (_ACCEPTED.match(line) for line in reply.lines)
    return next((match[1] for match in matches if match), None)


def client_error(reply: Reply) -> ClientError:
    """Why a client did not do what was asked."""
    if reply.is_stalled:
        return ClientError(Fault.PASSING, "the client was silent for too long and was ended")
    said = [line for line in reply.lines if line.strip() and _OWN_RETRY not in line]
    if any(line.startswith("Authentication required") for line in said):
        return ClientError(Fault.UNAUTHENTICATED, "Authentication required to call the Kaggle API.")
    telling = [line for line in said if not line.startswith(_ROUTINE)]
    for number in reversed(range(len(telling))):
        fault = _fault_of(telling[number])
        if fault is not None:
            words = [line for line in telling[: number + 1] if not line.startswith(_HINTS)]
            return ClientError(fault, words[-1] if words else telling[number])
    return ClientError(Fault.REFUSED, said[-1] if said else f"the client ended with status {reply.status} and no word")


def dataset_status(reply: Reply) -> DatasetStatus | ClientError:
    """The answer to `datasets status`."""
    words = reply.lines[-1].split() if reply.status == 0 and reply.lines else []
    try:
        return DatasetStatus(words[-1]) if words else client_error(reply)
    except ValueError:
        return client_error(reply)


def version_number(reply: Reply) -> int | ClientError:
    """The answer to `datasets status --format json(current_version_number)`."""
    try:
        number = json.loads(reply.lines[-1])["current_version_number"] if reply.status == 0 else None
    except (ValueError, LookupError, TypeError):
        number = None
    return number if isinstance(number, int) else client_error(reply)


def page(reply: Reply) -> Page | ClientError:
    """The answer to `datasets files --format json`."""
    starts = [number for number, line in enumerate(reply.lines) if line.startswith("[")]
    if reply.status or not starts:
        return client_error(reply)
    try:
        files = json.loads("\n".join(reply.lines[starts[0] :]))
        sizes = {str(file["name"]): int(file["size"]) for file in files}
    except (ValueError, LookupError, TypeError):
        return client_error(reply)
    return Page(sizes, _next_token(reply.lines[: starts[0]]))


def _next_token(lines: Sequence[str]) -> str | None:
    start = "Next Page Token = "
    return next((line.removeprefix(start) for line in lines if line.startswith(start)), None)


def _fault_of(line: str) -> Fault | None:
    if match := _CODE.search(line):
        code = int(match[1] or match[2])
        return _CODES.get(code, Fault.PASSING if code >= 500 else Fault.REFUSED)
    return next((fault for fault, words in _PHRASES.items() if re.search(words, line, re.IGNORECASE)), None)
