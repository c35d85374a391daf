"""`kit`: the command line. Parses, calls one function, prints; a KitError becomes one line, not a traceback.

Heavy modules are imported by the command that needs them, so that `kit --help` answers at once.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit import __version__, assets
from kit.errors import EngineError, InputError, KitError
from kit.problem import read_gold, read_problems

if TYPE_CHECKING:
    from kit.kaggle.dry_run import Rehearsal

OUT = Path("out")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (0 well, 1 a fault that was explained, 130 interrupted)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows `?`, not a traceback
    args = _parser().parse_args(argv)
    try:
        status: int = args.run(args)
    except KitError as error:
        print(f"kit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nkit: interrupted; the same command goes on from the journal", file=sys.stderr)
        return 130
    return status


def build_command(args: argparse.Namespace) -> int:
    """`kit build`: write the Kaggle dataset and list what entered it."""
    from kit.kaggle.bundle import build

    bundle = build(args.out, model=args.model, trm=args.trm)
    for entry in bundle.manifest.entries:
        print(f"{entry.size_bytes:>14,}  {entry.sha256[:12]}  {entry.file}")
    num_files = len(bundle.manifest.entries)
    print(f"{bundle.size_bytes:>14,}  bytes in {num_files} files, and the manifest: {bundle.folder}")
    return 0


def dry_run_command(args: argparse.Namespace) -> int:
    """`kit dry-run`: rehearse the submission on this machine, offline, and report."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)  # as Ctrl-C: stop the notebook, keep the journal
    read_problems(args.problems)  # bad input is told before heavy imports
    gold, changes = read_gold(args.problems), nested(args.set)

    from rich.console import Console

    from kit.lock import held

    console = Console(width=None if sys.stdout.isatty() else 120)
    with held(args.out):  # two at once would resume each other's run
        return _rehearse(args, gold, changes, console)


def _rehearse(args: argparse.Namespace, gold: Mapping[str, int], changes: Mapping[str, Any], console: Any) -> int:
    from kit.kaggle.dry_run import RECURSIVE, DryRun, lay_out, merged
    from kit.kaggle.report import as_table, guess_lines, make_report

    if args.engine == "trm":
        changes = merged(RECURSIVE, changes)
        args.trm = args.trm or _untrained_trm(args.model, args.out, console)
    console.print(f"checking the input and building the dataset from {args.model} …", soft_wrap=True)
    rehearsal = lay_out(
        DryRun(
            problems=args.problems,
            model=args.model,
            trm=args.trm,
            out=args.out,
            rerun=not args.interactive,
            changes=changes,
            fresh=args.fresh,
        )
    )
    status = _perform(rehearsal, console)
    if status:
        raise InputError(f"the notebook failed; what it printed is in {rehearsal.output}:\n{_tail(rehearsal.output)}")
    report = make_report(rehearsal.problems, gold, rehearsal.solutions(), rehearsal.submission)
    console.print(as_table(report))
    if report.num_gold:
        console.print(f"right: {report.num_right} of {report.num_gold}")
    console.print(f"submission: {rehearsal.submission}\njournal:    {rehearsal.journal}", soft_wrap=True)
    for line in guess_lines(report):
        console.print(line, soft_wrap=True)
    if not report.num_samples:
        raise EngineError(f"no sample was ever drawn: every answer is a guess; the log is {rehearsal.log}")
    return 0


def settings_command(args: argparse.Namespace) -> int:
    """`kit settings`: every setting by the name that --set takes, with a submission's and a dry run's value."""
    from kit.config import described, replaced
    from kit.kaggle.dry_run import SQUEEZED
    from kit.kaggle.notebook import Settings

    submission, rehearsal = Settings(), replaced(Settings(), SQUEEZED)
    for line, squeezed in zip(described(submission), described(rehearsal), strict=True):
        print(line if line == squeezed else f"{line:<44} (dry run: {squeezed.partition('=')[2]})")
    return 0


