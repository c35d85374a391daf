"""The kit's own wheel, built from the checkout wherever one stands."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from kit.checkout import build_wheel


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
