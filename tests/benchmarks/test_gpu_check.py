"""The check for a GPU, on a CPU as far as it goes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import check
from benchmarks.gpu.check import Bench, line


def bench(tmp_path: Path, *, device: str = "cpu", vllm: Path | None = None) -> Bench:
    return Bench(device=device, python=Path(sys.executable), vllm=vllm, scratch=tmp_path)


def run(repo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [repo / "benchmarks/gpu/check.sh", *arguments]
    environ = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_a_line_that_a_machine_cannot_show_is_not_run_and_says_why(tmp_path: Path) -> None:
    assert line("compiled", bench(tmp_path), left_s=1) == ("not run", "needs a GPU")
    assert line("plugin", bench(tmp_path), left_s=1) == ("not run", "no vLLM here: give a folder of wheels")
    assert line("machine", bench(tmp_path, device="cuda"), left_s=0) == ("not run", "the 540 s are over")


def test_a_line_fails_with_what_its_process_said_last(tmp_path: Path) -> None:
    broken = Bench(device="cpu", python=Path(sys.executable), vllm=None, scratch=tmp_path)
    with pytest.raises(AssertionError, match="ValueError: why"):
        broken.run("-c", "raise ValueError('why')")
    with_none = Bench(device="cpu", python=tmp_path / "python", vllm=None, scratch=tmp_path)
    assert line("machine", with_none, left_s=1)[0] == "FAILED"


def test_what_the_caller_adds_to_the_path_is_for_his_own_python_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    other = tmp_path / "python"
    other.symlink_to(sys.executable)
    with_vllm, code = bench(tmp_path, vllm=other), "import sys; print(sys.path)"
    assert f"'{tmp_path}'" in with_vllm.run("-c", code)
    assert f"'{tmp_path}'" not in with_vllm.run("-c", code, python=other)


def test_texts_that_differ_are_counted(tmp_path: Path) -> None:
    for mode, texts in {"plain": [[1, 2], [3, 4]], "eager": [[1, 2], [3, 5]]}.items():
        (tmp_path / f"{mode}.json").write_text(str({"tokens": {"0": texts, "3": [[9, 9], [9, 9]]}}).replace("'", '"'))
    with_vllm = bench(tmp_path, vllm=Path(sys.executable))
    assert line("plugin", with_vllm, left_s=1) == ("FAILED", "T=0 agrees with the backbone in 50% of texts")
    (tmp_path / "eager.json").write_text((tmp_path / "plain.json").read_text())
    assert line("plugin", with_vllm, left_s=1)[0] == "passed"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--gpu",), "no option --gpu"),
        (("--wheels", "nowhere"), "no wheels in nowhere; benchmarks/gpu/README.md says"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(repo: Path, arguments: tuple[str, ...], says: str) -> None:
    done = run(repo, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_every_line_is_described(repo: Path) -> None:
    told = (repo / "benchmarks/gpu/README.md").read_text()
    described = re.findall(r"^\| ([a-z0-9, -]+) \|", told, re.MULTILINE)
    assert {name for names in described for name in names.split(", ")} - {"line"} == set(check.LINES)


@pytest.mark.slow
@pytest.mark.parametrize(
    "lines", [("machine",), pytest.param(("machine", "identity", "exactness"), marks=pytest.mark.long)], ids=" ".join
)
def test_the_script_prints_the_table_on_a_cpu(repo: Path, lines: tuple[str, ...]) -> None:
    done = run(repo, "--cpu", *lines, "compiled")
    outcomes = re.findall(r"^\| (\S+) \| (passed|FAILED|not run) \|", done.stdout, re.MULTILINE)
    wanted = {**dict.fromkeys(lines, "passed"), "compiled": "not run"}
    assert (dict(outcomes), done.returncode) == (wanted, 0), done.stdout + done.stderr
    assert f"{len(lines)} of {len(lines) + 1} passed" in done.stdout


@pytest.mark.slow
@pytest.mark.long
def test_the_plugins_line_holds_in_the_cpu_build(repo: Path, vllm_python: Path) -> None:
    done = run(repo, "--cpu", "--vllm-python", str(vllm_python), "plugin")
    assert "| plugin | passed |" in done.stdout, done.stdout + done.stderr
