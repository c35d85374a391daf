"""`kit dry-run`: run the submission on this machine."""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit import assets
from kit.commands.build import add_model
from kit.commands.wheels import OUT as WHEELS
from kit.config import nested
from kit.errors import EngineError, InputError, MissingError
from kit.problem import read_gold, read_problems

if TYPE_CHECKING:
    from kit.kaggle.dataset.bundle import Wheelhouse
    from kit.kaggle.dry_run.report import Report
    from kit.kaggle.dry_run.run import DryRun

VLLM_PYTHON = ".venv-vllm/bin/python"  # of `make environment-vllm`
_SCORED_RUNS = 2  # the competition runs a notebook twice
TIMELINE_NAME = "timeline.svg"
IN_ORDER: Mapping[str, Any] = {"solver": {"in_order": True}}
"""So that answers follow from the samples alone, and not from which of them ended first."""


def add(commands: Any) -> None:
    """Declare the command."""
    dry_run = commands.add_parser(
        "dry-run",
        help="run the submission on this machine, offline",
        description="Build the dataset, execute notebooks/submission.ipynb with a real kernel and no network, "
        "answer the problems through Kaggle's protocol, and show what would be scored. An interrupted run is "
        "resumed; a finished one is kept and the next gets a folder of its own.",
        epilog="`kit settings` lists what --set takes, with the defaults of a submission.",
    )
    dry_run.add_argument(
        "--problems", type=Path, default=assets.SAMPLE_PROBLEMS, metavar="CSV",
        help="an AIMO CSV, id,problem with or without answer (default: the shipped sample)",
    )  # fmt: skip
    add_model(dry_run)
    dry_run.add_argument(
        "--out",
        type=Path,
        default=Path("out/dry-run"),
        metavar="DIR",
        help="where runs are kept (default: %(default)s)",
    )
    dry_run.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting; may be given again"
    )
    dry_run.add_argument(
        "--engine", choices=("transformers", "trm", "vllm", "vllm-trm"), default="transformers",
        help="trm: the recursive model on top, with the ladder of depths T = 3, 5, 10; vllm, vllm-trm: the same by a "
        "vLLM server, from `make environment-vllm` unless --set engine.vllm.python says another (default: %(default)s)",
    )  # fmt: skip
    dry_run.add_argument(
        "--wheels", metavar="TARGET",
        help="install from out/wheels/TARGET (`kit wheels fetch --target cpu`), as the notebook does on Kaggle "
        "(default: use the packages of this Python)",
    )  # fmt: skip
    dry_run.add_argument(
        "--layout", choices=("new", "old"), default="new",
        help="old: mounts as before 2026, each by its slug alone; both are still met (default: %(default)s)",
    )  # fmt: skip
    dry_run.add_argument(
        "--interactive", action="store_true", help="as an interactive session runs it, not as the scored rerun does"
    )
    dry_run.add_argument(
        "--runs", type=int, choices=(1, _SCORED_RUNS), default=1,
        help="2: as the competition scores it, with different seeds, and report agreement and the penalised score",
    )  # fmt: skip
    dry_run.add_argument(
        "--seed", type=int, metavar="S",
        help="the seed of every run, whose samples are then counted in order, so that a deterministic engine gives "
        "identical answers (default: 0, 1 for two runs)",
    )  # fmt: skip
    dry_run.add_argument("--fresh", action="store_true", help="begin anew even if the last run was interrupted")
    dry_run.set_defaults(run=dry_run_command)


