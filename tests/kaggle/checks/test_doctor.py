"""What the doctor finds, and what it must not show."""

from __future__ import annotations

import os
import re
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
    assert check.findings[0].problem.startswith("nothing can be uploaded: no Kaggle credentials; looked at\n")
    assert check.findings[0].fix.startswith("make a token at https://www.kaggle.com/settings/api")
    assert "make a token" not in check.findings[0].problem


def test_every_committed_lock_is_current() -> None:
    check = doctor.locks()
    assert check.findings == ()
    assert "kaggle-cp312" in check.detail


def test_a_lock_older_than_its_target_is_named_with_the_command(tmp_path: Path, repo: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in ("targets.toml", "pylock.cpu.toml"):
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
    assert re.fullmatch(r"[a-z, ]+(; not granted here: [a-z, ]+)?", doctor.sandbox().detail), "no errno beside an ok"


CACHE = "GPU KV cache size: 630,464 tokens, Maximum concurrency for 65,536 tokens per request: 9.62x\n"
OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 46.00 MiB\n"


def server_log(runs: Path, name: str, *starts: str, modified_s: int = 0) -> None:
    path = runs / name / "kaggle" / "tmp" / "vllm-server" / "server.log"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"=== start on a port\n{start}" for start in starts))
    os.utime(path, (modified_s, modified_s))


def test_what_vllm_told_of_its_memory_is_that_of_the_last_start(tmp_path: Path) -> None:
    assert "not started yet" in doctor.last_start(tmp_path).detail
    server_log(tmp_path, "run-0001", OUT_OF_MEMORY, CACHE, modified_s=2)
    server_log(tmp_path, "run-0002/1", OUT_OF_MEMORY, modified_s=1)
    check = doctor.last_start(tmp_path)
    assert (check.detail, check.findings) == ("a cache of 630,464 tokens, 9.62 attempts of 65,536 at once", ())


def test_a_last_start_without_a_cache_is_told_with_its_cause_and_fix(tmp_path: Path) -> None:
    server_log(tmp_path, "run-0001", CACHE, OUT_OF_MEMORY)
    check = doctor.last_start(tmp_path)
    (finding,) = check.findings
    assert check.is_passed
    assert "CUDA out of memory" in finding.problem
    assert "memory_share" in finding.fix


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
