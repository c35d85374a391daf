"""The whole dry run, for real: kernel, namespace, protocol, model. Each run takes some seconds."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kit import cli
from kit.assets import TINY_MODEL
from kit.errors import InputError, MissingError
from kit.kaggle.dry_run.mounting import as_csv
from kit.kaggle.dry_run.report import (
    Load,
    Report,
    as_table,
    compare_runs,
    load_in,
    make_report,
    notes_on,
    read_submission,
)
from kit.kaggle.dry_run.run import DryRunConfig, lay_out
from kit.kaggle.evaluation_double.gateway import as_the_gateway_reads, check_questions
from kit.kaggle.notebook.outages import EngineNews, outages_in
from kit.lock import held
from kit.problem import Problem
from kit.solver.journal import read_records
from kit.solver.records import solution_record
from kit.solver.solution import Solution
from kit.solver.stopping import StopReason
from tests.engines.lora import save_adapter

PROBLEMS = 'id,problem,answer\n007,"Compute the remainder when $17$ is divided by $5$.",2\nb,"What is $1+1$?",2\n'
ODD = st.text(st.characters(exclude_categories=["Cs"])) | st.text(st.sampled_from('",\n\r a1\0;#\ufeff\u2028'))
FEW = ["--set", "solver.stop.num_samples=3", "--set", "solver.sampling.max_new_tokens=32"]


def command(csv: Path, out: Path, *more: str) -> list[str]:
    return bare_command(csv, out, *FEW, *more)


def bare_command(csv: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "kit.cli", "dry-run", "--problems", str(csv), "--out", str(out), *more]


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "problems.csv"
    path.write_text(PROBLEMS)
    return path


def submitted(run: Path) -> pl.DataFrame:
    return pl.read_parquet(run / "kaggle" / "working" / "submission.parquet")


def samples(run: Path) -> list[int]:
    records = read_records(run / "kaggle" / "working" / "journal.jsonl")
    return [record["seed"] for record in records if record["kind"] == "sample"]


@pytest.mark.slow
def test_the_scored_rerun_is_run_offline_from_the_dataset_alone(csv: Path, tmp_path: Path) -> None:
    done = subprocess.run(command(csv, tmp_path / "out"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "out" / "run-0001"
    frame = submitted(run)
    assert sorted(frame["id"]) == ["007", "b"]
    assert frame["answer"].is_between(0, 99_999).all()
    for shown in ("right:", "submission.parquet", "journal.jsonl", "network:", "inputs: "):
        assert shown in done.stdout
    log = (run / "kaggle" / "working" / "kit.log").read_text()
    assert str(run / "kaggle" / "tmp" / "kit-install") in log  # the bundled kit ran, not this checkout
    assert "network inside: none" in (run / "output.log").read_text()
    executed = json.loads((run / "kaggle" / "working" / "executed.ipynb").read_text())
    assert sum(cell["cell_type"] == "code" for cell in executed["cells"]) == 3
    head, *records = read_records(run / "kaggle" / "working" / "journal.jsonl")
    assert {"kit", "settings", "dataset", "machine"} <= set(head)
    steps = {record["step"]: record["outcome"] for record in records if record["kind"] == "startup"}
    assert (steps["restore"], steps["install"], steps["engine"]) == ("done", "done", "done")
    assert (run / "kaggle" / "lib" / "kit.py").exists()  # on PYTHONPATH, and whoever imports it is refused
    assert not [path for path in (run / "home").iterdir() if path.name != ".ipython"]


@pytest.mark.slow
@pytest.mark.long
def test_a_dry_run_answers_by_the_adapter_that_its_dataset_holds(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = command(csv, tmp_path / "out", "--adapter", str(save_adapter(tmp_path / "adapter")))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "out" / "run-0001"
    restored = run / "kaggle" / "tmp" / "kit-dataset" / "adapter"
    assert f"the LoRA adapter in {restored} is merged" in (run / "kaggle" / "working" / "kit.log").read_text()
    assert cli.main(["verify", str(tmp_path / "out" / "dataset")]) == 0
    assert "adapter" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.long
def test_a_relative_out_folder_and_a_path_with_a_space_work(tmp_path: Path) -> None:
    """Bug of an earlier version: the notebook runs in another folder and found nothing in a relative one."""
    folder = tmp_path / "my kit"
    folder.mkdir()
    (folder / "my problems.csv").write_text(PROBLEMS)
    argv = command(Path("my problems.csv"), Path("out/dry-run"), "--interactive", "--layout", "old")
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = folder / "out" / "dry-run" / "run-0001"
    assert len(submitted(run)) == 2
    inputs = {path.name for path in (run / "kaggle" / "input").iterdir()}
    assert inputs == {"mathllm-kit", "ai-mathematical-olympiad-progress-prize-3"}


@pytest.mark.slow
@pytest.mark.long
def test_everything_but_torch_is_installed_from_the_wheelhouse_in_the_dataset(csv: Path, tmp_path: Path) -> None:
    """The real wheels of the target cpu, from pip's own index: 116 MB. Torch for the CPU is on no index here."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the target cpu is for Python 3.11")
    fetch = [sys.executable, "-m", "kit.cli", "wheels", "fetch", "--target", "cpu"]
    fetched = subprocess.run(fetch, cwd=tmp_path, capture_output=True, text=True, check=False)
    if fetched.returncode:
        pytest.skip(f"NOT TESTED, the wheels cannot be fetched: {fetched.stderr.strip()}")
    argv = command(csv, tmp_path / "out", "--wheels", "cpu")
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "out" / "run-0001"
    assert len(submitted(run)) == 2
    scratch = run / "kaggle" / "tmp"
    assert (scratch / "kit-install" / "trio").is_dir()
    log = (run / "kaggle" / "working" / "kit.log").read_text()
    assert f"transformers from {scratch / 'kit-environment'}" in log


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,problem\n007,a\n008,b\n", "row 1: Kaggle's gateway reads '007' as '7'"),
        ("id,problem\na,b\nc,d,e\n", "row 2 has 3 fields"),
        (
            "id,problem\n" + "".join(f"{number},a\n" for number in range(150)) + "x,b\n",
            "cannot read it .could not parse `x`",
        ),
    ],
)
def test_a_file_that_kaggle_would_read_otherwise_is_refused_before_anything_is_built(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "p.csv").write_text(text)
    config = DryRunConfig(problems=tmp_path / "p.csv", model=TINY_MODEL, out=tmp_path / "out")
    with pytest.raises(InputError, match=told):
        lay_out(config)
    assert not (tmp_path / "out").exists()


