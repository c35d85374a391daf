"""From a dry run that was laid out to what came of it: executed unless it was, reported, its timeline drawn.

In: a DryRun and the golds, if any are known. Out: an Outcome. Prints nothing.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from kit.engines.vllm.server.diagnosis import read_capacity
from kit.errors import EngineError, InputError
from kit.kaggle.dry_run.report import Report, load_in, make_report
from kit.kaggle.dry_run.run import DryRun, perform
from kit.kaggle.notebook.outages import outages_in
from kit.plots.timeline import read_timeline
from kit.solver.journal import Record, read_records

TIMELINE_NAME = "timeline.svg"
_TAIL_LINES = 25  # of what a notebook that failed has printed


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one run. timeline: its picture; None where nothing was sampled."""

    run: DryRun
    report: Report
    timeline: Path | None


def execute(run: DryRun, *, on_progress: Callable[[Sequence[Record]], None]) -> None:
    """Execute the notebook, which leaves a submission.

    Raises: InputError with the last lines of what it printed, if it failed.
    """
    # The picture's library takes a second to import, and nobody waits for it while the notebook runs.
    threading.Thread(target=_import_picture, daemon=True).start()
    if perform(run, on_progress=on_progress):
        raise InputError(f"the notebook failed; what it printed is in {run.output}:\n{_tail(run.output)}")


def outcome_of(run: DryRun, gold: Mapping[str, int]) -> Outcome:
    """What an executed run came to.

    Raises: MissingError or InputError for a submission that Kaggle would not accept.
    """
    records = run.records()
    report = make_report(
        run.problems,
        gold,
        run.solutions(),
        run.submission,
        outages=outages_in(records),
        load=load_in(records, limit_s=run.limit_s),
    )
    return Outcome(run=run, report=report, timeline=_drawn(run, gold))


def served_by_vllm(run: DryRun) -> str:
    """What vLLM chose when it last started, in its own numbers; empty where it has told nothing."""
    log = run.server_log
    capacity = read_capacity(log.read_text(encoding="utf-8", errors="replace")) if log.is_file() else None
    return "" if capacity is None else f"a context of {capacity.max_model_len:,} tokens, {capacity}"


def check_sampled(outcomes: Sequence[Outcome]) -> None:
    """Raise EngineError for a run in which the engine gave nothing: its submission looks like any other."""
    if not all(outcome.report.num_samples for outcome in outcomes):
        log = outcomes[0].run.log
        raise EngineError(f"no sample was ever drawn: every answer is a guess; the log is {log}")


def _import_picture() -> None:
    with suppress(ImportError):  # told when it is drawn
        import_module("kit.plots.timeline_picture")


def _drawn(run: DryRun, gold: Mapping[str, int]) -> Path | None:
    from kit.plots.timeline_picture import draw_timeline  # here, because it loads matplotlib

    path = run.folder / TIMELINE_NAME
    try:
        draw_timeline(read_timeline(read_records(run.journal), gold=gold), path)
    except InputError:  # there is nothing to draw
        return None
    return path


def _tail(path: Path) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", path.read_text(encoding="utf-8", errors="replace"))
    return "\n".join(text.splitlines()[-_TAIL_LINES:])
