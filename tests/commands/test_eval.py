"""`kit eval` with the shipped toy model."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kit import __version__, cli
from kit.assets import TINY_MODEL
from kit.evaluation.reading import JOURNAL_NAME, read_run
from kit.evaluation.records import EvalRun
from kit.sampling import FinishReason
from kit.trm.checkpoint import save_untrained
from tests.engines.openai.chat_server import Served, serving
from tests.engines.vllm.test_contract import served
from tests.evaluation.asked import gsm8k_file

ONE_THREAD = ("--set", "engine.num_threads=1", "--set", "engine.device=cpu", "--set", "engine.dtype=float32")
SHORT = ("--max-new-tokens", "24", *ONE_THREAD)


def told(run: EvalRun) -> list[tuple[object, ...]]:
    """What must be the same however the run came about."""
    return [
        (each.problem, each.depth, each.number, each.sample.text, each.sample.seed, each.strict, each.lenient)
        for each in run.completions
    ]


def test_a_run_leaves_a_table_a_report_and_every_completion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    asked = ["eval", "--data", str(gsm8k_file(tmp_path)), "--out", str(out), *SHORT]
    assert cli.main(asked) == 0
    printed = capsys.readouterr()
    assert "kit-tiny on sums.jsonl (test)" in printed.out
    assert f"report:  {out / 'report.html'}" in printed.out
    assert "4 of 4, strict " in printed.err
    run = read_run(out)
    assert run.is_whole
    assert run.head["engine"] == {"kind": "transformers", "dtype": "float32"}
    assert [(session["device"], session["num_threads"]) for session in run.sessions] == [("cpu", 1)]
    assert run.sessions[0]["kit"]["version"] == __version__
    assert (out / "report.md").is_file()
    assert len(run.head["model"]["sha256"]) == 64
    assert (out / "report.html").is_file()
    before = (out / JOURNAL_NAME).read_bytes()
    assert cli.main(asked) == 0
    assert told(read_run(out)) == told(run)
    new = [json.loads(line)["kind"] for line in (out / JOURNAL_NAME).read_bytes()[len(before) :].splitlines()]
    assert new == ["session"]


def test_completions_are_printed_on_demand_all_or_only_wrong_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(gsm8k_file(tmp_path))
    assert cli.main(["eval", "--data", data, "--out", str(tmp_path / "a"), "-v", *SHORT]) == 0
    every = [line for line in capsys.readouterr().out.splitlines() if line.startswith("--- ")]
    assert cli.main(["eval", "--data", data, "--out", str(tmp_path / "b"), "--wrong-only", *SHORT]) == 0
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("--- ")]
    run = read_run(tmp_path / "a")
    assert len(every) == len(run.completions)
    assert len(wrong) == sum(not each.strict.is_right for each in run.completions) > 0
    assert all(", sample 1: " in line and " tokens, " in line for line in every)


@pytest.mark.parametrize(("named", "expected"), [([], 64), (["--batch-size", "5"], 5)])
def test_a_cpu_draws_as_many_at_once_as_its_memory_holds_unless_a_number_is_named(
    named: list[str], expected: int, tmp_path: Path
) -> None:
    """The toy's 64 need 300 MB."""
    asked = ["eval", "--data", str(gsm8k_file(tmp_path, 2)), "--set", "engine.device=cpu", *named, *SHORT]
    assert cli.main([*asked, "--out", str(tmp_path / "out")]) == 0
    records = [json.loads(line) for line in (tmp_path / "out" / JOURNAL_NAME).read_text().splitlines()]
    assert [each["batch_size"] for each in records if each["kind"] == "session"] == [expected]


