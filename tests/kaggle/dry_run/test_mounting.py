"""What stands for Kaggle's mounts."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from kit.kaggle.dry_run.mounting import Layout, mount
from kit.problem import Problem


@pytest.fixture(name="dataset")
def dataset_fixture(tmp_path: Path) -> Path:
    (tmp_path / "dataset/model").mkdir(parents=True)
    (tmp_path / "dataset/model/weights").write_bytes(b"w" * 10)
    (tmp_path / "dataset/kit-manifest.json").write_bytes(b"{}")
    return tmp_path / "dataset"


@pytest.mark.parametrize("has_links", [True, False])
def test_a_dataset_is_mounted_without_its_bytes_where_the_disk_has_links(
    dataset: Path, tmp_path: Path, has_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "no links here")

    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", none)
    for _ in range(2):  # a run that goes on mounts once more
        mount(dataset, [Problem("a", "1+1")], tmp_path / "root", Layout.NEW)
    place = Layout.NEW.dataset(tmp_path / "root/input")
    found = next((tmp_path / "root").rglob("weights"))
    assert found.parent.parent.name == place.name
    assert found.read_bytes() == b"w" * 10
    assert found.samefile(dataset / "model/weights") is has_links
    assert sorted(path.name for path in found.parent.parent.iterdir()) == ["kit-manifest.json", "model"]
