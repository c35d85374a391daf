"""Checks as they are printed."""

from __future__ import annotations

import pytest

from kit.commands.checks import print_checks
from kit.kaggle.findings import Check, warning

PATH = "/home/somebody/" + "a-long-folder/" * 12 + "kaggle.json"


@pytest.mark.parametrize("num_columns", [40, 80, 200])
def test_nothing_is_cut_in_a_narrow_terminal(
    num_columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug of an earlier version: a path wider than its column lost its end, and with it what it was about."""
    monkeypatch.setenv("COLUMNS", str(num_columns))
    checks = (
        Check(name="credentials", detail=f"KAGGLE_USERNAME and KAGGLE_KEY, or {PATH}, of ada"),
        Check(name="vLLM's memory", detail=PATH, findings=(warning(PATH, "told no cache", "look at it"),)),
    )
    assert print_checks(PATH, checks) == 0
    told = capsys.readouterr().out
    table, _, finding = told.partition("warning: ")
    assert "…" not in told
    assert all(len(line) <= num_columns for line in table.splitlines())
    cells = [line.split("│")[3].strip() for line in table.splitlines() if line.startswith("│")]
    assert f"{PATH},ofada" in "".join(cells).replace(" ", "")
    assert finding == f"{PATH}: told no cache\n  fix: look at it\n"