def test_depths_are_swept_with_the_same_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An untrained TRM changes nothing, so every depth says the same."""
    save_untrained(tmp_path / "trm", backbone_folder=TINY_MODEL)
    data = str(gsm8k_file(tmp_path, 2))
    drawn = ["--num-samples", "2", "--depth", "0,3,12", "--temperature", "1", *SHORT]
    asked = ["eval", "--data", data, "--trm", str(tmp_path / "trm"), "--model", str(TINY_MODEL), *drawn]
    assert cli.main([*asked, "--out", str(tmp_path / "out")]) == 0
    run = read_run(tmp_path / "out")
    assert (run.depths, run.num_samples, len(run.completions)) == ((0, 3, 12), 2, 12)
    assert {each.depth: each.sample.depth for each in run.completions} == {0: 0, 3: 3, 12: 12}
    texts = {depth: [each.sample.text for each in run.completions if each.depth == depth] for depth in run.depths}
    assert texts[0] == texts[3] == texts[12]
    assert run.head["model"]["trm"]["name"] == "trm"
    assert run.head["model"]["trainable_parameters"] == run.head["model"]["trm"]["num_parameters"] > 0


def test_shards_merged_equal_the_run_that_was_not_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["eval", "--data", str(gsm8k_file(tmp_path, 5)), "--num-samples", "2", *SHORT]
    assert cli.main([*asked, "--out", str(tmp_path / "whole")]) == 0
    shards = [tmp_path / f"shard-{index}" for index in range(2)]
    for index, shard in enumerate(shards):
        assert cli.main([*asked, "--shard", f"{index}/2", "--out", str(shard)]) == 0
    assert cli.main(["eval", "merge", str(tmp_path / "merged"), *map(str, shards)]) == 0
    assert told(read_run(tmp_path / "merged")) == told(read_run(tmp_path / "whole"))
    assert "missing: " not in capsys.readouterr().out
    assert (tmp_path / "merged" / "report.html").is_file()
    assert cli.main(["eval", "merge", str(tmp_path / "half"), str(shards[0])]) == 0
    assert "missing: 2 problems are in no shard given (0/2): numbers 1, 3 of the data" in capsys.readouterr().out


def test_a_server_of_somebody_elses_is_evaluated_by_its_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served() as url:
        asked = ["eval", "--data", str(gsm8k_file(tmp_path)), "--out", str(tmp_path / "out"), "--engine", url]
        assert cli.main([*asked, "--model", str(TINY_MODEL), "--max-new-tokens", "8"]) == 0
    run = read_run(tmp_path / "out")
    assert [len(each.sample.text) for each in run.completions] == [8] * 4
    assert run.head["engine"]["kind"] == "server"


def test_a_server_is_evaluated_without_the_models_folder_and_what_is_guessed_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    says = [{"choices": [{"delta": {"content": r"So \boxed{7}."}, "finish_reason": "stop"}]}]
    asked = ["eval", "--data", str(gsm8k_file(tmp_path, 2)), "--out", str(tmp_path / "out"), "--max-new-tokens", "8"]
    with serving(Served(says=says, models=("his-model",))) as url:
        assert cli.main([*asked, "--engine", "openai", "--url", url]) == 0
        assert cli.main([*asked, "--engine", "openai", "--url", url, "--prompt", "lm-eval"]) == 1
    assert "guessed: the server has the model 'his-model'" in caplog.text
    assert "needs the model's tokenizer: --model DIR" in capsys.readouterr().err
    run = read_run(tmp_path / "out")
    assert (run.head["model"], run.head["engine"]["kind"]) == ({"name": "his-model"}, "server")
    assert [each.sample.text for each in run.completions] == [r"So \boxed{7}."] * 2
    assert "his-model" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.long
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_ended_goes_on_and_gives_what_an_unbroken_one_gives(
    tmp_path: Path, ending: signal.Signals
) -> None:
    out, data = tmp_path / "out", str(gsm8k_file(tmp_path, 12))
    drawn = ["--num-samples", "4", "--batch-size", "2", "--max-new-tokens", "32", *ONE_THREAD]
    asked = ["eval", "--data", data, *drawn]
    process = subprocess.Popen(
        [sys.executable, "-m", "kit.cli", *asked, "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and _num_kept(out) < 5:
        time.sleep(0.01)
    process.send_signal(ending)
    printed, errors = process.communicate()
    num_kept = _num_kept(out)
    assert 5 <= num_kept < 48
    if ending is not signal.SIGKILL:
        assert process.returncode == 130
        assert f"not whole: {num_kept} of 48 samples" in printed
        assert "kit: interrupted; the same command goes on where it was" in errors
        assert "Traceback" not in errors
    assert cli.main([*asked, "--out", str(out)]) == 0
    assert _num_kept(out) == 48
    assert cli.main([*asked, "--out", str(tmp_path / "unbroken")]) == 0
    assert told(read_run(out)) == told(read_run(tmp_path / "unbroken"))


@pytest.mark.slow
@pytest.mark.long
def test_under_nohup_a_run_outlives_its_terminal(tmp_path: Path) -> None:
    """SIGHUP was given a handler though it was ignored, so that a night's run ended with the terminal."""
    out = tmp_path / "out"
    asked = ["eval", "--data", str(gsm8k_file(tmp_path, 12)), "--num-samples", "4", "--batch-size", "2", *SHORT]
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "kit.cli", *asked, "--out", str(out)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and _num_kept(out) < 5:
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    assert process.wait() == 0
    assert _num_kept(out) == 48


