"""Dry runs that are on disk: their journals, and the problems that they were asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.kaggle import facts

_ROOT = Path("kaggle")  # of a run's folder: what its notebook took for the machine's


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRun:
    """One run of `kit dry-run`. name: of its folder, below `--out`. journal, problems: its files."""

    name: str
    journal: Path
    problems: Path


def kept_runs(folder: Path) -> tuple[KeptRun, ...]:
    """The runs in a folder, which is a run's own or what `kit dry-run --out` named: then those of its last run.

    Two runs, as the competition scores them, are both given. Empty where there is none.
    """
    latest = sorted(folder.glob("run-[0-9][0-9][0-9][0-9]"))[-1:]
    for place in (folder, *latest):
        runs = [each for each in (place, *sorted(place.glob("[0-9]"))) if (each / _ROOT / facts.WORKING).is_dir()]
        kept = tuple(_kept(run) for run in runs)
        if kept:
            return kept
    return ()


def _kept(run: Path) -> KeptRun:
    # Here, so that a folder of another kind is told from a dry run's without the packages that a dry run needs.
    from kit.kaggle.dry_run.mounting import Layout
    from kit.kaggle.notebook.submission import JOURNAL_NAME

    name = run.name if run.name.startswith("run-") else f"{run.parent.name}-{run.name}"
    tables = [layout.competition(run / _ROOT / facts.INPUT) / facts.TEST_NAME for layout in Layout]
    problems = next((each for each in tables if each.is_file()), tables[0])
    return KeptRun(name=name, journal=run / _ROOT / facts.WORKING / JOURNAL_NAME, problems=problems)
