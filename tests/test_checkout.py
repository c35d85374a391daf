"""The kit's own wheel, built from the checkout wherever one stands."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kit import assets
from kit.checkout import build_wheel, repacked_wheel
from kit.errors import MissingError
from kit.kaggle.dataset.manifest import load_manifest


@pytest.mark.slow
def test_the_wheel_builds_in_a_folder_that_has_modules_of_the_builders_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug of an earlier version: a build.py of the user's was run in place of the builder."""
    for name in ("build", "hatchling", "pip"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is no builder')\n")
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(build_wheel(tmp_path / "out")) as wheel:
        names = wheel.namelist()
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        told = wheel.read(entry_points).decode()
    assert "kit/engines/vllm/plugin/model.py" in names
    of_the_report = {"temml/LICENSE", "temml/temml.css", "temml/temml.min.js", "report/page.html", "report/report.js"}
    assert {f"kit/assets/{name}" for name in of_the_report} <= set(names)
    assert "[vllm.general_plugins]\nkit_trm = kit.engines.vllm.plugin.register:register" in told


def install(wheel: Path, into: Path) -> Path:
    """As an installer does: unpacked, with its own files beside what the wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into)
    (told,) = into.glob("*.dist-info")
    (told / "INSTALLER").write_text("pip\n")
    (told / "direct_url.json").write_text('{"url": "file:///home/ada/secret"}')
    with (told / "RECORD").open("a") as record:
        record.write(f"{told.name}/INSTALLER,,\n{told.name}/direct_url.json,,\nkit/__pycache__/x.cpython-311.pyc,,\n")
    (into / "kit" / "__pycache__").mkdir(exist_ok=True)
    (into / "kit" / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"")
    return into


@pytest.mark.slow
def test_an_installed_wheel_is_put_together_again_from_its_files_and_builds_a_dataset(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path / "built")
    installed = install(wheel, tmp_path / "site")
    again = repacked_wheel(tmp_path / "again", path=[str(installed)])
    assert again.name == wheel.name
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert sorted(first.namelist()) == sorted(second.namelist())
        for name in first.namelist():
            assert name.endswith("RECORD") or first.read(name) == second.read(name), name
    assert repacked_wheel(tmp_path / "third", path=[str(installed)]).read_bytes() == again.read_bytes()
    code = (
        "from pathlib import Path; from kit.kaggle.dataset.bundle import build; "
        "from kit.kaggle.dataset.plan import DatasetPlan; "
        f"build(Path('dataset'), DatasetPlan(model=Path({str(assets.TINY_MODEL)!r})))"
    )
    environ = {**os.environ, "PYTHONPATH": str(installed)}
    argv = [sys.executable, "-P", "-c", code]
    done = subprocess.run(argv, cwd=tmp_path, env=environ, check=False, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()
    assert load_manifest(tmp_path / "dataset").commit == "unknown"  # that of no repository around it
    with zipfile.ZipFile(next((tmp_path / "dataset").glob("*.whl"))) as packed:
        assert "kit/assets/project/wheels/pylock.kit.toml" in packed.namelist()
        assert "kit/assets/project/notebooks/submission.ipynb" in packed.namelist()


def test_where_no_wheel_is_installed_there_is_one_line_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="install the kit's wheel, or use a checkout"):
        repacked_wheel(tmp_path / "out", path=[str(tmp_path)])