def _num_kept(out: Path) -> int:
    path = out / JOURNAL_NAME
    return path.read_bytes().count(b'"kind":"completion"') if path.exists() else 0


def without_template(folder: Path) -> Path:
    shutil.copytree(TINY_MODEL, folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "chat_template"}))
    return folder


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--data", "gsm9k"], "unknown data set 'gsm9k': did you mean 'gsm8k'?"),
        (["--data", "absent.jsonl"], "absent.jsonl"),
        ([], "no data; give --data gsm8k"),
        (["--data", "SUMS", "--limit", "0"], "limit must be >= 1"),
        (["--data", "SUMS", "--depth", "3"], "--depth is for recursive models"),
        (["--data", "SUMS", "--depth", "3,x", "--trm", "TRM"], "--depth 3,x: expected depths with commas between them"),
        (["--data", "SUMS", "--depth", "3,3", "--trm", "TRM"], "depths must be different from each other"),
        (["--data", "SUMS", "--depth", "99", "--trm", "TRM"], "depths must be in [0, 64]"),
        (["--data", "SUMS", "--shard", "3/2"], "--shard 3/2: expected I/N with 0 <= I < N"),
        (["--data", "SUMS", "--shard", "2"], "--shard 2: expected I/N"),
        (["--data", "SUMS", "--shard", "8/9"], "no problem in shard 8/9 to ask"),
        (["--data", "SUMS", "--num-samples", "0"], "num_samples must be >= 1"),
        (["--data", "SUMS", "--num-samples", "2", "--temperature", "0"], "2 samples at temperature 0"),
        (["--data", "SUMS", "--batch-size", "0"], "batch_size must be >= 1"),
        (["--data", "SUMS", "--top-p", "0"], "top_p must be in (0, 1]"),
        (["--data", "SUMS", "--num-shots", "-1"], "--num-shots must be >= 0"),
        (["--data", "SUMS", "--num-shots", "99"], "--num-shots 99, but "),
        (["--data", "SUMS", "--engine", "vlm"], "--engine vlm: no such engine; did you mean 'vllm'?"),
        (["--data", "SUMS", "--engine", "trm"], "--engine trm needs --trm DIR"),
        (["--data", "SUMS", "--engine", "transformers", "--trm", "TRM"], "--trm needs an engine that recurses"),
        (["--data", "SUMS", "--adapter", "TRM"], "--adapter needs --model"),
        (["--data", "SUMS", "--adapter", "TRM", "--model", "TINY"], "no adapter in"),
        (["--data", "SUMS", "--adapter", "nowhere", "--model", "TINY"], "no adapter in nowhere"),
        (["--data", "SUMS", "--trm", "nowhere", "--model", "TINY"], "no TRM in nowhere: config.json is missing"),
        (
            ["--data", "SUMS", "--adapter", "TRM", "--model", "TINY", "--engine", "http://127.0.0.1:9"],
            "--adapter needs --engine transformers or vllm",
        ),
        (["--data", "SUMS", "--model", "nowhere"], "no model folder at nowhere"),
        (["--data", "SUMS", "--model", "BARE"], "the tokenizer has no chat template; put a chat_template.jinja"),
        (["--data", "SUMS", "--model", "OTHER", "--trm", "TRM"], "wrong backbone: the weights in"),
        (["--data", "SUMS", "--set", "solver.width=2"], "kit eval takes settings of the engine only"),
        (["--data", "SUMS", "--set", "engine.kind=trm"], "--set engine.kind=trm: name the engine by --engine"),
        (["--data", "SUMS", "--set", "engine.dtyp=float32"], "did you mean 'engine.dtype'?"),
        (
            ["--data", "SUMS", "--engine", "vllm", "--set", "engine.vllm.python=absent"],
            "engine.vllm.python: no interpreter at",
        ),
        (["--data", "SUMS", "--engine", "http://127.0.0.1:9"], "http://127.0.0.1:9: no server answers there"),
    ],
)
def test_bad_input_is_one_error_that_says_the_fix(
    args: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = without_template(tmp_path / "bare") if "BARE" in args else tmp_path
    if "OTHER" in args:
        shutil.copytree(TINY_MODEL, tmp_path / "other")
        change_a_weight(tmp_path / "other")
    if "TRM" in args:
        save_untrained(tmp_path / "trm", backbone_folder=TINY_MODEL)
    names = {
        "SUMS": str(gsm8k_file(tmp_path)),
        "TRM": str(tmp_path / "trm"),
        "BARE": str(bare),
        "OTHER": str(tmp_path / "other"),
        "TINY": str(TINY_MODEL),
    }
    assert cli.main(["eval", "--out", str(tmp_path / "out"), *(names.get(arg, arg) for arg in args)]) == 1
    printed = capsys.readouterr()
    assert says in printed.err
    assert [line for line in printed.err.splitlines() if line.startswith("kit: ")] == printed.err.splitlines()[-1:]
    assert not (tmp_path / "out" / JOURNAL_NAME).exists()


def test_a_model_without_chat_template_is_asked_by_raw_texts(tmp_path: Path) -> None:
    bare = without_template(tmp_path / "bare")
    asked = ["eval", "--data", str(gsm8k_file(tmp_path)), "--model", str(bare), "--prompt", "lm-eval", *SHORT]
    assert cli.main([*asked, "--out", str(tmp_path / "bare-run")]) == 0
    assert cli.main([*asked, "--model", str(TINY_MODEL), "--out", str(tmp_path / "with-template")]) == 0
    assert told(read_run(tmp_path / "bare-run")) == told(read_run(tmp_path / "with-template"))


def change_a_weight(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    next(iter(tensors.values())).flatten()[0] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_data_without_a_known_column_or_row_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in ("", '{"quest": "1+1", "ans": "2"}\n'):
        path = tmp_path / "bad.jsonl"
        path.write_text(content)
        assert cli.main(["eval", "--data", str(path), "--out", str(tmp_path / "out")]) == 1
        assert f"kit: {path}" in capsys.readouterr().err


def test_the_folder_of_another_run_is_refused_and_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    asked = ["eval", "--data", str(gsm8k_file(tmp_path)), "--out", str(out), *SHORT]
    assert cli.main(asked) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert cli.main([*asked, "--seed", "5", "--top-p", "0.5"]) == 1
    assert f"{out} holds another run: sampling.top_p is 0.5 here and 1.0 there; seed is 5 here and 0 there" in (
        capsys.readouterr().err
    )
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_the_context_of_a_prompt_too_long_is_a_wrong_answer_with_its_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = gsm8k_file(tmp_path)
    row = {"question": "What is $1" + "+1" * 3000 + "$?", "answer": "#### 3001"}
    path.write_text(path.read_text() + json.dumps(row) + "\n")
    assert cli.main(["eval", "--data", str(path), "--out", str(tmp_path / "out"), *SHORT]) == 0
    assert "one sample failed and counts as wrong; the same command tries again: the prompt has" in (
        capsys.readouterr().out
    )
    finishes = [each.sample.finish for each in read_run(tmp_path / "out").completions]
    assert finishes.count(FinishReason.FAILED) == 1
