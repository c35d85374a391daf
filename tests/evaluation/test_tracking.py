from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from kit.errors import MissingError, StorageError
from kit.evaluation.tracking import FIGURES_NAME, TENSORBOARD_FOLDER, tracked

VALUES = {"done": 1.0, "accuracy,strict": 0.5}

# A stand-in for W&B and trackio, which the tests' environment has neither of: what both take, kept in a file.
DOUBLE = """
import json, pathlib

def _add(what):
    with pathlib.Path({path!r}).open("a") as file:
        file.write(json.dumps(what) + chr(10))

class Run:
    def log(self, values, step): _add([values, step])
    def finish(self): _add("finished")

_run = Run()
log, finish = _run.log, _run.finish

def init(project, name, config, **others):
    _add([project, name, config])
    return _run
"""


def test_figures_are_json_lines_that_a_resumed_run_adds_to(tmp_path: Path) -> None:
    for step in (1, 2):
        with tracked(None, tmp_path, {}) as track:
            track(VALUES, step)
    lines = [json.loads(line) for line in (tmp_path / FIGURES_NAME).read_text().splitlines()]
    assert lines == [{"step": 1, **VALUES}, {"step": 2, **VALUES}]


def test_nothing_is_written_before_the_first_figures(tmp_path: Path) -> None:
    with tracked("tensorboard", tmp_path, {}):
        pass
    assert not list(tmp_path.iterdir())


def test_tensorboard_shows_every_figure_at_its_step(tmp_path: Path) -> None:
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with tracked("tensorboard", tmp_path, {"seed": 0}) as track:
        track(VALUES, 1)
        track({**VALUES, "done": 2.0}, 2)
    events = loading.EventAccumulator(str(tmp_path / TENSORBOARD_FOLDER)).Reload()
    assert sorted(events.Tags()["scalars"]) == sorted(VALUES)
    assert [(event.step, event.value) for event in events.Scalars("done")] == [(1, 1.0), (2, 2.0)]
    assert (tmp_path / FIGURES_NAME).is_file()


@pytest.mark.parametrize("tracker", ["wandb", "trackio"])
def test_the_trackers_of_others_are_told_the_head_the_figures_and_the_end(
    tmp_path: Path, tracker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    (tmp_path / f"{tracker}.py").write_text(DOUBLE.format(path=str(told)))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, tracker, raising=False)
    (tmp_path / "run").mkdir()
    with tracked(tracker, tmp_path / "run", {"seed": 3}) as track:  # type: ignore[arg-type]
        track(VALUES, 1)
    sys.modules.pop(tracker)
    first, logged, last = told.read_text().splitlines()
    assert json.loads(first) == ["mathllm-kit", "run", {"seed": 3}]
    assert json.loads(logged) == [VALUES, 1]
    assert json.loads(last) == "finished"


def test_a_tracker_that_is_not_installed_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with (
        pytest.raises(MissingError, match="--track trackio: trackio is not installed"),
        tracked("trackio", tmp_path, {}),
    ):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with tracked(None, tmp_path / "absent", {}) as track, pytest.raises(StorageError, match=FIGURES_NAME):
        track(VALUES, 1)