def dry_run_command(args: argparse.Namespace) -> int:
    """`kit dry-run`: run the submission on this machine, offline, and report."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)  # as Ctrl-C: stop the notebook, keep the journal
    read_problems(args.problems)  # bad input is told before heavy imports
    gold, changes = read_gold(args.problems), nested(args.set)

    from rich.console import Console

    from kit.lock import held

    console = Console(width=None if sys.stdout.isatty() else 120)
    with held(args.out):  # two at once would resume each other's run
        return _perform_all(args, gold, changes, console)


def _perform_all(args: argparse.Namespace, gold: Mapping[str, int], changes: Mapping[str, Any], console: Any) -> int:
    from kit.kaggle.dry_run.run import DryRunConfig, Layout, lay_out, merged

    kind = _named(changes, "kind") or args.engine  # --set engine.kind says more than --engine
    changes = _engine_changes(kind, changes, has_wheels=args.wheels is not None)
    if kind.endswith("trm"):
        args.trm = args.trm or _untrained_trm(args.model, args.out, console)
    if args.seed is not None:
        changes = merged(IN_ORDER, changes)
    console.print(f"checking the input and building the dataset from {args.model} …", soft_wrap=True)
    dry_runs = lay_out(
        DryRunConfig(
            problems=args.problems,
            model=args.model,
            trm=args.trm,
            wheels=_wheelhouse(args.wheels),
            out=args.out,
            rerun=not args.interactive,
            changes=changes,
            fresh=args.fresh,
            seeds=tuple(range(args.runs)) if args.seed is None else (args.seed,) * args.runs,
            layout=Layout(args.layout),
        )
    )
    if kind.startswith("vllm"):
        console.print(f"vLLM's log: {dry_runs[0].server_log} (its start takes half a minute)", soft_wrap=True)
    reports = [_report(dry_run, gold, console) for dry_run in dry_runs]
    if len(reports) == _SCORED_RUNS:
        _print_two_runs(reports, console)
    if not all(report.num_samples for report in reports):
        raise EngineError(f"no sample was ever drawn: every answer is a guess; the log is {dry_runs[0].log}")
    return 0


def _engine_changes(kind: str, changes: Mapping[str, Any], *, has_wheels: bool) -> Mapping[str, Any]:
    """The settings with this engine; vLLM's Python is the checkout's own unless the wheels bring one, or it was named.

    Raises: MissingError where there is none, before anything is built.
    """
    from kit.kaggle.checkout import SOURCE
    from kit.kaggle.dry_run.run import RECURSIVE, merged
    from kit.kaggle.notebook.vllm import check_python

    layers: list[Mapping[str, Any]] = [{"engine": {"kind": kind}}]
    if kind.endswith("trm"):
        layers.append(RECURSIVE)
    if kind.startswith("vllm") and not has_wheels:
        python = SOURCE / VLLM_PYTHON
        if not python.is_file() and not _named(changes, "vllm", "python"):
            raise MissingError(f"no vLLM in {python.parent.parent}; `make environment-vllm` installs its CPU build")
        layers.append({"engine": {"vllm": {"python": str(python)}}})
    told = merged(*layers, changes)
    if not (named := _named(told, "vllm", "python")):
        return told
    python = Path(named).absolute()  # the notebook runs in a folder of its own
    check_python(python, needs_plugin=kind == "vllm-trm")
    return merged(told, {"engine": {"vllm": {"python": str(python)}}})


def _named(changes: Mapping[str, Any], *names: str) -> str:
    """The text that is set for the engine under these names; empty where there is none."""
    place: Any = changes.get("engine")
    for name in names:
        place = place.get(name) if isinstance(place, Mapping) else None
    return place if isinstance(place, str) else ""


def _wheelhouse(target: str | None) -> Wheelhouse | None:
    from kit.kaggle.checkout import SOURCE
    from kit.kaggle.dataset.bundle import Wheelhouse
    from kit.kaggle.wheels.lockfile import lock_path

    return None if target is None else Wheelhouse(lock_path(SOURCE / "wheels", target), WHEELS / target)


def _report(dry_run: DryRun, gold: Mapping[str, int], console: Any) -> Report:
    """Execute it, unless that was done before an interruption, and print what it came to."""
    from kit.kaggle.dry_run.report import as_table, guess_lines, make_report

    if not dry_run.is_done and _perform(dry_run, console):
        raise InputError(f"the notebook failed; what it printed is in {dry_run.output}:\n{_tail(dry_run.output)}")
    report = make_report(dry_run.problems, gold, dry_run.solutions(), dry_run.submission)
    console.print(as_table(report))
    if report.num_gold:
        console.print(f"right: {report.num_right} of {report.num_gold}")
    console.print(
        f"expected right, judged by the votes' shapes alone: {report.expected_right:.1f} of {len(report.lines)}"
    )
    for line in guess_lines(report):
        console.print(line, soft_wrap=True)
    console.print(f"submission: {dry_run.submission}\njournal:    {dry_run.journal}", soft_wrap=True)
    timeline = _drawn(dry_run, gold)
    if timeline is not None:
        console.print(f"timeline:   {timeline}", soft_wrap=True)
    return report


def _drawn(dry_run: DryRun, gold: Mapping[str, int]) -> Path | None:
    """The run's timeline as a picture; None where nothing was sampled."""
    from kit.plots.timeline import read_timeline
    from kit.plots.timeline_picture import draw_timeline
    from kit.solver.journal import read_records

    path = dry_run.folder / TIMELINE_NAME
    try:
        draw_timeline(read_timeline(read_records(dry_run.journal), gold=gold), path)
    except InputError:
        return None
    return path


def _print_two_runs(reports: Sequence[Report], console: Any) -> None:
    from kit.kaggle.dry_run.report import compare_runs

    both = compare_runs(*reports)
    console.print(
        f"two runs: {both.num_same} of {both.num_problems} answered alike, {both.num_same_votes} by the very same votes"
    )
    expected = sum(report.expected_right for report in reports) / len(reports)
    console.print(f"expected penalised score, judged by the votes' shapes alone: {expected:.1f} of {both.num_problems}")
    if both.score is not None:
        console.print(f"penalised score (1 if both are right, 1/2 if one is): {both.score:g} of {both.num_gold}")


def _untrained_trm(model: Path, out: Path, console: Any) -> Path:
    """A recursive model that changes nothing yet, so that the engine can be tried before one is trained."""
    from kit.trm.checkpoint import save_untrained

    folder = out / "trm-untrained"
    console.print(f"no --trm given: making an untrained one in {folder}, which answers exactly as {model} does")
    save_untrained(folder, backbone_folder=model)
    return folder


def _perform(dry_run: DryRun, console: Any) -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from kit.kaggle.dry_run.run import perform

    total = len(dry_run.problems)
    if dry_run.resumed:
        console.print(f"resuming {dry_run.folder}: {len(dry_run.solutions())} of {total} were answered")
    console.print(f"network: {dry_run.command.isolation.value}; inputs: {dry_run.command.inputs.value}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("executing the notebook", total=total)
        return perform(dry_run, on_progress=lambda done: progress.update(task, completed=len(done)))


def _tail(path: Path, num_lines: int = 25) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", path.read_text(encoding="utf-8", errors="replace"))
    return "\n".join(text.splitlines()[-num_lines:])