def nested(assignments: Sequence[str]) -> Mapping[str, Any]:
    """`["solver.width=4"]` as `{"solver": {"width": 4}}`; values are JSON, or text where they are not.

    Raises: InputError for an assignment without a name or a `=`.
    """
    result: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not (name and equals):
            raise InputError(f"--set {assignment!r}: expected NAME=VALUE, for example solver.width=4")
        *groups, last = name.split(".")
        place = result
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise InputError(f"--set {assignment!r}: {group!r} was already given a value")
        place[last] = _value(text)
    return result


def _untrained_trm(model: Path, out: Path, console: Any) -> Path:
    """A recursive model that changes nothing yet, so that the engine can be rehearsed before one is trained."""
    from kit.trm.checkpoint import save_untrained

    folder = out / "trm-untrained"
    console.print(f"no --trm given: making an untrained one in {folder}, which answers exactly as {model} does")
    save_untrained(folder, backbone_folder=model)
    return folder


def _perform(rehearsal: Rehearsal, console: Any) -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from kit.kaggle.dry_run import perform

    total = len(rehearsal.problems)
    if rehearsal.resumed:
        console.print(f"resuming {rehearsal.folder}: {len(rehearsal.solutions())} of {total} were answered")
    console.print(f"network: {rehearsal.command.isolation.value}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("executing the notebook", total=total)
        return perform(rehearsal, on_progress=lambda done: progress.update(task, completed=len(done)))


def _tail(path: Path, num_lines: int = 25) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", path.read_text(encoding="utf-8", errors="replace"))
    return "\n".join(text.splitlines()[-num_lines:])


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kit", description="From a laptop to a Kaggle submission that runs offline.")
    parser.add_argument("--version", action="version", version=f"kit {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_dry_run(commands)
    _add_build(commands)
    settings = commands.add_parser("settings", help="list what --set takes, with the defaults")
    settings.set_defaults(run=settings_command)
    return parser


def _add_dry_run(commands: Any) -> None:
    dry_run = commands.add_parser(
        "dry-run",
        help="rehearse the submission on this machine, offline",
        description="Build the dataset, execute notebooks/submission.ipynb with a real kernel and no network, "
        "answer the problems through Kaggle's protocol, and show what would be scored. An interrupted run is "
        "resumed; a finished one is kept and the next gets a folder of its own.",
        epilog="`kit settings` lists what --set takes, with the defaults of a submission.",
    )
    dry_run.add_argument(
        "--problems", type=Path, default=assets.SAMPLE_PROBLEMS, metavar="CSV",
        help="an AIMO CSV, id,problem with or without answer (default: the shipped sample)",
    )  # fmt: skip
    _add_model(dry_run)
    dry_run.add_argument(
        "--out", type=Path, default=OUT / "dry-run", metavar="DIR", help="where runs are kept (default: %(default)s)"
    )
    dry_run.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting; may be given again"
    )
    dry_run.add_argument(
        "--engine", choices=("transformers", "trm"), default="transformers",
        help="trm: the recursive model on top, with the ladder of depths T = 3, 5, 10 (default: %(default)s)",
    )  # fmt: skip
    dry_run.add_argument(
        "--interactive", action="store_true", help="as an interactive session runs it, not as the scored rerun does"
    )
    dry_run.add_argument("--fresh", action="store_true", help="begin anew even if the last run was interrupted")
    dry_run.set_defaults(run=dry_run_command)


def _add_build(commands: Any) -> None:
    build = commands.add_parser(
        "build", help="write the Kaggle dataset", description="Write the kit's wheel, the model and a manifest."
    )
    _add_model(build)
    build.add_argument("--out", type=Path, default=OUT / "dataset", metavar="DIR", help="default: %(default)s")
    build.set_defaults(run=build_command)


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", type=Path, default=assets.TINY_MODEL, metavar="DIR",
        help="a Hugging Face causal LM folder with safetensors (default: the shipped tiny model)",
    )  # fmt: skip
    command.add_argument(
        "--trm", type=Path, metavar="DIR", help="a recursive model (TRM) for this very model, as kit.trm saves it"
    )


if __name__ == "__main__":
    sys.exit(main())
