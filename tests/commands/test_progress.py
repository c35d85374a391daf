"""Progress on standard error or a console; lines where there is no terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kit.commands.progress import (
    Shown,
    byte_bar,
    completion_text,
    count_bar,
    score_bar,
    training_bar,
    upload_progress,
)
from kit.evaluation.records import Completion, Grade, ReadFrom
from kit.evaluation.score import RunningScore
from kit.kaggle.upload.plan import Event, Stage
from kit.sampling import FinishReason, Sample
from kit.training.update import Update


def test_bytes_are_shown_on_a_terminal_only(capsys: pytest.CaptureFixture[str]) -> None:
    with byte_bar("hashing") as on_bytes:
        on_bytes(5, 10)
        on_bytes(5, 10)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_its_bar_of_bytes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with byte_bar("hashing", least_bytes=11) as on_bytes:
        on_bytes(10, 10)
    assert capsys.readouterr().out.startswith("\x1b[?25l")  # a live display hides the cursor


def test_counts_stay_on_the_console_they_are_given() -> None:
    console = Console(file=io.StringIO(), width=80)
    with count_bar("executing", 3, console=console) as on_count:
        on_count(2)
    assert isinstance(console.file, io.StringIO)
    assert "2/3" in console.file.getvalue()


def test_counts_go_to_standard_error_where_no_console_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    with count_bar("scenarios", 3) as on_count:
        on_count(3)
    assert capsys.readouterr().out == ""


def updates(total: int) -> list[Update]:
    return [
        Update(
            number=number, num_updates=total, step=0, loss=1.5, num_tokens=1, grad_norm=0.25, learning_rate=1.0,
            seconds=1.0, means={},
        )
        for number in range(total)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("every_s", "told"),
    [
        (0.0, ["hidden states 64/128", "hidden states 128/128", "updates 1/2", "updates 2/2"]),
        (30.0, ["updates 2/2"]),
    ],
)
def test_a_training_without_a_terminal_says_in_lines_where_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, every_s: float, told: list[str]
) -> None:
    monkeypatch.setattr("kit.commands.progress.LINE_EVERY_S", every_s)
    with training_bar() as (on_states, on_update):
        for done in (64, 128):
            on_states(done, 128)
        for update in updates(2):
            on_update(update)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0].partition("  ")[0] for line in lines] == told
    assert lines[-1] == "updates 2/2  loss 1.500  |grad| 0.25"


def test_a_training_says_how_much_is_left_however_slow_it_is_and_whatever_went_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr("kit.commands.progress.time.monotonic", lambda: now_s)
    with training_bar() as (on_states, on_update):
        for done in (1, 2, 3, 4):  # as many as updates
            on_states(done, 4)
        for update in updates(4)[1:]:  # of a run that goes on
            now_s += 3600
            on_update(update)
    assert capsys.readouterr().err.splitlines() == [
        "updates 2/4  loss 1.500  |grad| 0.25",
        "updates 3/4, 1:00:00 left  loss 1.500  |grad| 0.25",
        "updates 4/4  loss 1.500  |grad| 0.25",
    ]


def test_counts_without_a_terminal_are_told_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with count_bar("scenarios", 3) as on_count:
        on_count(1)
        on_count(3)
    assert capsys.readouterr().err == "scenarios 3/3\n"


def test_what_a_training_that_ends_early_was_told_last_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        with training_bar() as (on_states, _):
            on_states(64, 128)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert capsys.readouterr().err == "hidden states 64/128\n"


def test_an_upload_without_a_terminal_prints_a_line_when_something_else_begins(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with upload_progress() as on_event:
        for done in (1, 2):
            on_event(Event(stage=Stage.SENDING, text="a.bin [x]", done=done, total=2))
        on_event(Event(stage=Stage.NOTE, text="it was there"))
    assert capsys.readouterr().out == "sending: a.bin [x]\nit was there\n"


def test_an_upload_on_a_terminal_moves_a_bar_with_notes_above_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with upload_progress() as on_event:
        on_event(Event(stage=Stage.CHECKING, text="reading [x]", done=1, total=2))
        on_event(Event(stage=Stage.NOTE, text="a note"))
        on_event(Event(stage=Stage.SENDING, text="a.bin", done=2, total=2))
    out = capsys.readouterr().out
    assert "a note" in out
    assert "sending: a.bin" in out
    assert "100%" in out


def completion(text: str, *, is_right: bool) -> Completion:
    grade = Grade(answer="42", is_right=is_right, read_from=ReadFrom.BOXED)
    sample = Sample(text=text, num_tokens=7, finish=FinishReason.STOP, seconds=1.0, seed=0)
    return Completion(problem="p:1:abc", number=1, depth=3, sample=sample, strict=grade, lenient=grade)


def show(shown: Shown) -> None:
    score = RunningScore(total=2)
    score.resume([], begun_s=0.0)
    with score_bar(score, shown) as on_completion:
        for each in (completion("It is [bold] 42.", is_right=True), completion("No.", is_right=False)):
            score.add(each)
            on_completion(each)


@pytest.mark.parametrize(("shown", "texts"), [(Shown.NONE, 0), (Shown.WRONG, 1), (Shown.ALL, 2)])
def test_an_evaluation_without_a_terminal_prints_its_last_line_and_the_completions_asked_for(
    capsys: pytest.CaptureFixture[str], shown: Shown, texts: int
) -> None:
    show(shown)
    printed = capsys.readouterr()
    assert printed.err.startswith("2 of 2, strict 50.0% [")
    assert printed.err.count("\n") == 1
    assert printed.out.count("--- p:1, sample 2 at depth 3: ") == texts
    assert ("It is [bold] 42." in printed.out) == (shown is Shown.ALL)


def test_an_evaluation_on_a_terminal_has_a_bar_with_its_score(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    show(Shown.NONE)
    assert "2 of 2, strict 50.0%" in capsys.readouterr().err


def test_a_completion_is_told_with_how_it_was_graded() -> None:
    assert completion_text(completion(" x ", is_right=True)) == (
        "--- p:1, sample 2 at depth 3: right, 42 (boxed), 7 tokens, stop\nx\n"
    )


def test_a_completion_cannot_move_the_terminal_that_shows_it() -> None:
    """A model may write an escape sequence that clears the screen, sets the title, or fills the clipboard."""
    told = completion_text(completion("a\x1b]52;c;aGk=\x07b\r\n\tc\x9b2J", is_right=True))
    assert told.partition("\n")[2] == "a⟨U+001B⟩]52;c;aGk=⟨U+0007⟩b⟨U+000D⟩\n\tc⟨U+009B⟩2J\n"
