"""`kit report` and `kit compare` on folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kit import cli
from kit.evaluation.records import EvalRun
from kit.evaluation.run_records import completion_record, problem_record, session_record
from kit.solver.journal import Journal
from tests.evaluation.report.test_contents import PROBLEMS, journal
from tests.evaluation.runs import answered, completion, example, run


def write_run(folder: Path, written: EvalRun) -> Path:
    """An evaluation's folder, as `kit eval` leaves it."""
    head = {**written.head, "depths": written.depths, "num_samples": written.num_samples}
    with Journal.open(folder / "journal.jsonl", run=head) as opened:
        for place, each in enumerate(written.examples):
            opened.append(problem_record(each, place))
        opened.append(session_record({}, begun_unix_s=0.0, batch_size=1))
        for number, made in enumerate(written.completions, start=1):
            opened.append(completion_record(made, session_s=float(number), keeps_token_stats=False))
    return folder


def write_dry_run(out: Path) -> Path:
    """The folder of `kit dry-run --out`, with one run."""
    working = out / "run-0001" / "kaggle" / "working"
    working.mkdir(parents=True)
    journal(working)
    table = out / "run-0001" / "kaggle" / "input" / "competitions" / "ai-mathematical-olympiad-progress-prize-3"
    table.mkdir(parents=True)
    rows = "".join(f"{problem.id},{problem.text}\n" for problem in PROBLEMS)
    (table / "test.csv").write_text(f"id,problem\n{rows}")
    return out


def fails(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert cli.main(list(args)) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    return told


def test_an_evaluation_gets_its_page_markdown_and_results_in_its_own_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "one", answered([["7"], ["9"]]))
    assert cli.main(["report", str(folder)]) == 0
    printed = capsys.readouterr().out.split()
    assert [Path(path).name for path in printed] == ["report.html", "report.md", "results.json"]
    assert "50.0 [9.5, 90.5]" in (folder / "report.md").read_text()
    assert json.loads((folder / "results.json").read_text())["wall_s"] == 2.0


def test_several_evaluations_give_one_page_where_it_is_wanted(tmp_path: Path) -> None:
    folders = [str(write_run(tmp_path / name, answered([["7"]]))) for name in ("one", "two")]
    assert cli.main(["report", *folders, "--out", str(tmp_path / "both")]) == 0
    assert '"conditions":["one","two"]' in (tmp_path / "both" / "report.html").read_text()
    assert not (tmp_path / "one" / "report.html").exists()


def test_a_dry_run_gets_its_page_with_golds_where_they_are_given(tmp_path: Path) -> None:
    out = write_dry_run(tmp_path / "dry")
    (tmp_path / "gold.csv").write_text("id,problem,answer\na,x,7\n")
    assert cli.main(["report", str(out), "--gold", str(tmp_path / "gold.csv")]) == 0
    page = (out / "report.html").read_text()
    assert "1 of 1" in page
    assert cli.main(["report", str(out / "run-0001"), str(out), "--out", str(tmp_path / "both")]) == 0
    assert '"conditions":["run-0001 (1)","run-0001 (2)"]' in (tmp_path / "both" / "report.html").read_text()


def test_an_evaluation_is_reported_without_the_packages_of_a_dry_run_or_a_model(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", answered([["7"]]))
    code = f"""
import sys, kit.cli
assert kit.cli.main(["report", {str(folder)!r}]) == 0
print([module for module in ("polars", "grpc", "torch", "transformers", "matplotlib") if module in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_bad_folders_are_one_clear_error_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such folder" in fails(capsys, "report", str(tmp_path / "absent"))
    (tmp_path / "bare").mkdir()
    assert "no such run" in fails(capsys, "report", str(tmp_path / "bare"))
    empty = write_run(tmp_path / "empty", run([example(0)], []))
    assert "empty: holds no completion yet" in fails(capsys, "report", str(empty))
    dry = write_dry_run(tmp_path / "dry")
    assert "is no dry run as the others are" in fails(capsys, "report", str(dry), str(empty))
    assert "no such run" in fails(capsys, "compare", str(tmp_path / "bare"), str(empty))
    (dry / "run-0001" / "kaggle" / "working" / "journal.jsonl").unlink()
    assert "no such journal" in fails(capsys, "report", str(dry))


def test_two_evaluations_are_compared_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_run(tmp_path / "one", answered([["7"], ["9"], ["9"]]))
    two = write_run(tmp_path / "two", answered([["7"], ["7"], [None]], prompt={"variant": "plain"}))
    assert cli.main(["compare", str(one), str(two)]) == 0
    printed = capsys.readouterr().out
    assert "warning: the runs differ in prompt.variant: boxed, plain" in printed
    assert "B less A: +33.3 points" in printed
    assert "McNemar's exact p = 1" in printed
    assert "right by both 1, by A alone 0, by B alone 1, by neither 1" in printed


def test_a_comparison_as_json_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_run(tmp_path / "one", answered([["7"], ["9"]]))
    assert cli.main(["compare", str(one), str(one), "--json", "--grade", "lenient"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["grading"], found["num_problems"], found["gain"]["value"], found["discordant"]) == (
        "lenient",
        2,
        0.0,
        [],
    )


def test_two_depths_of_one_run_are_compared_and_one_must_be_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [completion(example(0), 0, "7" if depth == 5 else "9", depth=depth) for depth in (3, 5)]
    folder = str(write_run(tmp_path / "swept", run([example(0)], made, depths=(3, 5))))
    assert cli.main(["compare", folder, folder, "--depth", "3,5"]) == 0
    assert "T = 5: 100.0 %" in capsys.readouterr().out
    assert "has the depths 3, 5: choose one with --depth" in fails(capsys, "compare", folder, folder)
    assert "no depth 4; it has 3, 5" in fails(capsys, "compare", folder, folder, "--depth", "4")
