"""The kernel's environment; that the notebook runs in it is what test_dry_run.py shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kit.kaggle.dry_run.execution import Job, kaggle_environ


def job(root: Path, *, is_rerun: bool) -> Job:
    return Job(Path("n.ipynb"), root, root / "test.csv" if is_rerun else None)


def test_the_kernel_gets_kaggles_folders_first_on_its_path_and_a_home_of_its_own(tmp_path: Path) -> None:
    root = tmp_path / "kaggle"
    environ = kaggle_environ(job(root, is_rerun=False), {"HOME": "/home/ada", "PATH": "/bin", "PYTHONPATH": "/hook"})
    assert environ["PYTHONPATH"].split(os.pathsep) == [str(root / "lib" / "kagglegym"), str(root / "lib"), "/hook"]
    assert environ["HOME"] == str(tmp_path / "home")
    assert environ["PATH"] == "/bin"
    assert environ["KIT_KAGGLE_ROOT"] == str(root)


@pytest.mark.parametrize("is_rerun", [False, True])
def test_only_the_scored_rerun_is_told_that_it_is_one(tmp_path: Path, is_rerun: bool) -> None:
    environ = kaggle_environ(job(tmp_path, is_rerun=is_rerun), {"KAGGLE_IS_COMPETITION_RERUN": "1"})
    assert ("KAGGLE_IS_COMPETITION_RERUN" in environ) == is_rerun


def test_nothing_of_the_users_own_reaches_the_kernel(tmp_path: Path) -> None:
    """A cache, an index or a token of the developer's would make a dry run pass that Kaggle fails."""
    own = ("HF_HOME", "HF_TOKEN", "XDG_CACHE_HOME", "PIP_INDEX_URL", "UV_INDEX", "KAGGLE_KEY", "VIRTUAL_ENV")
    environ = kaggle_environ(job(tmp_path, is_rerun=True), dict.fromkeys(own, "x") | {"CUDA_VISIBLE_DEVICES": "0"})
    assert not set(own) & set(environ)
    assert environ["CUDA_VISIBLE_DEVICES"] == "0"
