"""What the submission notebook calls: `prepare`, then `serve`.

prepare: finds what is attached, opens the journal, and begins the graph of startup steps (`notebook.startup`). A disk
that hangs is waited for once; the run goes on without what it holds, and logs that.
serve: answers through the competition's own server, or through the kit's where there is none. It listens at once,
however long the model takes: the gateway gives up after a while without a server (`facts.STARTUP_LIMIT_S`), but its
first call has no deadline, so that call waits for the model (docs/kaggle.md#evaluation).
In the scored rerun neither raises for a broken dataset or model: every problem is then answered by a logged guess.
In any other run, whose answers nobody scores, both do, so that a version that could only guess is never submitted.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import kit
from kit.budget import Budget, process_clock
from kit.config import machine_facts, replaced
from kit.errors import InputError, KitError, MissingError, StorageError
from kit.json_text import read_json
from kit.kaggle import facts
from kit.kaggle.dataset.manifest import MANIFEST_NAME, load_manifest
from kit.kaggle.dataset.model_facts import mounted_facts
from kit.kaggle.environment import SETTINGS_VARIABLE, KaggleEnvironment, Mounts
from kit.kaggle.evaluation_double.server import LocalInferenceServer
from kit.kaggle.notebook.boundary import ANSWER_S, Competition
from kit.kaggle.notebook.log_file import PatientFileHandler
from kit.kaggle.notebook.outages import EngineNews
from kit.kaggle.notebook.predict import predict_function
from kit.kaggle.notebook.startup import check_wheels, open_attempts
from kit.kaggle.notebook.startup_graph import Timing
from kit.kaggle.transfer import sha256_of
from kit.kaggle.wheels.install import Host
from kit.models.own_values import guesses
from kit.recipes.of_model import filled, origins
from kit.recipes.settings import Settings
from kit.sampling import Engine
from kit.solver.journal import Journal, Record, read_records
from kit.tasks import QueueThread

log = logging.getLogger(__name__)

_ResultT = TypeVar("_ResultT")

JOURNAL_NAME = "journal.jsonl"
OPEN_S = 30.0
"""In which the journal is open: on a disk that works, one of a gigabyte is. There is no server before."""
READ_S = 60.0
"""In which the small files of what is attached are read: manifest, the model's config. There is no server before."""
LOG_NAME = "kit.log"


class InferenceServer(Protocol):
    """What kaggle_evaluation's server and the kit's own have in common."""

    def serve(self) -> None:
        """Listen; in the scored rerun, for ever."""

    def run_local_gateway(self, data_paths: tuple[str, ...], /) -> object:
        """Ask the problems of a CSV and write submission.parquet into the current folder."""


@dataclass(frozen=True, slots=True)
class Session:
    """A competition that is ready to be served."""

    environment: KaggleEnvironment
    mounts: Mounts
    competition: Competition


class Attached:
    """What is attached, read beside whoever asks, who waits no longer than within_s, and once for a disk that hangs."""

    def __init__(self, mounts: Mounts, *, within_s: float) -> None:
        self.mounts = mounts
        self._within_s = within_s
        self._reader = QueueThread(name="reading of what is attached")

    def read(self, function: Callable[[Mounts], _ResultT]) -> _ResultT:
        """Call the function. Raises: StorageError if it is not done in time; what it raises."""
        try:
            return self._reader.do(partial(function, self.mounts), within_s=self._within_s)
        except TimeoutError:
            raise StorageError(
                f"{self.mounts.root}: not read within {self._within_s:g} s, so the run goes on without; if the disk is "
                "merely slow, run the notebook again"
            ) from None


