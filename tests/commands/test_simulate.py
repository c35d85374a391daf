"""`kit simulate`: what it prints, what it refuses, and how a violation gets out."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit import cli
from kit.simulation import competition, invariants

RUN = """problem_id,answer,gold,time_s,total_tokens
p0,7,7,10,100
p0,7,7,12,100
p0,8,7,14,100
p0,7,7,15,100
p1,3,3,20,100
p1,3,3,22,100
p1,,3,24,100
p1,3,3,25,100
p2,5,5,9,100
"""
JOURNAL = '{"kind":"run"}\n' + "".join(
    f'{{"kind":"sample","problem":"p0:0123456789ab","number":{number},"finish":"stop","answer":7,"seconds":3,'
    '"num_tokens":9}\n'
    for number in range(4)
)
GOLD = "id,problem,answer\np0,x,7\n"


@pytest.fixture(autouse=True)
def _loud() -> Iterator[None]:
    """The command silences the log of its process, which here is that of the other tests too."""
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def run_csv(tmp_path: Path) -> Path:
    return written(tmp_path / "run.csv", RUN)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def simulate(*args: object, num_competitions: int = 0) -> int:
    few = ["--processes", "1", "--competitions", str(num_competitions)]
    return cli.main(["simulate", *few, *map(str, args)])


def test_scenarios_are_counted_and_what_held_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("--scenarios", 20) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    counts = r"20 scenarios, [\d,]+ problems, [\d,]+ samples, [\d,]+ broken, [\d,]+ cancelled"
    assert re.fullmatch(counts, lines[0])
    assert re.fullmatch(r"faults: \d+ crash, \d+ deaf, \d+ empty, \d+ hang, \d+ panic, \d+ slow", lines[1])
    assert lines[2].startswith("every problem answered in range and in time")


def test_the_seed_names_the_first_scenario(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "_CHECKS", (lambda outcome: iter(["it is wrong"]),))
    assert simulate("--scenarios", 3, "--seed", 41) == 1
    assert capsys.readouterr().out.splitlines()[:3] == [f"seed {seed}: it is wrong" for seed in (41, 42, 43)]


def test_a_violation_prints_its_seed_and_how_to_see_it_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_the_fourth(outcome: invariants.Outcome) -> Iterator[str]:
        if outcome.scenario.seed == 4:
            yield "it is wrong"

    monkeypatch.setattr(invariants, "_CHECKS", (only_the_fourth,))
    assert simulate("--scenarios", 6) == 1
    printed = capsys.readouterr()
    assert "seed 4: it is wrong" in printed.out
    assert printed.out.count("it is wrong") == 1
    assert "every problem answered" not in printed.out
    assert "1 scenarios broke what must hold; see one again: kit simulate --replay 4" in printed.err

    assert simulate("--replay", 4) == 1
    assert "violated: it is wrong" in capsys.readouterr().out
    assert simulate("--replay", 5) == 0


def test_a_replay_shows_each_problem_and_the_same_trace_every_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("--replay", 7) == 0
    first = capsys.readouterr().out
    assert simulate("--replay", 7) == 0
    assert capsys.readouterr().out == first
    num_problems = int(re.match(r"seed 7: (\d+) problems", first)[1])  # type: ignore[index]
    assert len(re.findall(r"^ +[\d.]+ s \+", first, re.MULTILINE)) == num_problems
    assert re.search(r"trace [0-9a-f]{16}$", first, re.MULTILINE)


def test_policies_are_compared_on_a_recorded_run(run_csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies = ("--policy", "kit", "--policy", "3 equal of 8, bank")
    assert simulate("--compare", "--recording", run_csv, "--replicates", 2, *policies) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1] == (
        "comparing 3 policies on run: 7 shares of time x 2 replicates of 2 = 28 scenarios, each answered by every "
        "policy, on 1 process"
    )
    titles = [line.strip() for line in out.splitlines() if line.startswith("run, ")]
    assert len(titles) == 7
    assert re.fullmatch(r"run, 0\.6 x \d+ s a problem", titles[0])
    assert titles[-1] == "run, no limit"
    rows = [line for line in out.splitlines() if line.startswith(("4 equal of 8, bank", "3 equal", "kit"))]
    assert len(rows) == 7 * 3 + 3  # of each share, and of the time at equal score
    baseline = r"4 equal of 8, bank +[\d.]+ +\+0\.0 \[\+0\.0, \+0\.0\] +1\.00 \[1\.00, 1\.00\] +\d+ +[\d.]+ +\d+ +\d+"
    assert re.fullmatch(baseline, rows[0].rstrip())


def test_a_comparison_that_is_kept_goes_on_where_it_was(
    run_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file after Ctrl-C: its head, some replicates, and a line torn in its middle."""
    kept = tmp_path / "kept.jsonl"
    args = "--compare", "--recording", run_csv, "--replicates", 4, "--share", 1, "--policy", "kit", "--kept", kept
    assert simulate(*args) == 0
    whole, lines = capsys.readouterr().out, kept.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 4
    kept.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    assert simulate(*args) == 0
    assert capsys.readouterr().out == whole
    assert [line for line in kept.read_bytes().splitlines(keepends=True) if line in lines] == lines


