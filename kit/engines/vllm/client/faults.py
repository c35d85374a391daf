"""How asking a server fails: it will not, it broke, or it says "later"."""

from __future__ import annotations

from kit.errors import EngineError


class RefusedError(EngineError):
    """The server will not do this; the reason is its own. status: of its answer; 0 where it came within a stream."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class BrokenError(EngineError):
    """The server did not answer, broke off, or sent what cannot be read. status: of its answer; 0 without one."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class BusyError(BrokenError):
    """The server says "later": it loads, or too many ask.

    retry_after_s: when, in its own words; None if not told.
    """

    def __init__(self, message: str, *, status: int, retry_after_s: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after_s = retry_after_s
