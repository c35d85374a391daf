"""A dry run of the submission on this machine: the real notebook, no network, Kaggle's protocol.

Builds the dataset, lays it and the problems out like Kaggle's mounts, old or new, executes the notebook in a kernel
without a network that can only read them, and reads back what it left. A run that was interrupted is resumed from
its journal.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.config import merged, replaced
from kit.engines.text.model_folder import read_facts
from kit.errors import InputError, cannot_write
from kit.kaggle import facts
from kit.kaggle.dataset.bundle import build
from kit.kaggle.dataset.manifest import MANIFEST_NAME
from kit.kaggle.dataset.plan import DatasetPlan, Wheelhouse
from kit.kaggle.dry_run.choices import dry_run_settings
from kit.kaggle.dry_run.mounting import Layout, as_csv, mount, mount_model
from kit.kaggle.environment import ROOT_VARIABLE, SETTINGS_VARIABLE
from kit.kaggle.evaluation_double.gateway import as_the_gateway_reads, check_questions
from kit.kaggle.notebook.submission import JOURNAL_NAME, LOG_NAME
from kit.kaggle.offline import OfflineCommand, with_network, without_network
from kit.kaggle.transfer import sha256_of
from kit.kaggle.upload.kernel import NOTEBOOK
from kit.models.own_values import guesses
from kit.problem import Problem, read_problems
from kit.recipes.choices import check_no_recursion, chosen_trm, engine_kind
from kit.recipes.settings import Settings
from kit.recipes.vllm import SERVER_FOLDER
from kit.solver.journal import Record, read_records

OUTPUT_NAME = "output.log"
_DESCRIPTION_NAME = "run.json"
_POLL_S = 0.2
_STOP_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunConfig:
    """What to run.

    problems: an AIMO CSV; its answers, if any, are kept from the notebook. model: a Hugging Face folder.
    model_source: the Kaggle Model as which it is mounted; None puts it into the dataset. model_files: that the dataset
    holds for it. trm: a recursive model for it; None: as `chosen_trm`.
    adapter: a LoRA for it. engine: as `--engine` names it.
    wheels: to install from; None takes what this Python has, as a notebook without wheels takes what the image has.
    needs: of the kit itself, as every dataset for Kaggle holds them; None takes those of this Python, too.
    out: where runs go, one folder each. rerun: as the scored rerun does, else as an interactive session.
    changes: settings on top of a dry run's own, nested as in `Settings`. fresh: do not resume. layout: of the mounts.
    num_runs: the competition scores two, whose seeds differ. seed: of every run, whose samples are then counted in
    order; None: 0 for the first run, 1 for the second.
    """

    problems: Path
    model: Path
    model_source: str | None = None
    model_files: tuple[Path, ...] = ()
    trm: Path | None = None
    adapter: Path | None = None
    engine: str = "transformers"
    wheels: Wheelhouse | None = None
    needs: Wheelhouse | None = None
    out: Path
    rerun: bool = True
    changes: Mapping[str, Any] = field(default_factory=dict)
    fresh: bool = False
    num_runs: int = 1
    seed: int | None = None
    layout: Layout = Layout.NEW

    @property
    def seeds(self) -> tuple[int, ...]:
        """One for each run."""
        return tuple(range(self.num_runs)) if self.seed is None else (self.seed,) * self.num_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """A dry run that has been laid out: its folders, and the command that executes it."""

    folder: Path
    resumed: bool
    problems: tuple[Problem, ...]
    command: OfflineCommand
    settings: Mapping[str, Any]

    @property
    def is_done(self) -> bool:
        """Whether it was executed to its end, now or before the dry run was interrupted."""
        return self.submission.exists()

    @property
    def has_server(self) -> bool:
        """Whether a vLLM server samples."""
        return str(self.settings["engine"]["kind"]).startswith("vllm")

    @property
    def working(self) -> Path:
        """The notebook's output folder."""
        return self.folder / "kaggle" / facts.WORKING

    @property
    def journal(self) -> Path:
        """Everything the run computed."""
        return self.working / JOURNAL_NAME

    @property
    def submission(self) -> Path:
        """What Kaggle would score."""
        return self.working / facts.SUBMISSION_NAME

    @property
    def log(self) -> Path:
        """What the kit logged inside the notebook."""
        return self.working / LOG_NAME

    @property
    def server_log(self) -> Path:
        """What a vLLM server wrote."""
        return self.folder / "kaggle" / facts.SCRATCH / SERVER_FOLDER / "server.log"

    @property
    def output(self) -> Path:
        """What the notebook's processes printed."""
        return self.folder / OUTPUT_NAME

    @property
    def limit_s(self) -> float:
        """The notebook's time, from its start on."""
        return replaced(Settings(), self.settings).budget.limit_s

    def records(self) -> tuple[Record, ...]:
        """The journal's so far."""
        return tuple(read_records(self.journal)) if self.journal.exists() else ()

    def solutions(self) -> tuple[Record, ...]:
        """The journal's solution records so far, the last one of each problem."""
        solutions = (record for record in self.records() if record["kind"] == "solution")
        return tuple({record["problem"]: record for record in solutions}.values())


