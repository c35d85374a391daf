from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.budget import Budget, BudgetConfig
from kit.errors import InputError
from kit.kaggle import notebook
from kit.kaggle.environment import KaggleEnvironment
from kit.kaggle.gateway import Contest
from kit.kaggle.local_server import LocalInferenceServer
from kit.problem import Problem
from kit.solver_config import SolverConfig

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
    contest = Contest(never, budget=budget, journal=None, config=SolverConfig())  # type: ignore[arg-type]
    return notebook.Session(KaggleEnvironment(tmp_path, is_rerun=False), contest)


@pytest.fixture
def _clean_imports() -> Iterator[None]:
    path = sys.path.copy()
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith("kaggle_evaluation")]:
        del sys.modules[name]


def test_without_the_competitions_package_the_kits_own_server_serves(session: notebook.Session) -> None:
    assert isinstance(notebook.make_server(session), LocalInferenceServer)


@pytest.mark.usefixtures("_clean_imports")
@pytest.mark.parametrize("layout", ["input/aimo3", "input/competitions/aimo3"])
def test_the_competitions_own_package_is_used_when_it_is_mounted(session: notebook.Session, layout: str) -> None:
    package = session.environment.root / layout / "kaggle_evaluation"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "aimo_3_inference_server.py").write_text(SERVER)
    server = notebook.make_server(session)
    assert type(server).__module__ == "kaggle_evaluation.aimo_3_inference_server"
    assert [function.__name__ for function in server.functions] == ["predict"]  # type: ignore[attr-defined]


def test_no_journal_is_kept_where_nothing_can_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "working").write_text("a file where the folder should be")
    environment = KaggleEnvironment(tmp_path, is_rerun=True)
    assert notebook.open_journal(environment, notebook.Settings()) is None
    assert "no journal is kept" in caplog.text


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
        solution = session.contest.answer(Problem("a", "What is $1+1$?"))
    finally:
        session.contest.close()
        logging.root.handlers[1].close()
    assert solution.answer == 0
    assert solution.guess.endswith("attach the one the kit built")
    log = (tmp_path / "working" / "kit.log").read_text()
    assert "attach the one the kit built" in log
