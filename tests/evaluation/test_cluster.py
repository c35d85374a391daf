"""Runs over a local Ray cluster of two workers; each test starts Ray in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kit import cli
from kit.errors import InputError
from kit.evaluation.cluster import Cluster, Worker, _cell_record, _cpus_each, _without_examples
from kit.evaluation.reading import JOURNAL_NAME, read_run
from kit.evaluation.run_records import completion_of, key_of
from kit.sampling import Engine
from tests.evaluation.asked import data, gsm8k_file, plan, scripted
from tests.evaluation.test_run import completion_keys, drawn, texts

# The engine and its opener are of `__main__`, so that they travel to the workers as they are.
ASKING = """
import os, sys, time
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, os.getcwd())
from kit.engines.scripted import ScriptedEngine
from kit.evaluation.cluster import Cluster, evaluate_on_cluster
from kit.evaluation.run import Listener
from tests.evaluation.asked import data, head, plan, written

out, dies, num_kept = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
mark = out.with_suffix(".died")


def make():
    import sys

    sys.path.insert(0, REPO)
    from kit.engines.scripted import ScriptedEngine
    from tests.evaluation.asked import written

    num_asked = 0

    def write(prompt, params):
        nonlocal num_asked
        num_asked += 1
        if dies == "always" and num_asked > 3:
            os._exit(1)
        if dies == "once" and num_asked > 10 and not mark.exists():
            mark.touch()
            os._exit(1)
        return written(prompt, params)

    return ScriptedEngine(write)


REPO = os.getcwd()


@asynccontextmanager
async def open_engine():
    if dies == "at the start":
        from kit.errors import MissingError

        raise MissingError("no model folder here")
    yield make()


kept = 0


def stop(completion):
    global kept
    kept += 1
    if num_kept and kept >= num_kept:
        os._exit(9)  # as SIGKILL of the one that asks


asked = plan(data=data(16))
if __name__ == "__main__":
    cluster = Cluster(address="local", num_workers=2)
    listener = Listener(on_completion=stop)
    run = evaluate_on_cluster(cluster, asked, open_engine, head=head(asked), out=out, listener=listener)
    print("whole", run.is_whole)
"""


def asked_of_cluster(
    out: Path, repo: Path, *, dies: str = "never", num_kept: int = 0
) -> subprocess.CompletedProcess[str]:
    out.parent.mkdir(exist_ok=True, parents=True)
    script = out.with_suffix(".py")
    script.write_text(ASKING)
    command = [sys.executable, str(script), str(out), dies, str(num_kept)]
    with tempfile.TemporaryDirectory(prefix="kit-", dir="/tmp") as place:  # what a killed run leaves goes with it
        environ = {**os.environ, "TMPDIR": place}
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=repo, env=environ)


@pytest.mark.long
def test_a_killed_worker_costs_no_row_and_none_is_there_twice(tmp_path: Path, repo: Path) -> None:
    pytest.importorskip("ray")
    done = asked_of_cluster(tmp_path / "run", repo, dies="once")
    assert done.stdout.splitlines()[-1:] == ["whole True"], done.stderr[-2000:]
    assert (tmp_path / "run.died").exists()
    assert set(Counter(completion_keys(tmp_path / "run")).values()) == {1}
    assert texts(read_run(tmp_path / "run")) == texts(drawn(tmp_path / "here", plan(data=data(16))))


@pytest.mark.long
def test_a_run_on_a_cluster_goes_on_where_it_was_killed(tmp_path: Path, repo: Path) -> None:
    pytest.importorskip("ray")
    assert asked_of_cluster(tmp_path / "run", repo, num_kept=10).returncode == 9
    assert len(completion_keys(tmp_path / "run")) == 10
    done = asked_of_cluster(tmp_path / "run", repo)
    assert done.stdout.splitlines()[-1:] == ["whole True"], done.stderr[-2000:]
    assert set(Counter(completion_keys(tmp_path / "run")).values()) == {1}
    assert texts(read_run(tmp_path / "run")) == texts(drawn(tmp_path / "here", plan(data=data(16))))


@pytest.mark.long
def test_workers_that_always_die_end_the_run_with_one_error(tmp_path: Path, repo: Path) -> None:
    pytest.importorskip("ray")
    done = asked_of_cluster(tmp_path / "run", repo, dies="always")
    assert done.returncode == 1
    assert "kit.errors.EngineError: the cluster gave up, what was drawn is kept: " in done.stderr


@pytest.mark.long
def test_what_keeps_a_worker_from_its_engine_is_told(tmp_path: Path, repo: Path) -> None:
    pytest.importorskip("ray")
    done = asked_of_cluster(tmp_path / "run", repo, dies="at the start")
    assert "kit.errors.EngineError: the cluster gave up" in done.stderr
    assert "no model folder here" in done.stderr


@pytest.mark.long
def test_kit_eval_draws_the_same_on_a_cluster_as_without(tmp_path: Path, repo: Path) -> None:
    pytest.importorskip("ray")
    settings = ["--set", "engine.num_threads=1", "--set", "engine.device=cpu", "--set", "engine.dtype=float32"]
    asked = ["eval", "--data", str(gsm8k_file(tmp_path, 6)), "--max-new-tokens", "24", *settings]
    command = [sys.executable, "-m", "kit.cli", *asked, "--out", str(tmp_path / "ray"), "--ray", "local"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=repo)
    assert done.returncode == 0, done.stderr[-2000:]
    assert cli.main([*asked, "--out", str(tmp_path / "here")]) == 0
    on_cluster, here = read_run(tmp_path / "ray"), read_run(tmp_path / "here")
    assert texts(on_cluster) == texts(here)
    assert on_cluster.head == here.head
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "ray" / JOURNAL_NAME).read_text().splitlines()]
    assert Counter(kinds) == {"run": 1, "problem": 6, "session": 1, "completion": 6}


def test_workers_leave_a_processor_to_what_reads_the_rows() -> None:
    assert _cpus_each(2, 2) == 0.5
    assert _cpus_each(1, 1) == 0.5
    assert _cpus_each(64, 8) == 7
    assert all(_cpus_each(cpus, workers) * workers < cpus for cpus in range(1, 99) for workers in range(1, 20))


def test_a_cluster_without_workers_is_refused() -> None:
    with pytest.raises(InputError, match="--workers must be >= 1, got 0"):
        Cluster(address="local", num_workers=0)


@asynccontextmanager
async def opened() -> AsyncIterator[Engine]:
    yield scripted()


@asynccontextmanager
async def broken() -> AsyncIterator[Engine]:
    raise OSError("no such device")
    yield scripted()


def test_a_worker_draws_its_rows_as_one_run_does(tmp_path: Path) -> None:
    asked = plan()
    worker = Worker(_without_examples(asked), opened)
    rows = {"cell": [json.dumps(_cell_record(cell)) for cell in asked.cells()]}
    completions = [completion_of(json.loads(each)) for each in worker(rows)["completion"]]
    assert {key_of(each): each.sample.text for each in completions} == texts(drawn(tmp_path, asked))
    assert len(completions) == asked.num_cells


def test_what_keeps_a_worker_from_opening_its_engine_is_raised_whatever_it_is() -> None:
    with pytest.raises(OSError, match="no such device"):
        Worker(plan(), broken)
