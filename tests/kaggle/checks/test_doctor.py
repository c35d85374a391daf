"""What the doctor finds, and what it must not show."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit import cli
from kit.kaggle.checks import doctor
from kit.kaggle.findings import Severity

TOKEN = "kagat_" + "0123456789abcdef" * 2


def test_a_token_is_told_by_its_place_and_never_shown(tmp_path: Path) -> None:
    check = doctor.credentials({"HOME": str(tmp_path), "KAGGLE_API_TOKEN": TOKEN})
    assert check.is_passed
    assert not check.findings
    assert "KAGGLE_API_TOKEN" in check.detail
    assert TOKEN not in repr(check)


def test_to_have_no_credentials_is_a_warning_with_the_fix(tmp_path: Path) -> None:
    check = doctor.credentials({"HOME": str(tmp_path)})
    assert check.is_passed
    assert [finding.severity for finding in check.findings] == [Severity.WARNING]
    assert "access_token" in check.findings[0].fix


def test_every_committed_lock_is_current() -> None:
    check = doctor.locks()
    assert check.findings == ()
    assert "kaggle-cp312" in check.detail


def test_a_lock_older_than_its_target_is_named_with_the_command(tmp_path: Path, repo: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in ("targets.toml", "lock-cpu.txt"):
        (wheels / name).write_text((repo / "wheels" / name).read_text())
    project = (repo / "pyproject.toml").read_text().replace('"rich>=13.9"', '"rich>=13.10"')
    (tmp_path / "pyproject.toml").write_text(project)
    check = doctor.locks(project=tmp_path)
    assert not check.is_passed
    assert "kit wheels lock --target cpu" in check.findings[0].fix


def test_what_a_dry_run_imports_is_installed_here() -> None:
    check = doctor.packages()
    assert check.is_passed, check.findings
    assert "torch" in check.detail


def test_a_package_that_is_absent_fails_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PACKAGES", ("torch", "no_such_package"))
    check = doctor.packages()
    assert [finding.file for finding in check.findings] == ["no_such_package"]
    assert not check.is_passed


def test_the_network_and_the_sandbox_are_described(tmp_path: Path) -> None:
    assert doctor.network(tmp_path).detail
    assert doctor.sandbox().detail


@pytest.mark.slow
def test_one_screen_tells_of_machine_and_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["build", "--out", str(tmp_path / "dataset")]) == 0
    capsys.readouterr()
    assert cli.main(["doctor", str(tmp_path / "dataset")]) == 0
    printed = capsys.readouterr().out
    for said in ("this machine", "sandbox", "wheel locks", "credentials", "files", "model"):
        assert said in printed


def test_a_dataset_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", str(tmp_path / "none")]) == 1
    assert "no such folder; build a dataset" in capsys.readouterr().err
