"""`kit train` as its user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from kit import cli
from kit.evaluation.reading import read_run
from tests.evaluation.asked import gsm8k_file
from tests.training import small_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    small_model.write_backbone(tmp_path / "backbone")
    small_model.write_data(tmp_path / "train.jsonl")
    monkeypatch.chdir(tmp_path)
    return tmp_path


ALONE = ["--set", "engine.device=cpu", "--set", "engine.num_threads=1"]
SMALL = ["--model", "backbone", "--dataset", "train.jsonl", "--batch_size", "4", "--device", "cpu"]


def test_help_shows_worked_commands_of_each_method(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    out = capsys.readouterr().out
    assert [line.split()[2] for line in out.splitlines() if line.startswith("  kit train ")] == [
        *("trm", "trm"),  # on worked solutions, and on the results of steps
        "finetune",
        "lora",
    ]


def test_a_run_says_where_its_result_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "lora", *SMALL, "--rank", "2", "--output_dir", "out"]) == 0
    out = capsys.readouterr().out
    assert "parameters trained on 12 examples: out/adapter" in out
    assert "curves: out/curves.png" in out
    assert (folder / "out/adapter/adapter_model.safetensors").is_file()


def answerable(folder: Path) -> Path:
    """Problems whose gold is what the shipped model says to them, so that some of its samples are right."""
    wrong = gsm8k_file(folder, 5)
    cli.main(["eval", "--data", str(wrong), "--out", str(folder / "said"), "--max-new-tokens", "64", *ALONE])
    run = read_run(folder / "said")
    rows = [
        {"problem": example.problem.text, "answer": completion.lenient.answer or "1"}
        for example, completion in zip(run.examples, run.completions, strict=True)
    ]
    path = folder / "answerable.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_model_makes_its_own_data_draws_nothing_twice_and_is_trained_on_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", "distill", "--dataset", str(answerable(folder)), "--attempts", "3", "--keep", "2", *ALONE]
    asked += ["--max_new_tokens", "64", "--temperature", "0.2", "--output_dir", "own"]
    assert cli.main(asked) == 0
    out = capsys.readouterr().out
    assert "of 15 samples" in out
    assert "next:   kit train lora --dataset own" in out
    rows = [json.loads(line) for line in (folder / "own/train.jsonl").read_text().splitlines()]
    assert 1 <= len(rows) <= 10
    completions = read_run(folder / "own").completions
    assert cli.main(asked) == 0
    assert read_run(folder / "own").completions == completions
    capsys.readouterr()
    assert cli.main(["train", "lora", *SMALL, "--dataset", "own", "--rank", "2", "--output_dir", "out"]) == 0
    assert f"trained on {len(rows)} examples" in capsys.readouterr().out
    assert cli.main([*asked, "--keep", "0"]) == 1
    assert "--keep must be >= 1, got 0" in capsys.readouterr().err


def test_resume_takes_its_settings_from_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "finetune", *SMALL, "--output_dir", "out", "--epochs", "1"]) == 0
    assert cli.main(["train", "finetune", "--resume", "out"]) == 0
    assert cli.main(["train", "finetune", "--resume", "out", "--epochs", "9"]) == 1
    assert "leave out --epochs" in capsys.readouterr().err


def test_a_method_resumes_its_own_runs_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "finetune", *SMALL, "--output_dir", "out", "--epochs", "1"]) == 0
    assert cli.main(["train", "lora", "--resume", "out"]) == 1
    assert "out is a run of finetune" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--dataset", "gms8k"], "did you mean 'gsm8k'"),
        (["--dataset", "none.jsonl"], "none.jsonl"),
        (["--model", "nowhere"], "nowhere"),
        (["--epochs", "0"], "epochs must be >= 1"),
        (["--no-freeze_lm_head"], "saved without the backbone's head"),
        (["--resume", "nowhere"], "nowhere/settings.json is missing"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_fault_is_one_line(more: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = more if "--resume" in more else [*SMALL, *more]
    assert cli.main(["train", "trm", *arguments, "--output_dir", "out"]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_run_that_was_ended_at_once_says_how_it_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kit.training.run.fit_whitening", Mock(side_effect=KeyboardInterrupt))
    assert cli.main(["train", "trm", *SMALL, "--num_latent", "1", "--output_dir", "out"]) == 130
    assert capsys.readouterr().err.endswith("interrupted; go on with: kit train trm --resume out\n")
    monkeypatch.setattr("kit.training.run.train", Mock(side_effect=KeyboardInterrupt))
    assert cli.main(["train", "trm", *SMALL, "--output_dir", "other"]) == 130
    assert "--resume" not in capsys.readouterr().err  # nothing is there yet


def test_rows_and_hidden_states_lie_where_they_are_asked_to(folder: Path) -> None:
    assert cli.main(["train", "finetune", *SMALL, "--epochs", "2", "--output_dir", "out", "--cache_dir", "kept"]) == 0
    assert {path.name for path in (folder / "kept").iterdir()} == {"rows", "hidden_states"}
    assert not (folder / "out/cache").exists()


@pytest.mark.long
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_the_run_goes_on(folder: Path, signum: signal.Signals) -> None:
    command = [sys.executable, "-m", "kit.cli", "train", "trm"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(
        [*command, *SMALL, "--num_latent", "1", "--N_supervision", "2", "--output_dir", "out", "--epochs", "15"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    log = folder / "out/log.jsonl"
    while not (log.exists() and len(log.read_text(encoding="utf-8").splitlines()) > 3):
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signum)
    out, err = first.communicate()
    assert first.returncode == 130
    assert "kit train trm --resume out" in out
    assert "stopping after the batch under way, then saving" in err
    assert cli.main(["train", "trm", "--resume", "out"]) == 0
    heads = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith('{"head"')]
    assert 0 < heads[1]["head"]["resumed_at"] < heads[1]["head"]["groups"]
