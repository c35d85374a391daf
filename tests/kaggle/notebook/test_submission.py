from __future__ import annotations

import dataclasses
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import polars as pl
import pytest
import trio

from kit.budget import Budget, BudgetConfig, process_clock
from kit.engines.scripted import Script, ScriptedEngine
from kit.errors import InputError
from kit.kaggle.dataset.manifest import MANIFEST_NAME, Manifest, WheelSet
from kit.kaggle.environment import SETTINGS_VARIABLE, KaggleEnvironment, Mounts
from kit.kaggle.evaluation_double.client import Client
from kit.kaggle.evaluation_double.server import LocalInferenceServer
from kit.kaggle.notebook import submission as notebook
from kit.kaggle.notebook.boundary import Competition
from kit.kaggle.notebook.submission import Attached, of_its_model, overridden
from kit.problem import Problem
from kit.recipes.settings import Settings
from kit.sampling import Engine
from kit.solver.config import SolverConfig
from kit.solver.journal import Journal, read_records

# A stand-in for the competition's package, as it lies in the competition's mount.
SERVER = """
class AIMO3InferenceServer:
    def __init__(self, *functions):
        self.functions = functions
"""


@pytest.fixture
def session(tmp_path: Path) -> notebook.Session:
    def never() -> None:
        raise AssertionError("no test here loads an engine")

    budget = Budget(BudgetConfig(), lambda: 0.0)
    competition = Competition(never, budget=budget, journal=None, config=SolverConfig())  # type: ignore[arg-type]
    environment = KaggleEnvironment(tmp_path, is_rerun=False)
    return notebook.Session(environment, Mounts.find(environment.input), competition)


@pytest.fixture
def _clean_imports() -> Iterator[None]:
    path = sys.path.copy()
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith("kaggle_evaluation")]:
        del sys.modules[name]


def test_without_the_competitions_package_the_kits_own_server_serves(session: notebook.Session) -> None:
    assert isinstance(notebook.make_server(session), LocalInferenceServer)


def package_in(folder: Path, code: str = SERVER) -> None:
    package = folder / "kaggle_evaluation"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "aimo_3_inference_server.py").write_text(code)


def served_by(session: notebook.Session) -> notebook.InferenceServer:
    mounts = Mounts.find(session.environment.input)
    return notebook.make_server(dataclasses.replace(session, mounts=mounts))


@pytest.mark.usefixtures("_clean_imports")
@pytest.mark.parametrize("layout", ["input/aimo3", "input/competitions/aimo3"])
def test_the_competitions_own_package_is_used_when_it_is_mounted(session: notebook.Session, layout: str) -> None:
    package_in(session.environment.root / layout)
    server = served_by(session)
    assert type(server).__module__ == "kaggle_evaluation.aimo_3_inference_server"
    assert [function.__name__ for function in server.functions] == ["predict"]  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_clean_imports")
@pytest.mark.parametrize("own", ["input/competitions/{}", "input/{}", "lib"])
def test_a_broken_copy_of_the_package_in_a_dataset_is_not_used(
    session: notebook.Session, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    """By path it came first, and its error ended the run. `lib` stands for a package that is on the path already."""
    package_in(session.environment.root / "input/a-dataset", "raise ImportError('an old copy')")
    folder = session.environment.root / own.format("ai-mathematical-olympiad-progress-prize-3")
    package_in(folder)
    if own == "lib":
        monkeypatch.syspath_prepend(str(folder))
    server = served_by(session)
    assert [function.__name__ for function in server.functions] == ["predict"]  # type: ignore[attr-defined]


def test_no_journal_is_kept_where_nothing_can_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "working").write_text("a file where the folder should be")
    environment = KaggleEnvironment(tmp_path, is_rerun=True)
    attached = Attached(Mounts.find(environment.input), within_s=60)
    assert notebook.open_journal(environment, attached, notebook.Settings(), within_s=60) is None
    assert "no journal is kept" in caplog.text


