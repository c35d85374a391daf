"""Progress on standard error or a console; silent where there is no terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kit.commands.progress import byte_bar, count_bar, upload_progress
from kit.kaggle.upload.plan import Event, Stage


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
