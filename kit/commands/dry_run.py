"""`kit dry-run`: run the submission on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit import assets
from kit.commands.choosing import add_engine, add_model, add_model_source, add_settings, with_server
from kit.commands.endings import end_as_by_ctrl_c
from kit.commands.progress import count_bar
from kit.commands.wheels import own_needs, wheelhouse
from kit.errors import MissingError
from kit.problem import read_gold, read_problems

if TYPE_CHECKING:
    from kit.kaggle.dataset.plan import Wheelhouse
    from kit.kaggle.dry_run.outcome import Outcome
    from kit.kaggle.dry_run.report import Report
    from kit.kaggle.dry_run.run import DryRun
    from kit.recipes.recipe_file import Choices

_SCORED_RUNS = 2  # the competition runs a notebook twice


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
    add_model_source(dry_run)
    dry_run.add_argument(
        "--out",
        type=Path,
        default=Path("out/dry-run"),
        metavar="DIR",
        help="where runs are kept (default: %(default)s)",
    )
    add_engine(dry_run)
    add_settings(dry_run)
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
    end_as_by_ctrl_c()  # stop the notebook, keep the journal
    read_problems(args.problems)  # bad input is told before heavy imports
    gold = read_gold(args.problems)

    from rich.console import Console

    from kit.lock import held
    from kit.recipes.recipe_file import chosen

    choices = chosen(args.config, args.set)

    console = Console(width=None if sys.stdout.isatty() else 120)
    with held(args.out):  # two at once would resume each other's run
        return _perform_all(_laid_out(args, choices, console), gold, console)


def _laid_out(args: argparse.Namespace, choices: Choices, console: Any) -> tuple[DryRun, ...]:
    from kit.engines.hub import find_model
    from kit.recipes.choices import engine_for

    try:
        from kit.kaggle.dry_run.mounting import Layout
        from kit.kaggle.dry_run.run import DryRunConfig, lay_out
    except ModuleNotFoundError as error:
        raise MissingError(f"no dry run: {error.name} is not installed; pip install 'mathllm-kit[kaggle]'") from error

    model = find_model(args.model)
    config = DryRunConfig(
        problems=args.problems,
        model=model,
        model_source=args.model_source,
        model_files=tuple(args.model_file),
        trm=args.trm,
        adapter=args.adapter,
        engine=engine_for(args.engine, model=model, trm=args.trm, adapter=args.adapter),
        wheels=None if args.wheels is None else wheelhouse(args.wheels),
        needs=_needs(console),
        out=args.out,
        rerun=not args.interactive,
        changes=with_server(args, choices.changes),
        fresh=args.fresh,
        num_runs=args.runs,
        seed=args.seed,
        layout=Layout(args.layout),
    )
    with choices.located():
        return lay_out(config, tell=lambda text: console.print(text, soft_wrap=True))


def _needs(console: Any) -> Wheelhouse | None:
    """What the kit itself needs; where no index is reached, this Python has the same, and a dry run goes on with it."""
    try:
        return own_needs()
    except MissingError as error:
        console.print(f"note: the kit's own needs are taken from this Python, and not from the dataset: {error}")
        return None


def _perform_all(dry_runs: Sequence[DryRun], gold: Mapping[str, int], console: Any) -> int:
    from kit.kaggle.dry_run.outcome import check_sampled, outcome_of

    if dry_runs[0].has_server:
        console.print(f"vLLM's log: {dry_runs[0].server_log} (its start takes half a minute)", soft_wrap=True)
    outcomes = []
    for dry_run in dry_runs:
        if not dry_run.is_done:  # before an interruption
            _execute(dry_run, console)
        outcomes.append(outcome_of(dry_run, gold))
        _print_outcome(outcomes[-1], console)
    if len(outcomes) == _SCORED_RUNS:
        _print_two_runs([outcome.report for outcome in outcomes], console)
    check_sampled(outcomes)
    return 0


def _execute(dry_run: DryRun, console: Any) -> None:
    from kit.kaggle.dry_run.outcome import execute

    total = len(dry_run.problems)
    if dry_run.resumed:
        console.print(f"resuming {dry_run.folder}: {len(dry_run.solutions())} of {total} were answered")
    console.print(f"network: {dry_run.command.isolation.value}; inputs: {dry_run.command.inputs.value}")
    with count_bar("executing the notebook", total, console=console) as on_count:
        execute(dry_run, on_progress=lambda done: on_count(len(done)))


def _print_outcome(outcome: Outcome, console: Any) -> None:
    from kit.kaggle.dry_run.outcome import served_by_vllm
    from kit.kaggle.dry_run.report import as_table, notes_on

    report = outcome.report
    console.print(as_table(report))
    if report.num_gold:
        console.print(f"right: {report.num_right} of {report.num_gold}")
    console.print(
        f"expected right, judged by the votes' shapes alone: {report.expected_right:.1f} of {len(report.lines)}"
    )
    for line in notes_on(report):
        console.print(line, soft_wrap=True)
    console.print(f"submission: {outcome.run.submission}\njournal:    {outcome.run.journal}", soft_wrap=True)
    if served := served_by_vllm(outcome.run):
        console.print(f"vLLM chose: {served}", soft_wrap=True)
    if outcome.timeline is not None:
        console.print(f"timeline:   {outcome.timeline}", soft_wrap=True)


def _print_two_runs(reports: Sequence[Report], console: Any) -> None:
    from kit.kaggle.dry_run.report import compare_runs

    both = compare_runs(*reports)
    console.print(
        f"two runs: {both.num_same} of {both.num_problems} answered alike, {both.num_same_votes} by the very same votes"
    )
    console.print(
        f"expected penalised score, judged by the votes' shapes alone: {both.expected:.1f} of {both.num_problems}"
    )
    if both.score is not None:
        console.print(f"penalised score (1 if both are right, 1/2 if one is): {both.score:g} of {both.num_gold}")
