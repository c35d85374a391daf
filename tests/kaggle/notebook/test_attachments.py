"""The real notebook in a real kernel, for each form in which kit, model and wheels may be attached, in both layouts.

The kernel is one of the base image's packages alone (`image`). Each run takes some seconds of a fast machine.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from kit.solver.journal import read_records
from tests.kaggle.notebook.image import make_image

pytestmark = pytest.mark.slow

PROBLEMS = 'id,problem\na,"Compute the remainder when $17$ is divided by $5$."\n'
FEW = ("--set", "solver.stop.num_samples=1", "--set", "solver.sampling.max_new_tokens=8")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a dry run whose kernel has none of the kit's needs."""
    return make_image(tmp_path_factory.mktemp("bare"), has_others=False)


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same, with others in the place of the kit's needs."""
    return make_image(tmp_path_factory.mktemp("strange"), has_others=True)


def dry_run(folder: Path, environ: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "problems.csv").write_text(PROBLEMS)
    argv = [sys.executable, "-m", "kit.cli", "dry-run", "--problems", str(folder / "problems.csv"), *FEW, *options]
    return subprocess.run(
        [*argv, "--out", str(folder / "out")], env=environ, capture_output=True, text=True, check=False
    )


def check_answered(folder: Path) -> None:
    """The run ended well, by samples of the model, with the kit of the dataset."""
    root = folder / "out" / "run-0001" / "kaggle"
    assert pl.read_parquet(root / "working" / "submission.parquet")["id"].to_list() == ["a"]
    assert [each for each in read_records(root / "working" / "journal.jsonl") if each["kind"] == "sample"]
    assert f"from {root / 'tmp' / 'kit-install'}" in (root / "working" / "kit.log").read_text()


def test_a_dataset_without_wheels_stands_alone_on_an_image_without_trio(bare: dict[str, str], tmp_path: Path) -> None:
    """Bug of an earlier version: its notebook died with the first import, and `kit verify` called it fine."""
    done = dry_run(tmp_path, bare)
    assert done.returncode == 0, done.stderr
    check_answered(tmp_path)


def test_its_own_needs_come_before_other_versions_in_the_image(strange: dict[str, str], tmp_path: Path) -> None:
    done = dry_run(tmp_path, strange, "--layout", "old", "--interactive")
    assert done.returncode == 0, done.stderr
    check_answered(tmp_path)
