"""The notebook's first cell: the kit and what it needs, from a dataset's own wheels and nowhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from kit.errors import InputError, MissingError
from kit.kaggle.dataset.manifest import Entry, Manifest, WheelSet
from kit.kaggle.notebook.bootstrap import install_kit
from kit.kaggle.transfer import sha256_of
from kit.kaggle.wheels.installers import uv_command
from tests.kaggle.wheels.simple_index import make_wheel

pytestmark = pytest.mark.slow
UV = uv_command()
needs_uv = pytest.mark.skipif(UV is None, reason="there is no uv here: installing with it is NOT TESTED")
LOCK = "wheels/pylock.toy.toml"
WHEELS = WheelSet(target="toy", python="3.11", glibc="2.17", cuda=None, lock=LOCK, versions=("app==1.0",))


def dataset_of(folder: Path, *, wheels: WheelSet | None) -> Path:
    """A dataset of a kit that requires `app`, which requires `part`; flat, as Kaggle mounts it."""
    folder.mkdir()
    made = folder / "made"
    kit_wheel = make_wheel(made, "mathllm-kit", requires=["app"])
    paths = {kit_wheel.file: made / kit_wheel.file}
    if wheels is not None:
        for wheel in (make_wheel(made, "app", requires=["part"]), make_wheel(made, "part")):
            paths[f"wheels/{wheel.file}"] = made / wheel.file
        (made / "lock").write_text("")
        paths[LOCK] = made / "lock"
    entries = []
    for path, file in paths.items():
        flat = shutil.move(file, folder / path.replace("/", "__"))
        entries.append(Entry(path, Path(flat).name, Path(flat).stat().st_size, sha256_of(Path(flat))))
    made.rmdir()
    Manifest(kit_version="1", commit="test", entries=tuple(entries), wheels=wheels).save(folder)
    return folder


def installed(target: Path) -> set[str]:
    return {path.name for path in target.iterdir() if path.is_dir() and not path.name.endswith(".dist-info")}


@pytest.mark.parametrize("uv", [pytest.param(UV, marks=needs_uv, id="uv"), pytest.param(None, id="pip")])
def test_the_kit_is_installed_with_its_requirements_from_the_datasets_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uv: Sequence[str] | None
) -> None:
    dataset, target = dataset_of(tmp_path / "dataset", wheels=WHEELS), tmp_path / "tmp" / "kit-install"
    monkeypatch.setenv("PIP_INDEX_URL", "http://192.0.2.1/simple")  # nobody may ask an index
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for _ in range(2):  # again, over its own files
        install_kit(dataset, target, mounts=tmp_path, uv=uv)
        assert {"mathllm_kit", "app", "part"} <= installed(target)


def test_without_wheels_only_the_kit_is_installed(tmp_path: Path) -> None:
    dataset, target = dataset_of(tmp_path / "dataset", wheels=None), tmp_path / "tmp" / "kit-install"
    install_kit(dataset, target, mounts=tmp_path, uv=UV)
    assert installed(target) == {"mathllm_kit"}


def test_a_wheel_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    dataset, target = dataset_of(tmp_path / "dataset", wheels=WHEELS), tmp_path / "tmp" / "kit-install"
    part = dataset / "wheels__part-1.0-py3-none-any.whl"
    part.write_bytes(b"\0" * part.stat().st_size)
    with pytest.raises(InputError, match=r"mathllm_kit-1.0-py3-none-any\.whl: the kit does not install"):
        install_kit(dataset, target, mounts=tmp_path, uv=UV)
    part.unlink()
    with pytest.raises(MissingError, match=part.name):
        install_kit(dataset, target, mounts=tmp_path, uv=UV)


def test_as_a_command_it_ends_with_1_and_a_line_so_that_the_notebook_takes_the_wheel(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    argv = [sys.executable, "-m", "kit.kaggle.notebook.bootstrap", tmp_path / "empty", tmp_path, tmp_path / "target"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 1
    assert done.stderr.startswith("the kit is used from its wheel: ")
    assert "Traceback" not in done.stderr
