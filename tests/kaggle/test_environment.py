from __future__ import annotations

from pathlib import Path

import pytest

from kit.errors import MissingError
from kit.kaggle.environment import KaggleEnvironment, find_dataset, find_kaggle_evaluation, find_test_csv
from kit.kaggle.manifest import MANIFEST_NAME

COMPETITION = "ai-mathematical-olympiad-progress-prize-3"
DATASETS = ["input/mathllm-kit", "input/datasets/someone/mathllm-kit"]
COMPETITIONS = [f"input/{COMPETITION}", f"input/competitions/{COMPETITION}"]


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


@pytest.mark.parametrize("folder", DATASETS)
def test_finds_the_dataset_by_its_manifest_in_both_mount_layouts(tmp_path: Path, folder: str) -> None:
    touch(tmp_path / folder / MANIFEST_NAME)
    touch(tmp_path / "input/models/owner/other/transformers/default/1/config.json")
    assert find_dataset(tmp_path / "input") == tmp_path / folder


@pytest.mark.parametrize("folder", COMPETITIONS)
def test_finds_the_competition_in_both_mount_layouts(tmp_path: Path, folder: str) -> None:
    touch(tmp_path / "input/datasets/someone/notes/test.csv")
    expected = touch(tmp_path / folder / "test.csv")
    assert find_test_csv(tmp_path / "input") == expected
    assert find_kaggle_evaluation(tmp_path / "input") is None
    touch(tmp_path / folder / "kaggle_evaluation" / "aimo_3_inference_server.py")
    assert find_kaggle_evaluation(tmp_path / "input") == tmp_path / folder


def test_says_what_to_attach_when_nothing_is_mounted(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="attach the one the kit built"):
        find_dataset(tmp_path)
    with pytest.raises(MissingError, match="add the competition"):
        find_test_csv(tmp_path)


def test_of_two_datasets_the_first_is_taken_and_the_choice_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refusing would answer every problem with a guess; the notebook's first cell takes the first too."""
    for folder in DATASETS:
        touch(tmp_path / folder / MANIFEST_NAME)
    assert find_dataset(tmp_path / "input") == tmp_path / sorted(DATASETS)[0]
    assert "more than one dataset" in caplog.text


def test_a_dataset_mounted_through_a_link_is_found(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / MANIFEST_NAME)
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "mathllm-kit").symlink_to(tmp_path / "elsewhere")
    assert find_dataset(tmp_path / "input") == tmp_path / "input" / "mathllm-kit"


def test_reads_root_and_rerun_from_the_environment_variables() -> None:
    kaggle = KaggleEnvironment.detect({})
    assert (kaggle.root, kaggle.is_rerun, kaggle.working) == (Path("/kaggle"), False, Path("/kaggle/working"))
    # Any value counts, the empty one too: kaggle_evaluation looks only whether the variable is set.
    rerun = KaggleEnvironment.detect({"KIT_KAGGLE_ROOT": "/x", "KAGGLE_IS_COMPETITION_RERUN": ""})
    assert (rerun.root, rerun.is_rerun) == (Path("/x"), True)
