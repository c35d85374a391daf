"""Models by their id on the hub, from a hub on loopback."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.assets import TINY_MODEL
from kit.engines.hub import find_model, is_hub_id
from kit.errors import InputError, MissingError
from tests.engines.loopback_hub import serving

EXTRA = ("modeling_tiny.py", "pytorch_model.bin")  # never fetched


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served" / "owner" / "tiny"
    shutil.copytree(TINY_MODEL, folder)
    for name in EXTRA:
        (folder / name).write_text("never")
    with serving(tmp_path / "served") as url:
        yield url


def found(named: str, tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, since huggingface_hub reads its switches when it is imported."""
    code = f"from kit.engines.hub import find_model; print(find_model({named!r}))"
    told = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), **environ}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=told)


def test_a_model_of_the_hub_is_fetched_once_without_code_and_pickles(tmp_path: Path, hub: str) -> None:
    done = found("owner/tiny", tmp_path, HF_ENDPOINT=hub, HF_HUB_DISABLE_XET="1")
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert {path.name for path in folder.iterdir()} == {path.name for path in TINY_MODEL.iterdir()}
    assert (folder / "model.safetensors").read_bytes() == (TINY_MODEL / "model.safetensors").read_bytes()
    again = found("owner/tiny", tmp_path, HF_HUB_OFFLINE="1")
    assert again.stdout == done.stdout


@pytest.mark.parametrize("offline", [True, False])
def test_a_model_that_cannot_be_fetched_is_one_clear_error(tmp_path: Path, hub: str, offline: bool) -> None:
    environ = {"HF_HUB_OFFLINE": "1"} if offline else {"HF_ENDPOINT": hub}
    done = found("owner/absent", tmp_path, **environ)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("kit.errors.MissingError: owner/absent: no such folder here, and the hub does not give it (")
    assert "unset HF_HUB_OFFLINE, or copy the model's folder here" in last


def test_a_folder_is_itself_and_a_path_is_never_asked_of_the_hub(tmp_path: Path) -> None:
    assert find_model(str(tmp_path)) == tmp_path
    for path in ("./a/b", "/a/b", "a/b/c", "nowhere", "../a"):
        assert not is_hub_id(path)
        assert find_model(path) == Path(path)
    with pytest.raises(InputError, match="the model's name is empty"):
        find_model(" ")


def test_a_machine_without_the_hub_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingError, match=r"pip install 'mathllm-kit\[torch\]'"):
        find_model("owner/absent")
