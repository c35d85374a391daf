"""`kit report`: a page of an evaluation or a dry run, or of several."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.errors import InputError, MissingError

if TYPE_CHECKING:
    from kit.kaggle.dry_run.finished import KeptRun


def add(commands: Any) -> None:
    """Declare the command."""
    report = commands.add_parser(
        "report",
        help="write an HTML page of an evaluation or a dry run, with every completion",
        description="Write one self-contained HTML page: the figures with their intervals, and every completion, to "
        "be searched, filtered and read side by side. RUN is a folder of `kit eval --out` or `kit dry-run --out`, "
        "whole or not; several of one kind give one page with a table that compares them. Of evaluations, report.md "
        "and results.json are written too.",
    )
    report.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a folder that holds a run")
    report.add_argument("--out", type=Path, metavar="DIR", help="where the page goes (default: the first run's folder)")
    report.add_argument(
        "--gold", type=Path, metavar="CSV", help="an AIMO CSV with the answers to a dry run's problems (default: none)"
    )
    report.set_defaults(run=report_command)


def report_command(args: argparse.Namespace) -> int:
    """`kit report`. Raises: MissingError for a folder without a run; InputError for runs of both kinds."""
    from kit.kaggle.dry_run.finished import kept_runs

    for folder in args.runs:
        if not folder.is_dir():
            raise MissingError(f"{folder}: no such folder; give one that `kit eval --out` or `kit dry-run --out` wrote")
    kept = [kept_runs(folder) for folder in args.runs]
    if any(kept) and not all(kept):
        other = next(folder for folder, runs in zip(args.runs, kept, strict=True) if not runs)
        raise InputError(f"{other}: is no dry run as the others are; make one page of each kind")
    out = args.out or args.runs[0]
    if any(kept):
        written = _write_dry_runs([run for runs in kept for run in runs], args.gold, out)
    else:
        written = _write_evaluations(args.runs, out)
    for path in written:
        print(path)
    return 0


def _write_evaluations(folders: Sequence[Path], out: Path) -> tuple[Path, ...]:
    from kit.evaluation.reading import read_run
    from kit.evaluation.report.contents import NamedRun
    from kit.evaluation.report.page import write_report

    names = names_of(folders)
    return write_report([NamedRun(name, read_run(folder)) for name, folder in zip(names, folders, strict=True)], out)


def _write_dry_runs(kept: Sequence[KeptRun], gold: Path | None, out: Path) -> tuple[Path, ...]:
    from kit.evaluation.report.dry_run import read_journal
    from kit.evaluation.report.page import write_dry_run_report
    from kit.problem import read_gold, read_problems

    golds = {} if gold is None else read_gold(gold)
    names = [run.name for run in kept]
    if len(set(names)) < len(names):
        names = [f"{run.name} ({number})" for number, run in enumerate(kept, start=1)]
    pairs = zip(names, kept, strict=True)
    runs = [read_journal(name, run.journal, read_problems(run.problems)) for name, run in pairs]
    return write_dry_run_report(runs, golds, out)


def names_of(folders: Sequence[Path]) -> list[str]:
    """The folders' names, or their whole paths where two are alike."""
    names = [folder.resolve().name for folder in folders]
    doubled = {name for name, count in Counter(names).items() if count > 1}
    return [str(folder) if name in doubled else name for name, folder in zip(names, folders, strict=True)]
