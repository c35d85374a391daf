"""`kit solve` as a newcomer meets it."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from kit import cli
from kit.assets import TINY_MODEL
from kit.commands.solve import _show
from tests.engines.lora import save_adapter
from tests.engines.openai.chat_server import Served, serving

SUM = "What is $1+1$?"


def test_the_answer_the_votes_and_why_it_stopped_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["solve", SUM, "--samples", "3"]) == 0
    printed = capsys.readouterr()
    answer, votes, stopped = printed.out.splitlines()
    assert re.fullmatch(r"answer:  \d+", answer)
    assert re.fullmatch(r"votes:   \d+ ×\d+.*, of [123] attempts", votes)
    assert re.fullmatch(r"stopped: .+, after [\d.]+ s and \d+ tokens", stopped)
    assert "shipped toy model: 3 million parameters" in printed.err
    assert "--model DIR" in printed.err


def test_attempts_are_shown_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["solve", SUM, "--samples", "2", "--show"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^--- attempt [12]: (?:no answer|answer \d+), \d+ tokens, [\d.]+ s, \w+$", out, re.M)) == 2
    assert out.index("--- attempt") < out.index("answer:  ")


def test_a_dash_reads_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SUM.encode())))
    assert cli.main(["solve", "-", "--samples", "1"]) == 0
    assert "answer:  " in capsys.readouterr().out
    for read, told in ((b"\n", "the problem is empty; give its text"), (b"1 \xd7 2", "standard input is not UTF-8")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(read), errors="surrogateescape"))
        assert cli.main(["solve", "-"]) == 1
        assert told in capsys.readouterr().err


def test_a_shown_attempt_cannot_move_the_terminals_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    record = {"kind": "sample", "answer": 1, "number": 0, "num_tokens": 2, "seconds": 1.0, "finish": "error"}
    _show({**record, "error": "\x1b[2J", "text": "a\x1b]0;title\x07b"})
    out = capsys.readouterr().out
    assert "a⟨U+001B⟩]0;title⟨U+0007⟩b" in out
    assert "\x1b" not in out


def test_a_recipe_and_settings_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("solver.stop.num_samples = 1\n")
    assert cli.main(["solve", SUM, "--config", str(recipe)]) == 0
    assert "of 1 attempts" in capsys.readouterr().out


def test_an_adapter_answers_in_the_models_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Greedily, so that only the adapter can make the difference."""
    asked = ["solve", SUM, "--samples", "1", "--show", "--set", "solver.sampling.temperature=0"]
    adapter = save_adapter(tmp_path / "adapter")
    texts = []
    for more in ([], ["--adapter", str(adapter)]):
        cli.main([*asked, *more])
        texts.append(capsys.readouterr().out.splitlines()[1:-4])
    assert texts[0] != texts[1]
    assert cli.main(["solve", SUM, "--engine", "trm", "--adapter", str(adapter)]) == 1
    assert "recurses over the model as it is, without the adapter" in capsys.readouterr().err


def test_a_server_that_somebody_else_runs_is_asked_and_what_it_lacks_is_told(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    says = [{"choices": [{"delta": {"content": r"So \boxed{7}."}, "finish_reason": "stop"}]}]
    served = Served(says=says, refuses=frozenset({"top_k"}))
    with serving(served) as url:
        assert cli.main(["solve", SUM, "--engine", "openai", "--url", url, "--samples", "2"]) == 0
    assert "answer:  7" in capsys.readouterr().out
    assert "top_k is left out" in caplog.text
    assert served.asked[-1]["model"] == "small"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--adapter", str(TINY_MODEL)], "it holds a whole model, such as a full fine-tune: name it as the model"),
        (["--model", "nowhere"], "no model folder at nowhere; expected a folder with config.json and weights"),
        (["--set", "solver.widht=1"], "--set solver.widht=1: there is no setting 'solver.widht'; did you mean"),
        (["--samples", "0"], "solver.stop.num_samples must be >= 1, got 0"),
        (["--url", "http://127.0.0.1:9"], "--url is for --engine openai, not the default"),
        (["--engine", "openai"], "needs the server's address: --url http://HOST:PORT"),
        (["--engine", "openai", "--url", "http://127.0.0.1:9"], "no server answers there"),
        (["--engine", "openai", "--url", "http://127.0.0.1:9", "--api-key-env", "NO_KEY"], "there is no such variable"),
        (["--config", "absent.toml"], "absent.toml: no such recipe; `kit settings --write absent.toml`"),
        (["--engine", "vllm", "--set", "engine.vllm.python=absent"], "engine.vllm.python: no interpreter at"),
    ],
)
def test_bad_input_is_one_error_that_says_the_fix(
    args: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["solve", SUM, *args]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert says in printed.err
    assert len([line for line in printed.err.splitlines() if line.startswith("kit: ")]) == 1