@given(st.lists(st.tuples(ODD, ODD), min_size=1, max_size=5))
def test_whatever_a_problem_holds_arrives_as_it_was_written(rows: list[tuple[str, str]]) -> None:
    problems = [Problem(f"q{id_}{number}", f"What {text}") for number, (id_, text) in enumerate(rows)]
    csv = Path("any.csv")
    check_questions(csv, problems, as_the_gateway_reads(csv, as_csv(problems).encode()))


@pytest.mark.slow
def test_a_second_run_in_the_same_folder_is_refused_while_the_first_goes_on(csv: Path, tmp_path: Path) -> None:
    """Bug of an earlier version: the second took the first for interrupted, and both wrote one run."""
    with held(tmp_path / "out"):
        done = subprocess.run(command(csv, tmp_path / "out"), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{tmp_path / 'out'}: another process is using it" in done.stderr
    assert not list((tmp_path / "out").glob("run-*"))


@pytest.mark.slow
@pytest.mark.long
def test_the_recursive_engine_climbs_its_ladder_of_depths(csv: Path, tmp_path: Path) -> None:
    check_ladder("trm", csv, tmp_path)


@pytest.mark.slow
def test_the_recursion_in_a_real_vllm_climbs_it_too(vllm_python: Path, csv: Path, tmp_path: Path) -> None:
    check_ladder("vllm-trm", csv, tmp_path)


def check_ladder(engine: str, csv: Path, tmp_path: Path) -> None:
    """Of a few tokens: a depth of 10 costs ten times as much for each."""
    few = ["solver.stop.num_samples=3", "solver.sampling.max_new_tokens=6", "solver.stop.rule=uncatchable"]
    more = [part for each in (*few, "solver.width=3") for part in ("--set", each)]
    argv = bare_command(csv, tmp_path / "out", "--engine", engine, "--interactive", *more)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "untrained" not in done.stdout  # the shipped model has a TRM of its own
    records = read_records(tmp_path / "out" / "run-0001" / "kaggle" / "working" / "journal.jsonl")
    drawn = {(record["number"], record["depth"]) for record in records if record["kind"] == "sample"}
    assert drawn <= {(0, 3), (1, 5), (2, 10)}
    assert drawn


@pytest.mark.slow
def test_a_real_vllm_answers_without_a_network(vllm_python: Path, csv: Path, tmp_path: Path) -> None:
    argv = command(csv, tmp_path / "out", "--engine", "vllm", "--set", f"engine.vllm.python={vllm_python}")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "out" / "run-0001"
    assert len(submitted(run)) == 2
    assert samples(run)
    assert "vLLM: " in (run / "kaggle" / "working" / "kit.log").read_text()


@pytest.mark.long
def test_an_interactive_run_killed_midway_is_resumed_and_repeats_no_sample(csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    argv = command(csv, out, "--interactive", "--set", "solver.width=1", "--set", "solver.stop.rule=uncatchable")
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    run = out / "run-0001"
    journal = run / "kaggle" / "working" / "journal.jsonl"
    deadline = time.monotonic() + 6000
    while not (journal.exists() and samples(run)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    kill_tree(process.pid)
    process.communicate()
    drawn = samples(run)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stdout
    assert samples(run)[: len(drawn)] == drawn
    assert max(Counter(samples(run)).values()) == 1
    assert len(submitted(run)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_no_process_outlives_a_dry_run_that_is_killed(csv: Path, tmp_path: Path, ending: signal.Signals) -> None:
    """Bug of an earlier version: the kernel went on writing the journal that the next run resumed."""
    process = subprocess.Popen(command(csv, tmp_path / "out"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "out" / "run-0001" / "kaggle" / "working" / "kit.log"
    deadline = time.monotonic() + 600
    while not log.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    inside = descendants(process.pid)
    assert len(inside) >= 3  # the executor, the gateway, the kernel
    process.send_signal(ending)
    process.wait(600)
    deadline = time.monotonic() + 600
    while left := [pid for pid in inside if is_running(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.mark.slow
def test_ctrl_c_stops_everything_and_says_that_the_run_can_go_on(csv: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(command(csv, tmp_path / "out"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    output = tmp_path / "out" / "run-0001" / "output.log"
    deadline = time.monotonic() + 600
    while not (output.exists() and output.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    inside = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 130
    assert b"the same command goes on" in stderr
    assert inside
    assert not [pid for pid in inside if is_running(pid)]


@pytest.mark.long
@pytest.mark.parametrize("options", [(), ("--interactive",)], ids=["rerun", "unscored"])
def test_an_engine_that_cannot_load_still_answers_and_the_run_fails_before_it_is_submitted(
    csv: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Bug of an earlier version: the unscored run ended well too, so that Kaggle took a version that could only guess.

    The scored rerun is one for Kaggle to score; only the dry run calls it a failure.
    """
    argv = command(csv, tmp_path / "out", *options, "--set", "engine.dtype=float7")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no sample was ever drawn" in done.stderr
    assert "the engine did not load" in done.stdout + done.stderr
    assert ("the notebook failed" in done.stderr) == bool(options)
    assert ("float7" in done.stderr) == bool(options)  # the cause stands in the message
    assert submitted(tmp_path / "out" / "run-0001")["answer"].to_list() == [0, 0]
    assert "float7" in (tmp_path / "out" / "run-0001" / "kaggle" / "working" / "kit.log").read_text()


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def descendants(pid: int) -> list[int]:
    return [each for child in children(pid) for each in (child, *descendants(child))]


def kill_tree(pid: int) -> None:
    for each in (pid, *descendants(pid)):
        os.kill(each, signal.SIGKILL)


A, B = Problem("a", "?"), Problem("b", "??")


def solved(problem: Problem, answer: int, guess: str = "") -> dict[str, object]:
    solution = Solution(
        problem_id=problem.id,
        answer=answer,
        reason=StopReason.CONFIDENT,
        votes=((answer, 4), (1, 2), (2, 1), (3, 1)),
        num_samples=8,
        num_tokens=100,
        seconds=1.5,
        guess=guess,
    )
    return dict(solution_record(problem, solution))


def parquet(path: Path, rows: dict[str, object]) -> Path:
    pl.DataFrame(rows).write_parquet(path)
    return path


def test_the_report_joins_the_submission_with_gold_and_journal(tmp_path: Path) -> None:
    path = parquet(tmp_path / "s.parquet", {"id": ["b", "a"], "answer": [5, 7]})
    report = make_report((A, B), {"a": 7}, [solved(A, 7), solved(B, 5, "no votes")], path)
    assert [(line.problem_id, line.answer, line.is_right) for line in report.lines] == [("a", 7, True), ("b", 5, None)]
    assert (report.num_right, report.num_gold, report.guesses) == (1, 1, ("no votes",))
    assert notes_on(report) == ["1 guessed: no votes"]
    table = as_table(report)
    assert table.row_count == 2
    assert list(table.columns[4].cells)[0] == "7 ×4  1 ×2  2 ×1  +1"  # noqa: RUF015


def test_a_tie_in_votes_is_told_with_how_it_was_broken(tmp_path: Path) -> None:
    path = parquet(tmp_path / "s.parquet", {"id": ["a", "b"], "answer": [7, 5]})
    tied = solved(A, 7) | {"votes": [[7, 2], [3, 2]], "tie_break": "more code run"}
    report = make_report((A, B), {}, [tied, solved(B, 5)], path)
    assert notes_on(report) == ["1 tied in votes: more code run won"]


def test_the_report_tells_what_was_believed_and_what_time_was_worth(tmp_path: Path) -> None:
    path = parquet(tmp_path / "s.parquet", {"id": ["a", "b"], "answer": [7, 5]})
    cut = solved(A, 7) | {"posterior": 0.618, "gain": 0.0123, "price": 0.0456, "reason": "time is worth more elsewhere"}
    free = solved(B, 5) | {"posterior": 0.97, "gain": 0.01, "price": 0.0}
    table = as_table(make_report((A, B), {}, [cut, free], path))
    cells = {str(column.header): [str(cell) for cell in column.cells] for column in table.columns}
    assert cells["belief"] == ["62 %", "97 %"]
    assert cells["stopped because"][0].endswith("elsewhere (next attempt +0.012, price 0.046)")
    assert "price" not in cells["stopped because"][1]


def test_two_runs_are_compared_and_their_score_expected_from_the_votes(tmp_path: Path) -> None:
    path = parquet(tmp_path / "s.parquet", {"id": ["a", "b"], "answer": [7, 5]})
    other = parquet(tmp_path / "t.parquet", {"id": ["a", "b"], "answer": [7, 6]})
    first = make_report((A, B), {"a": 7, "b": 5}, [solved(A, 7), solved(B, 5)], path)
    second = make_report((A, B), {"a": 7, "b": 5}, [solved(A, 7)], other)
    both = compare_runs(first, second)
    assert (both.num_same, both.num_same_votes, both.num_problems, both.score) == (1, 1, 2, 1.5)
    assert both.expected == pytest.approx((first.expected_right + second.expected_right) / 2)
    assert first.expected_right == pytest.approx(2 * second.expected_right)


@pytest.mark.parametrize(("ready_s", "is_told"), [(178.0, True), (11.0, False)])
def test_a_load_that_ate_much_of_the_time_is_told_beside_the_table(ready_s: float, is_told: bool) -> None:
    steps = [
        ("restore", 3.0, "done"),
        ("engine", 5.0, "failed"),
        ("engine", ready_s, "done"),
        ("sandboxes", 1.0, "done"),
    ]
    records = [{"kind": "startup", "step": step, "ended_s": end, "outcome": how} for step, end, how in steps]
    load = load_in([{"kind": "run"}, *records], limit_s=240)
    assert load == Load(ready_s=ready_s, limit_s=240)
    told = ["the engine was ready after 178 of the run's 240 s, which begin with its process as on Kaggle; "
            "for more, set budget.limit_s"]  # fmt: skip
    assert notes_on(Report((), load)) == (told if is_told else [])
    assert load_in(records[:2], limit_s=240) is None


def test_the_table_says_that_the_engine_was_away_and_for_how_long(tmp_path: Path) -> None:
    """Bug of an earlier version: "out of time; guessed" was all it said where the server had died."""
    path = parquet(tmp_path / "s.parquet", {"id": ["a", "b"], "answer": [7, 5]})
    news = [
        EngineNews(at_s=100, is_back=False, why="the server hung"),
        EngineNews(at_s=143, is_back=True),
        EngineNews(at_s=190, is_back=False, why="the server ended by itself"),
    ]
    records = [solved(A, 7) | {"begun_s": 99.0}, solved(B, 5, "no votes") | {"begun_s": 142.0, "seconds": 60.0}]
    gaps = outages_in([solved(A, 7), *(each.record() for each in news)])
    cells = list(as_table(make_report((A, B), {}, records, path, outages=gaps)).columns[-1].cells)
    assert cells == [
        "confident; the server hung, away for 43 s",
        "confident; guessed; the server hung, away for 43 s; the server ended by itself, never came back",
    ]


@pytest.mark.parametrize("num_columns", [80, 100, 120])
def test_no_cell_of_the_table_is_cut_in_a_narrow_terminal(num_columns: int, tmp_path: Path) -> None:
    path = parquet(tmp_path / "s.parquet", {"id": ["a", "b"], "answer": [7, 5]})
    records = [record | {"reason": "time is worth more elsewhere"} for record in (solved(A, 7), solved(B, 5, "none"))]
    console = Console(width=num_columns, record=True, file=io.StringIO())
    console.print(as_table(make_report((A, B), {"a": 7}, records, path)))
    shown = console.export_text()
    assert "…" not in shown
    letters = "".join(line.split("│")[-2].strip() for line in shown.splitlines() if line.startswith("│"))
    assert letters.replace(" ", "") == "timeisworthmoreelsewhere" * 2 + ";guessed"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"id": ["a", "b"], "answer": ["1", "2"]}, "has the columns"),
        ({"id": ["a", "b"], "prediction": [1, 2]}, "has the columns"),
        ({"id": ["a", "a"], "answer": [1, 2]}, "not those of the problems"),
        ({"id": ["a"], "answer": [1]}, "not those of the problems"),
        ({"id": ["a", "b"], "answer": [1, 100_000]}, "'b' is 100000"),
        ({"id": ["a", "b"], "answer": [-1, 2]}, "'a' is -1"),
        ({"id": ["a", "b"], "answer": [1, None]}, "'b' is None"),
    ],
)
def test_a_submission_that_kaggle_would_not_score_is_refused(
    tmp_path: Path, rows: dict[str, object], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        read_submission(parquet(tmp_path / "s.parquet", rows), (A, B))
    with pytest.raises(MissingError, match="no submission"):
        read_submission(tmp_path / "none.parquet", (A, B))
