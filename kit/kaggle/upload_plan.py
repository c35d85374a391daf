"""What an upload is told and what it tells: where a dataset goes, how patient to be, and the events on the way.

Values only; `delivery` acts on them. Kaggle's rules for names and titles: field notes kaggle.md 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from kit.errors import check_fields

DEFAULT_SLUG = "mathllm-kit"
DEFAULT_NOTES = "uploaded by mathllm-kit"
DEFAULT_READY_S = 7200.0
LICENCES = (
    *("apache-2.0", "CC0-1.0", "CC-BY-3.0", "CC-BY-3.0-IGO", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0"),
    *("CC-BY-ND-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-3.0-IGO", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0"),
    *("GPL-2.0", "GPL-3.0", "LGPL-3.0", "AGPL-3.0", "FDL-1.3", "PDDL", "ODbL-1.0", "DbCL-1.0", "ODC-BY-1.0"),
    *("CDLA-Permissive-1.0", "CDLA-Sharing-1.0", "US-Government-Works", "EU-ODP-Legal-Notice"),
    *("copyright-authors", "other", "unknown"),
)  # Source: docs/datasets_metadata.md of Kaggle/kaggle-cli at 07bf072; the client sends any name, Kaggle refuses others
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_OWNER = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a dataset goes. owner: a username or organisation. title: the slug's words if None.

    is_public: for a new dataset; a version of one that is there keeps its visibility.
    """

    owner: str
    slug: str = DEFAULT_SLUG
    title: str | None = None
    licence: str = "other"
    is_public: bool = False
    notes: str = DEFAULT_NOTES

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("owner", _OWNER.fullmatch(self.owner) is not None, "a Kaggle username: a-z, 0-9 and -"),
                ("slug", _SLUG.fullmatch(self.slug) is not None, "of a-z, 0-9 and -"),
                ("slug", 6 <= len(self.slug) <= 50, "6 to 50 characters long"),
                ("title", self.title is None or 6 <= len(self.title) <= 50, "6 to 50 characters long"),
                ("licence", self.licence in LICENCES, f"one of {', '.join(LICENCES)}"),
                ("notes", bool(self.notes.strip()), "some text"),
            ),
        )

    @property
    def ref(self) -> str:
        """Owner and slug, as Kaggle writes them."""
        return f"{self.owner}/{self.slug}"

    @property
    def metadata(self) -> Mapping[str, object]:
        """The client's dataset-metadata.json."""
        title = self.title or self.slug.replace("-", " ")
        return {"id": self.ref, "title": title, "licenses": [{"name": self.licence}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
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