def test_a_disk_that_hangs_does_not_keep_the_server_from_listening(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A pipe that nobody reads is opened as on a disk that hangs."""
    environment = KaggleEnvironment(tmp_path, is_rerun=True)
    environment.working.mkdir(parents=True)
    pipe = environment.working / notebook.JOURNAL_NAME
    os.mkfifo(pipe)
    attached, settings = Attached(Mounts.find(environment.input), within_s=60), notebook.Settings()
    try:
        assert notebook.open_journal(environment, attached, settings, within_s=0.1) is None
        assert "no journal is kept" in caplog.text
    finally:
        os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))  # the thread goes on, and ends


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[KaggleEnvironment]:
    """A dataset whose manifest is read as on a disk that hangs: it is a pipe into which nobody writes."""
    pipe = tmp_path / "input" / "mathllm-kit" / MANIFEST_NAME
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    environment = KaggleEnvironment(tmp_path, is_rerun=True)
    environment.working.mkdir()
    yield environment
    writer = os.open(pipe, os.O_RDWR)  # the readers go on, one after another, and end
    pipe.unlink()
    os.close(writer)


def test_a_dataset_on_a_disk_that_hangs_is_gone_on_without(
    hanging: KaggleEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    attached, settings = Attached(Mounts.find(hanging.input), within_s=0.1), Settings()
    assert of_its_model(settings, attached) is settings
    assert "the model's own sampling is not known" in caplog.text
    journal = notebook.open_journal(hanging, attached, settings, within_s=60)
    assert journal is not None
    with journal:
        assert "not read within 0.1 s" in caplog.text


def test_a_journal_of_which_nobody_can_tell_whose_it_is_is_gone_on_with(hanging: KaggleEnvironment) -> None:
    """It was put aside, as another run's, and its votes with it: all that there is where the model cannot be read."""
    with Journal.open(hanging.working / notebook.JOURNAL_NAME, run={"dataset": "of before"}) as earlier:
        earlier.append({"kind": "seed", "seed": 5})
    attached = Attached(Mounts.find(hanging.input), within_s=0.1)
    journal = notebook.open_journal(hanging, attached, Settings(), within_s=60)
    assert journal is not None
    with journal:
        assert notebook.seed_of_run(Settings(), journal) == 5


def test_the_run_itself_goes_on_without_a_dataset_that_hangs(
    hanging: KaggleEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # prepare sets logging up for the whole process
    is_over = '{"budget": {"limit_s": 0.1, "reserve_s": 0}}'
    session = notebook.prepare(environ={"KIT_KAGGLE_ROOT": str(hanging.root), "KIT_SETTINGS": is_over})
    try:
        assert session.competition.answer(Problem("a", "What is $1+1$?")).answer in range(100_000)
    finally:
        session.competition.close()
        logging.root.handlers[1].close()
    assert "not read within 1 s" in (hanging.working / "kit.log").read_text()


def test_the_server_listens_while_the_model_is_still_loading_and_the_first_call_waits_for_it(tmp_path: Path) -> None:
    """The gateway gives up after 900 s without a server; its first call has no deadline."""
    is_loaded = threading.Event()
    engine = ScriptedEngine(lambda prompt, params: Script(text=r"\boxed{7}", seconds=0.01))

    @asynccontextmanager
    async def load() -> AsyncIterator[Engine]:
        assert await trio.to_thread.run_sync(is_loaded.wait, 60)
        yield engine

    competition = Competition(load, budget=Budget(BudgetConfig(), process_clock()), journal=None, config=SolverConfig())
    environment = KaggleEnvironment(tmp_path, is_rerun=True)
    with competition, ThreadPoolExecutor(1) as asking:
        server = notebook.make_server(notebook.Session(environment, Mounts.find(environment.input), competition))
        assert isinstance(server, LocalInferenceServer)
        with server:
            client = Client(ports=(server.port,), startup_limit_s=60, answer_deadline_s=60)
            client.connect()  # it listens
            answer = asking.submit(client.send, "predict", pl.Series(["a"]), pl.Series(["What is $3+4$?"]))
            assert not answer.done()
            is_loaded.set()
            assert answer.result(60)["answer"].to_list() == [7]
            client.close()


def attach_wheels(root: Path, *, python: str) -> None:
    """A dataset of the kit whose wheels are for this Python."""
    folder = root / "input" / "mathllm-kit"
    folder.mkdir(parents=True)
    name = f"kaggle-cp{python.replace('.', '')}"
    wheels = WheelSet(
        target=name, python=python, glibc="2.17", cuda=None, lock="wheels/pylock.toml", versions=("a==1",)
    )
    Manifest(kit_version="1", commit="abc", entries=(), wheels=wheels).save(folder)


def test_wheels_for_another_python_end_the_unscored_run_at_once_with_the_target_to_build(tmp_path: Path) -> None:
    attach_wheels(tmp_path, python="3.1")
    here = f"cp{sys.version_info.major}{sys.version_info.minor}"
    with pytest.raises(InputError, match=rf"are for Python 3\.1 .* build the dataset with `--wheels kaggle-{here}`"):
        notebook.prepare(environ={"KIT_KAGGLE_ROOT": str(tmp_path)})


def test_in_the_scored_rerun_wheels_for_another_python_are_logged_and_every_problem_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach_wheels(tmp_path, python="3.1")
    (tmp_path / "working").mkdir()
    monkeypatch.setattr(logging.root, "handlers", [])  # prepare sets logging up for the whole process
    session = notebook.prepare(environ={"KIT_KAGGLE_ROOT": str(tmp_path), "KAGGLE_IS_COMPETITION_RERUN": ""})
    try:
        assert session.competition.answer(Problem("a", "What is $1+1$?")).answer in range(100_000)
    finally:
        session.competition.close()
        logging.root.handlers[1].close()
    assert "the wheels will not install: target kaggle-cp31" in (tmp_path / "working" / "kit.log").read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "not JSON"), ("[1]", "must be a JSON object"), ('{"budgte": {}}', "did you mean 'budget'")],
)
def test_settings_from_outside_that_make_no_sense_are_refused_before_anything_runs(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        notebook.prepare(environ={"KIT_KAGGLE_ROOT": str(tmp_path), "KIT_SETTINGS": text})


def test_with_no_dataset_attached_every_problem_is_still_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "working").mkdir()
    monkeypatch.setattr(logging.root, "handlers", [])  # prepare sets logging up for the whole process
    session = notebook.prepare(environ={"KIT_KAGGLE_ROOT": str(tmp_path)})
    try:
        solution = session.competition.answer(Problem("a", "What is $1+1$?"))
    finally:
        session.competition.close()
        logging.root.handlers[1].close()
    assert solution.answer == 0
    assert solution.guess.endswith("attach the one the kit built")
    log = (tmp_path / "working" / "kit.log").read_text()
    assert "attach the one the kit built" in log
    records = list(read_records(tmp_path / "working" / "journal.jsonl"))
    (startup,) = [record for record in records if record["kind"] == "startup"]
    assert (startup["step"], startup["outcome"]) == ("restore", "failed")
    assert "attach the one the kit built" in startup["note"]


def test_the_environment_changes_settings() -> None:
    assert overridden(Settings(), {}) == Settings()
    assert overridden(Settings(), {SETTINGS_VARIABLE: '{"seed": 3}'}).seed == 3
    for text, says in (("{", "is not JSON"), ("[]", "must be a JSON object"), ('{"sed": 1}', "did you mean 'seed'")):
        with pytest.raises(InputError, match=says):
            overridden(Settings(), {SETTINGS_VARIABLE: text})
