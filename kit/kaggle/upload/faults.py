"""What may go wrong with Kaggle, its client or the line to it, by what can be done about it.

In: the kind of an error that `api_process` tells, its HTTP status and its text. Out: a Fault. The status and the kind
decide; only what is refused, forbidden or limited is told apart by Kaggle's words, for it has one status for many
reasons. What the fix is depends on what was asked, and stands there.
"""

from __future__ import annotations

import re
from enum import Enum

from kit.errors import KitError


class KaggleError(KitError, RuntimeError):
    """Kaggle, its client or the line to it did not do what was asked."""


class Fault(Enum):
    """What went wrong, by what can be done about it."""

    UNAUTHENTICATED = "the credentials are not accepted"
    FORBIDDEN = "Kaggle forbids it"
    ABSENT = "not found"
    NAME_IN_USE = "the name is in use"
    LIMITED = "too many requests"
    SESSIONS = "too many notebooks run"
    QUOTA = "a quota is used up"
    STORAGE = "a file is refused"
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
_BY_KIND = {"line": Fault.PASSING, "credentials": Fault.UNAUTHENTICATED, "request": Fault.REFUSED}
_BY_WORDS = {
    Fault.SESSIONS: re.compile(r"(?s)\A(?!.*quota).*(session count|GPU sessions?)", re.IGNORECASE),
    Fault.QUOTA: re.compile(
        r"quota|allowance|storage limit|submission limit|number of submissions|exceed\w* the (maximum|limit)",
        re.IGNORECASE,
    ),
}
"""Of what is refused, forbidden or limited: Kaggle has one status for many reasons, and the words alone tell these."""


def fault_of(kind: str, status: int | None, text: str) -> Fault:
    """The fault of an error. kind: as `api_process` names it; status: of HTTP, if there was one."""
    if kind == "storage":  # of one file: one that storage refuses may still be taken in a new session
        return Fault.STORAGE if status is not None and _of_status(status) is not Fault.PASSING else Fault.PASSING
    fault = _of_status(status) if kind == "http" and status is not None else _BY_KIND[kind]
    if fault not in (Fault.REFUSED, Fault.FORBIDDEN, Fault.LIMITED):
        return fault
    if fault is Fault.LIMITED and "request" in text.lower():  # a quota of requests passes
        return fault
    return next((each for each, words in _BY_WORDS.items() if words.search(text)), fault)


def _of_status(status: int) -> Fault:
    return _BY_STATUS.get(status, Fault.PASSING if status >= 500 else Fault.REFUSED)