def lay_out(run: DryRunConfig, *, tell: Callable[[str], object] = lambda _: None) -> tuple[DryRun, ...]:
    """Check the input, build the dataset, and lay everything out like Kaggle's mounts, once for each seed.

    tell: is told what takes a while before it begins.
    Raises: MissingError, InputError or StorageError for bad input, before anything long has begun.
    """
    problems = read_problems(run.problems)
    check_questions(run.problems, problems, as_the_gateway_reads(run.problems, as_csv(problems).encode()))
    settings = dry_run_settings(
        run.changes,
        engine=run.engine,
        model=run.model,
        num_problems=len(problems),
        has_wheels=run.wheels is not None,
        in_order=run.seed is not None,
    )
    if not NOTEBOOK.is_file():
        raise InputError(f"{NOTEBOOK}: not found; a dry run needs a checkout of the kit")
    replaced(Settings(), settings)  # refuse here what the notebook would refuse minutes later
    kind = engine_kind(run.engine, run.changes)
    check_no_recursion(kind, run.adapter)
    trm = chosen_trm(run.trm, kind=kind, model=run.model, out=run.out, tell=tell)
    if guessed := guesses(read_facts(run.model)) if kind != "openai" else "":
        tell(guessed)
    tell(f"checking the input and building the dataset from {run.model} …")
    out = run.out.resolve()  # the notebook runs in another folder
    plan = DatasetPlan(
        model=run.model,
        model_source=run.model_source,
        model_files=run.model_files,
        trm=trm,
        adapter=run.adapter,
        wheels=run.wheels,
        needs=run.needs,
    )
    bundle = build(out / "dataset", plan)
    description = {
        "problems": [problem.key for problem in problems],
        "settings": settings,
        "rerun": run.rerun,
        "layout": run.layout,
        "seeds": run.seeds,
        "dataset": sha256_of(bundle.folder / MANIFEST_NAME),
    }
    folder, resumed = _run_folder(out, json.dumps(description, indent=1, sort_keys=True), run)
    return tuple(
        _dry_run(run, each, problems, merged(settings, {"seed": seed}), bundle.folder, resumed=resumed)
        for each, seed in zip(_folders(folder, len(run.seeds)), run.seeds, strict=True)
    )


def _dry_run(
    run: DryRunConfig,
    folder: Path,
    problems: tuple[Problem, ...],
    settings: Mapping[str, Any],
    dataset: Path,
    *,
    resumed: bool,
) -> DryRun:
    root = folder / "kaggle"
    test_csv = mount(dataset, problems, root, run.layout)
    if run.model_source is not None:
        mount_model(dataset, run.model, run.layout.model(root / facts.INPUT, run.model_source))
    is_remote = settings["engine"].get("kind") == "openai"
    command = _command(folder, root, rerun_csv=test_csv if run.rerun else None, is_remote=is_remote)
    return DryRun(folder=folder, resumed=resumed, problems=problems, command=command, settings=settings)


def perform(dry_run: DryRun, *, on_progress: Callable[[Sequence[Record]], None]) -> int:
    """Execute it; calls `on_progress` with the solutions so far, a few times a second. Returns the exit status.

    On Ctrl-C the notebook is stopped, the journal stays, and KeyboardInterrupt goes on.
    """
    environ = {
        **os.environ,
        **dry_run.command.environ,
        SETTINGS_VARIABLE: json.dumps(dry_run.settings),
        ROOT_VARIABLE: str(dry_run.folder / "kaggle"),
    }
    with dry_run.output.open("ab") as output:
        # A session of its own, so that Ctrl-C reaches this process alone, which then stops all of them.
        process = subprocess.Popen(
            dry_run.command.argv, env=environ, stdout=output, stderr=output, start_new_session=True
        )
        with _stopped_at_the_end(process):
            while process.poll() is None:
                on_progress(dry_run.solutions())
                time.sleep(_POLL_S)
    on_progress(dry_run.solutions())
    return process.returncode


def _command(folder: Path, root: Path, *, rerun_csv: Path | None, is_remote: bool) -> OfflineCommand:
    module = "kit.kaggle.dry_run.execution"
    argv = [sys.executable, "-P", "-m", module, "--notebook", str(NOTEBOOK), "--root", str(root)]
    if rerun_csv is not None:
        argv += ["--rerun-csv", str(rerun_csv)]
    if is_remote:
        return with_network(argv)
    return without_network(argv, scratch=folder / "no-network", read_only=[root / facts.INPUT])


@contextmanager
def _stopped_at_the_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ask the process's group to stop, and kill it if it does not."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _run_folder(out: Path, description: str, run: DryRunConfig) -> tuple[Path, bool]:
    """The latest run's folder if it is this very run, unfinished; else a new one."""
    runs = sorted(out.glob("run-[0-9][0-9][0-9][0-9]"))
    if runs and not run.fresh and _is_unfinished(runs[-1], description, len(run.seeds)):
        return runs[-1], True
    last = int(runs[-1].name.removeprefix("run-")) if runs else 0
    folder = out / f"run-{last + 1:04}"
    try:
        folder.mkdir()
        (folder / _DESCRIPTION_NAME).write_text(description, encoding="utf-8")
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder, False


def _folders(folder: Path, num_runs: int) -> list[Path]:
    """Where each of the runs goes."""
    return [folder] if num_runs == 1 else [folder / str(number) for number in range(1, num_runs + 1)]


def _is_unfinished(folder: Path, description: str, num_runs: int) -> bool:
    described = folder / _DESCRIPTION_NAME
    finished = [each / "kaggle" / facts.WORKING / facts.SUBMISSION_NAME for each in _folders(folder, num_runs)]
    is_same = described.is_file() and described.read_text(encoding="utf-8") == description
    return is_same and not all(each.exists() for each in finished)