def test_replicates_of_other_settings_are_not_taken_for_these(
    run_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.jsonl"
    args = "--compare", "--recording", run_csv, "--replicates", 2, "--share", 1, "--policy", "kit"
    assert simulate(*args, "--repeat", 1, "--kept", kept) == 0
    capsys.readouterr()
    assert simulate(*args) == 0
    alone = capsys.readouterr().out
    assert simulate(*args, "--kept", kept) == 0
    assert capsys.readouterr().out == alone


def test_a_setting_of_ones_own_is_compared_as_yours(run_csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = "--compare", "--recording", run_csv, "--replicates", 1, "--share", 2, "--policy", "kit"
    assert simulate(*args, "--set", "width=2", "--set", "stop.rule=votes(2)") == 0
    out = capsys.readouterr().out
    assert re.search(r"^yours ", out, re.MULTILINE)
    assert len(re.findall(r"^run, 2 x ", out, re.MULTILINE)) == 1


def test_several_recordings_are_averaged(tmp_path: Path, run_csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = written(tmp_path / "other.csv", RUN)
    args = "--compare", "--recording", run_csv, "--recording", other, "--replicates", 1, "--share", 1
    assert simulate(*args, "--policy", "kit") == 0
    titles = [
        line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith(("run,", "other,", "all"))
    ]
    assert [title.split(",")[0] for title in titles] == ["run", "other", "all"]


def test_journals_of_one_name_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A regression test: every journal is called journal.jsonl, and two of them ended in a traceback."""
    first, second = (written(tmp_path / name / "journal.jsonl", JOURNAL) for name in ("a", "b"))
    gold = written(tmp_path / "gold.csv", GOLD)
    args = "--compare", "--recording", first, "--recording", second, "--gold", gold, "--replicates", 1, "--share", 1
    assert simulate(*args, "--policy", "kit") == 0
    out = capsys.readouterr().out
    assert re.search(r"^journal, 1 x", out, re.MULTILINE)
    assert "all" in out


def test_a_recording_without_gold_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = written(tmp_path / "journal.jsonl", JOURNAL)
    assert simulate("--compare", "--recording", journal) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"{journal}: the answer to 'p0' is not known" in printed.err
    assert "--gold" in printed.err


# One problem of four attempts, each beside the others until one ends: 12.5 tokens/s of 4, 20 of 3, 25 of 2, 50 of 1.
TIMES = (("0", 8.0, 100), ("1", 10.0, 140), ("2", 12.0, 190), ("3", 14.0, 290))
TIMED = '{"kind":"run"}\n' + "".join(
    f'{{"kind":"sample","problem":"p{place}:0123456789ab","number":{number},"finish":"stop","answer":7,'
    f'"begun_s":{20 * place},"ended_s":{20 * place + ended_s},"seconds":{ended_s},"num_tokens":{num_tokens}}}\n'
    for place in range(30)
    for number, ended_s, num_tokens in TIMES
)
TIMED_GOLD = "id,problem,answer\n" + "".join(f"p{place},x,7\n" for place in range(30))


def test_a_journals_own_speeds_are_told_and_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal, gold = written(tmp_path / "journal.jsonl", TIMED), written(tmp_path / "gold.csv", TIMED_GOLD)
    few = ("--compare", "--recording", journal, "--gold", gold, "--policy", "kit", "--share", "0.6", "--replicates", 2)
    assert simulate(*few, "--speeds-of", journal) == 0
    by_its_own = capsys.readouterr().out
    assert f"{journal}: the speed of a stream by streams at once, of 120 attempts" in by_its_own
    rows = [line.split() for line in by_its_own.splitlines()[1:6]]
    assert [row[0] for row in rows if row and row[0].isdigit()] == ["1", "2", "3", "4"]
    assert [float(row[2]) for row in rows if row and row[0].isdigit()] == pytest.approx([50, 25, 20, 12.5], rel=1e-3)
    assert "by a straight line each stream adds" in by_its_own
    assert simulate(*few) == 0
    assert capsys.readouterr().out != by_its_own


def test_a_journal_that_cannot_tell_its_speeds_says_so_and_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal, gold = written(tmp_path / "journal.jsonl", JOURNAL), written(tmp_path / "gold.csv", GOLD)
    few = ("--compare", "--recording", journal, "--gold", gold, "--policy", "kit", "--share", "1", "--replicates", 1)
    assert simulate(*few) == 0
    assert f"{journal}: tells no stream speeds: the journal holds no times" in capsys.readouterr().out
    assert simulate(*few, "--speeds-of", journal) == 1
    assert f"{journal}: tells no stream speeds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--scenarios", "0"], "--scenarios must be >= 1, got 0"),
        (["--compare", "--replicates", "0"], "--replicates must be >= 1, got 0"),
        (["--processes", "0"], "--processes must be >= 1, got 0"),
        (["--compare", "--share", "0"], "--share must be > 0, got 0.0"),
        (["--compare", "--share", "nan"], "--share must be > 0, got nan"),
        (["--compare", "--share", "1", "--share", "-2"], "--share must be > 0, got 1.0, -2.0"),
        (["--compare", "--policy", "best"], "there is no policy 'best'; known: 4 equal of 8, bank"),
        (["--compare", "--set", "widht=3"], "did you mean 'width'"),
        (["--compare", "--set", "width=0"], "width must be >= 1"),
        (["--compare", "--recording", "absent.csv"], "absent.csv: no such recording"),
        (["--compare", "--per-replicate", "0"], "--per-replicate must be >= 1, got 0"),
        (["--compare", "--repeat", "1.5"], "--repeat must be in [0, 1], got 1.5"),
        (["--compare", "--plot", "a.jpg"], "a.jpg: a picture is an .svg or a .png"),
        (["--compare", "--stream-cost", "-1"], "--stream-cost must be >= 0 and finite, got -1"),
        (["--compare", "--stream-cost", "inf"], "--stream-cost must be >= 0 and finite, got inf"),
        (["--compare", "--stream-cost", "0", "--speeds-of", "a.jsonl"], "two answers to one question"),
        (["--compare", "--speeds-of", "absent.jsonl"], "absent.jsonl: no such journal"),
        (["--compare", "--speeds-of", "run.csv"], "run.csv: tells no stream speeds; only a journal.jsonl has"),
        (["--stream-cost", "0"], "--stream-cost is for comparisons; add --compare"),
        (["--speeds-of", "a.jsonl"], "--speeds-of is for comparisons; add --compare"),
        (["--kept", "a.jsonl"], "--kept is for comparisons; add --compare"),
        (["--share", "1"], "--share is for comparisons; add --compare"),
        (["--policy", "kit"], "--policy is for comparisons; add --compare"),
        (["--replay", "3", "--plot", "a.svg"], "--plot is for comparisons; add --compare"),
    ],
)
def test_what_cannot_be_done_is_one_line_on_stderr(
    args: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["simulate", *args]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert says in printed.err
    assert printed.err.count("\n") == 1


def test_progress_goes_to_stderr_and_the_log_is_silent() -> None:
    command = [
        sys.executable,
        "-m",
        "kit.cli",
        "simulate",
        "--scenarios",
        "30",
        "--competitions",
        "0",
        "--processes",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 3
    assert "scenarios" not in done.stdout.splitlines()[1]
    assert "Traceback" not in done.stderr
    assert "guessed" not in done.stderr


def test_scores_are_drawn_against_time(run_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    path = tmp_path / "tradeoff.svg"
    args = "--compare", "--recording", run_csv, "--replicates", 2, "--share", 1, "--policy", "kit"
    assert simulate(*args, "--plot", path) == 0
    assert path.read_text(encoding="utf-8").startswith("<?xml")
    assert f"drawn: {path}" in capsys.readouterr().out


def test_problems_of_few_attempts_are_left_out_of_comparisons_and_that_is_said(
    run_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate("--compare", "--recording", run_csv, "--replicates", 1, "--share", 1, "--policy", "kit") == 0
    assert "run: 1 problems of under 4 attempts are left out" in capsys.readouterr().out
    few = written(tmp_path / "few.csv", "problem_id,answer,gold,time_s\np,1,1,5\n")
    assert simulate("--compare", "--recording", few) == 1
    assert "no problem has 4 attempts" in capsys.readouterr().err


def test_the_time_to_the_baselines_score_is_told_where_there_are_several_shares(
    run_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = "--compare", "--recording", run_csv, "--replicates", 3, "--share", 2, "--share", 0.5, "--policy", "kit"
    assert simulate(*args) == 0
    told = capsys.readouterr().out
    assert told.index("0.5 x") < told.index("2 x") < told.index("time to the baseline's score")


def test_random_scenarios_may_be_made_of_recorded_problems(run_csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("--scenarios", 20, "--recording", run_csv) == 0
    assert "equal seeds equal traces" in capsys.readouterr().out


def test_competitions_at_the_boundary_are_counted_and_what_held_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("--scenarios", 1, "--seed", 2, num_competitions=2) == 0
    lines = capsys.readouterr().out.splitlines()[3:]
    assert re.fullmatch(r"2 competitions on a real clock, \d+ predicts", lines[0])
    assert lines[1].startswith("faults: ")
    assert lines[2].startswith("every predict answered by its share and slack")


def test_a_competition_that_breaks_its_promise_prints_its_seed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(competition, "_CHECKS", (lambda outcome: iter(["it is late"]),))
    assert simulate("--scenarios", 1, "--seed", 7, num_competitions=1) == 1
    told = capsys.readouterr()
    assert "competition 7: it is late" in told.out
    assert "kit simulate --scenarios 1 --competitions 1 --seed 7" in told.err


def test_fewer_competitions_than_none_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(num_competitions=-1) == 1
    assert "--competitions must be >= 0, got -1" in capsys.readouterr().err
