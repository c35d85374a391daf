"""Dry runs that are on disk: their journals, and the problems that they were asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.kaggle import facts
from kit.kaggle.dry_run.run import Layout
from kit.kaggle.notebook.submission import JOURNAL_NAME

_ROOT = Path("kaggle")
_JOURNAL = _ROOT / facts.WORKING / JOURNAL_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRun:
    """One run of `kit dry-run`. name: of its folder, below `--out`. journal: it has begun one. problems: its CSV."""

    name: str
    journal: Path
    problems: Path


def kept_runs(folder: Path) -> tuple[KeptRun, ...]:
    """The runs in a folder, which is a run's own or what `kit dry-run --out` named: then those of its last run.

    Two runs, as the competition scores them, are both given. Empty where there is none.
    """
    latest = sorted(folder.glob("run-[0-9][0-9][0-9][0-9]"))[-1:]
    for place in (folder, *latest):
        journals = [each for each in (place / _JOURNAL, *sorted(place.glob(f"[0-9]/{_JOURNAL}"))) if each.is_file()]
        if journals:
            return tuple(_kept(journal.parents[len(_JOURNAL.parts) - 1], journal) for journal in journals)
    return ()


def _kept(place: Path, journal: Path) -> KeptRun:
    name = place.name if place.name.startswith("run-") else f"{place.parent.name}-{place.name}"
    inputs = place / _ROOT / facts.INPUT
    tables = [layout.competition(inputs) / facts.TEST_NAME for layout in Layout]
    return KeptRun(name=name, journal=journal, problems=next((each for each in tables if each.is_file()), tables[0]))
