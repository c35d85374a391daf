"""How asking a server fails: it will not, it broke, or it says "later"."""

from __future__ import annotations

from kit.errors import EngineError


class RefusedError(EngineError):
    """The server will not do this; the reason is its own."""


class BrokenError(EngineError):
    """The server did not answer, broke off, or sent what cannot be read."""


class BusyError(BrokenError):
    """The server says "later": it loads, or too many ask.

    status: of its answer. retry_after_s: when, in its own words; None if not told.
    """

    def __init__(self, message: str, *, status: int, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s