def prepare(
    settings: Settings | None = None, *, dataset: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Session:
    """Start everything that takes time, and return at once.

    dataset: the kit's; None for the first that is attached.

    Raises: InputError for settings that make no sense, before anything runs; outside of the scored rerun also for
    wheels of another machine.
    """
    environment = KaggleEnvironment.detect(environ)
    settings = overridden(settings or Settings(), environ)
    _log_to(environment.working / LOG_NAME)
    budget = Budget(settings.budget, process_clock())
    mounts = Mounts.find(environment.input).with_dataset(dataset)
    patience_s = max(ANSWER_S, budget.allot_s(0) / 2)  # of the first problem's time the disks may take half each
    attached = Attached(mounts, within_s=min(READ_S, patience_s))
    _check_machine(attached, is_rerun=environment.is_rerun)
    settings = of_its_model(settings, attached)
    journal = open_journal(environment, attached, settings, within_s=min(OPEN_S, patience_s))
    attempts = settings.attempts(seed=seed_of_run(settings, journal))

    def open_engine() -> AbstractAsyncContextManager[Engine]:
        keep = partial(_keep, journal)
        return open_attempts(environment, mounts, attempts, clock=budget.clock, on_timing=keep)

    competition = Competition(open_engine, budget=budget, journal=journal, config=attempts.solver)
    competition.start()
    log.info("kit %s from %s; %.1f s since the process started", kit.__version__, kit.__file__, budget.clock())
    return Session(environment, mounts, competition)


def overridden(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """The settings with what SETTINGS_VARIABLE changes in them.

    Raises: InputError for a variable that is no JSON object, or changes what cannot be changed.
    """
    text = environ.get(SETTINGS_VARIABLE)
    if not text:
        return settings
    try:
        changes = read_json(text)
    except ValueError as error:
        raise InputError(f"{SETTINGS_VARIABLE} is not JSON ({error}): {text!r}") from None
    if not isinstance(changes, dict):
        raise InputError(f"{SETTINGS_VARIABLE} must be a JSON object, got {text!r}")
    return replaced(settings, changes)


def of_its_model(settings: Settings, attached: Attached) -> Settings:
    """The settings with the model's own values where none is set; as they are, and logged, without a readable model."""
    if not settings.engine.is_of_folder:
        return settings
    try:
        facts = attached.read(lambda mounts: mounted_facts(mounts.dataset(), mounts=mounts.root))
        own = filled(settings, facts)
    except (KitError, OSError) as error:  # the startup graph tells it again, where it matters
        log.warning("the model's own sampling is not known, the kit's is taken: %s", error)
        return settings
    if guessed := guesses(facts):
        log.warning("%s", guessed)
    told = origins(settings, facts, ()).items()
    log.info("%s", ", ".join(f"{name.rpartition('.')[2]}={value} ({source})" for name, (value, source) in told))
    return own


def serve(session: Session) -> None:
    """Answer the competition's problems. In the scored rerun this never returns.

    Raises: in any other run, whose `submission.parquet` nobody scores, what the gateway raises, and EngineError with
    the cause if no sample was drawn: Kaggle then calls the version failed, and it cannot be submitted.
    """
    if session.competition.is_closed:
        raise InputError("this session was served already; run the Prepare cell again")
    server = make_server(session)
    if session.environment.is_rerun:
        server.serve()
        return
    try:
        with contextlib.chdir(session.environment.working):
            server.run_local_gateway((str(session.mounts.test_csv()),))
        session.competition.check_sampled()
    finally:
        session.competition.close()


def make_server(session: Session) -> InferenceServer:
    """The competition's own server if its package is mounted, else the kit's, on the same protocol."""
    predict = predict_function(session.competition)
    mounted = session.mounts.kaggle_evaluation()
    is_on_path = importlib.util.find_spec(facts.EVALUATION_PACKAGE) is not None  # Kaggle may have put it there
    if mounted is None and not is_on_path:
        level = logging.WARNING if session.environment.is_rerun else logging.INFO
        log.log(level, "no kaggle_evaluation is mounted; serving with the kit's own server, on loopback only")
        return LocalInferenceServer(predict)
    if mounted is not None and is_on_path and not session.mounts.has_own_evaluation:
        mounted = None
    if mounted is not None:
        sys.path.insert(0, str(mounted))
    log.info("serving with kaggle_evaluation from %s", mounted or "the path")
    module = importlib.import_module(f"{facts.EVALUATION_PACKAGE}.{facts.SERVER_MODULE}")
    server: InferenceServer = getattr(module, facts.SERVER_CLASS)(predict)
    return server  # the annotation is what checks it


def open_journal(
    environment: KaggleEnvironment, attached: Attached, settings: Settings, *, within_s: float
) -> Journal | None:
    """The run's journal; None, logged, where nothing can be written or the disk hangs: answers matter more.

    Where what is attached cannot be read in time, nobody can tell whether the journal that is there is of this run. It
    is gone on with: its votes may be all that there is to answer by.
    """
    run: dict[str, Any] = {"kit": kit.__version__, "settings": asdict(settings), "machine": machine_facts()}
    try:
        run |= attached.read(_dataset_facts)
        opening = partial(Journal.open, environment.working / JOURNAL_NAME, run=run, patience_s=ANSWER_S)
    except StorageError as error:
        log.error("the journal does not tell which dataset this is: %s", error)
        opening = partial(_any_journal, environment.working / JOURNAL_NAME, run)
    try:
        return QueueThread(name="opening of the journal").do(opening, within_s=within_s)
    except (StorageError, TimeoutError):
        log.exception("no journal is kept")
        return None


def _any_journal(path: Path, run: Record) -> Journal:
    """The journal at `path`, of whatever run it is; one of this run where there is none."""
    with contextlib.suppress(OSError, StopIteration):
        run = next(read_records(path))
    return Journal.open(path, run=run, patience_s=ANSWER_S)


def seed_of_run(settings: Settings, journal: Journal | None) -> int:
    """The seed that is set, or that the journal of the interrupted run holds, or a new one, which is kept there."""
    if settings.seed is not None:
        return settings.seed
    for record in journal.past("seed") if journal is not None else ():
        return int(record["seed"])
    seed = secrets.randbelow(1 << 32)
    if journal is not None:
        with contextlib.suppress(StorageError):  # a full disk: the run is as good without its seed on record
            journal.append({"kind": "seed", "seed": seed})
    return seed


def _check_machine(attached: Attached, *, is_rerun: bool) -> None:
    """Tell at once, minutes before the install would, that the dataset's wheels are not for this machine.

    Raises: InputError with the target to build; in the scored rerun it is only logged.
    """
    try:
        check_wheels(attached.read(lambda mounts: load_manifest(mounts.dataset())), Host.here())
    except MissingError:
        pass  # of a dataset that is not there, the start tells
    except InputError as error:
        if not is_rerun:
            raise
        log.error("the wheels will not install: %s", error)
    except OSError as error:
        log.error("it is not known whether the wheels will install: %s", error)


def _keep(journal: Journal | None, timing: Timing | EngineNews) -> None:
    """Put a startup step, or what became of the engine, on record, if there is a record."""
    if journal is not None:
        with contextlib.suppress(StorageError):  # a full disk: the model is as good without it
            journal.append(timing.record())


def _dataset_facts(mounts: Mounts) -> dict[str, str]:
    """What tells one dataset from another, for the journal's head."""
    try:
        dataset = mounts.dataset()
        return {"dataset": sha256_of(dataset / MANIFEST_NAME), "commit": load_manifest(dataset).commit}
    except (KitError, OSError) as error:
        return {"dataset": str(error)}


def _log_to(path: Path) -> None:
    """Log to standard error and, where it can be written, to a file that stays with the run."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    with contextlib.suppress(OSError):
        handlers.append(PatientFileHandler(path))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=handlers, force=True
    )
