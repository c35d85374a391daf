"""What was pushed last from a folder: which version, and what Kaggle was asked to attach to it.

It is set aside before a push, because the outcome of that one may stay unknown, and a version of before must never be
followed or submitted in its place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from kit.json_text import read_json
from kit.kaggle.transfer import storing
from kit.whole_file import written_whole

_NAME = "pushed.json"
_BEFORE = "pushed-before.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """A version that Kaggle has taken and runs. asked: its kernel-metadata.json.

    contents: hash of all that a push depends on, the dataset's files too; None where the dataset is not known.
    is_read_back: whether Kaggle was seen to have it as asked.
    """

    ref: str
    version: int
    url: str
    asked: Mapping[str, Any]
    contents: str | None = None
    is_read_back: bool = True

    def save(self, work: Path) -> None:
        """Keep it in `work` as the last one. Raises: StorageError."""
        with written_whole(work / _NAME) as path:
            path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, work: Path, ref: str) -> Self | None:
        """The one kept in `work`; None if there is none of the notebook `ref`."""
        try:
            pushed = cls(**read_json((work / _NAME).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return pushed if pushed.ref == ref else None


def set_aside(work: Path) -> None:
    """Let no version count as the one pushed last from `work`. Raises: StorageError."""
    with storing(work / _BEFORE):
        (work / _BEFORE).unlink(missing_ok=True)  # of a push whose outcome stayed unknown: never to come back
        if (work / _NAME).exists():
            (work / _NAME).replace(work / _BEFORE)


def put_back(work: Path) -> None:
    """Undo `set_aside`, after a push that Kaggle surely did not take. Raises: StorageError."""
    if (work / _BEFORE).exists():
        with storing(work / _NAME):
            (work / _BEFORE).replace(work / _NAME)
