"""What was pushed last from a folder: which version, and what Kaggle was asked to attach to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from kit.json_text import read_json
from kit.whole_file import written_whole

_NAME = "pushed.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """A version that Kaggle has taken and runs. asked: its kernel-metadata.json.

    contents: hash of all that a push depends on, the dataset's files too; None where the dataset is not known.
    """

    ref: str
    version: int
    url: str
    asked: Mapping[str, Any]
    contents: str | None = None

    @property
    def run_ref(self) -> str:
        """This very version, as the client takes it."""
        return f"{self.ref}/{self.version}"

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
