"""What an upload is told and what it tells: how patient to be, and the events on the way.

Values only; `delivery` acts on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kit.errors import check_fields

DEFAULT_READY_S = 7200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """num_attempts: in a row without a byte more, before giving up; pauses double from first_pause_s to max_pause_s.

    ready_s: the deadline of Kaggle's processing, asked about every poll_s. settle_s: how long a ready dataset's list
    may differ from what was sent. stall_s: how long the client may be silent; its own longest pause is two minutes.
    """

    num_attempts: int = 8
    first_pause_s: float = 5.0
    max_pause_s: float = 300.0
    poll_s: float = 10.0
    ready_s: float = DEFAULT_READY_S
    settle_s: float = 120.0
    stall_s: float = 600.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("num_attempts", self.num_attempts >= 1, "at least 1"),
                ("first_pause_s", 0 < self.first_pause_s <= self.max_pause_s, "above 0 and at most max_pause_s"),
                ("poll_s", self.poll_s > 0, "above 0"),
                ("ready_s", self.ready_s > 0, "above 0"),
                ("settle_s", self.settle_s >= 0, "0 or more"),
                ("stall_s", self.stall_s > 0, "above 0"),
            ),
        )

    def pause_s(self, num_failures: int) -> float:
        """The pause after so many failures in a row."""
        return float(min(self.first_pause_s * 2 ** (num_failures - 1), self.max_pause_s))


class Stage(Enum):
    """What an event is about."""

    CHECKING = "checking"
    SENDING = "sending"
    WAITING = "waiting"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Progress: done of total, bytes when checking or sending, seconds when waiting, nothing in a note."""

    stage: Stage
    text: str
    done: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A dataset that is ready and whole on Kaggle. was_sent: False if an earlier run had sent it."""

    ref: str
    url: str
    num_files: int
    size_bytes: int
    was_sent: bool
