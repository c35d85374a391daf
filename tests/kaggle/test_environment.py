from __future__ import annotations

from pathlib import Path

import pytest

from kit.errors import MissingError
from kit.kaggle.dataset.manifest import MANIFEST_NAME
from kit.kaggle.environment import KaggleEnvironment, Mounts

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
    assert Mounts.find(tmp_path / "input").dataset() == tmp_path / folder


@pytest.mark.parametrize("folder", COMPETITIONS)
def test_finds_the_competition_in_both_mount_layouts(tmp_path: Path, folder: str) -> None:
    touch(tmp_path / "input/datasets/someone/notes/test.csv")
    expected = touch(tmp_path / folder / "test.csv")
    mounts = Mounts.find(tmp_path / "input")
    assert (mounts.test_csv(), mounts.kaggle_evaluation()) == (expected, None)
    touch(tmp_path / folder / "kaggle_evaluation" / "aimo_3_inference_server.py")
    assert Mounts.find(tmp_path / "input").kaggle_evaluation() == tmp_path / folder


PRIZE_2 = "ai-mathematical-olympiad-progress-prize-2"


@pytest.mark.parametrize("folder", COMPETITIONS)
@pytest.mark.parametrize(
    "other",
    [
        f"input/{PRIZE_2}",
        f"input/competitions/{PRIZE_2}",
        f"input/datasets/ada/{COMPETITION}",  # a copy of the competition's data under its very name
        f"input/a-copy/{COMPETITION}",
        f"input/a-copy-of-{COMPETITION}",
    ],
)
def test_what_looks_like_the_competition_never_wins_over_it(tmp_path: Path, folder: str, other: str) -> None:
    for place in (other, folder):
        touch(tmp_path / place / "test.csv")
        touch(tmp_path / place / "kaggle_evaluation" / "aimo_3_inference_server.py")
    touch(tmp_path / "input/a-broken-copy/kaggle_evaluation/aimo_3_inference_server.py")
    mounts = Mounts.find(tmp_path / "input")
    assert (mounts.test_csv(), mounts.kaggle_evaluation()) == (tmp_path / folder / "test.csv", tmp_path / folder)
    assert mounts.has_own_evaluation


def test_without_the_competition_the_nearest_by_name_is_taken_and_that_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path / f"input/{PRIZE_2}/test.csv")
    copy = touch(tmp_path / f"input/datasets/ada/{COMPETITION}/test.csv")
    mounts = Mounts.find(tmp_path / "input")
    assert mounts.test_csv() == copy
    assert f"{COMPETITION} is not attached; taking the problems of {copy}" in caplog.text
    assert not mounts.has_own_evaluation


def test_says_what_to_attach_when_nothing_is_mounted(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "not there"):
        with pytest.raises(MissingError, match="attach the one the kit built"):
            Mounts.find(root).dataset()
        with pytest.raises(MissingError, match="add the competition"):
            Mounts.find(root).test_csv()


def test_of_two_datasets_the_first_is_taken_and_the_choice_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refusing would answer every problem with a guess; the notebook's first cell takes the first too."""
    for folder in DATASETS:
        touch(tmp_path / folder / MANIFEST_NAME)
    assert Mounts.find(tmp_path / "input").dataset() == tmp_path / sorted(DATASETS)[0]
    assert "more than one dataset" in caplog.text


def test_a_dataset_that_is_named_comes_before_those_that_are_attached(tmp_path: Path) -> None:
    mounts = Mounts(root=tmp_path, datasets=(tmp_path / "a", tmp_path / "b"), tests=(), packages=())
    assert mounts.with_dataset(None) == mounts
    assert mounts.with_dataset(tmp_path / "b").datasets == (tmp_path / "b", tmp_path / "a")
    assert mounts.with_dataset(tmp_path / "tmp" / "own").dataset() == tmp_path / "tmp" / "own"


def test_a_dataset_mounted_through_a_link_is_found(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / MANIFEST_NAME)
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "mathllm-kit").symlink_to(tmp_path / "elsewhere")
    assert Mounts.find(tmp_path / "input").dataset() == tmp_path / "input" / "mathllm-kit"


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    touch(tmp_path / "input" / "mathllm-kit" / MANIFEST_NAME)
    (tmp_path / "input" / "mathllm-kit" / "again").symlink_to(tmp_path / "input")
    assert Mounts.find(tmp_path / "input").datasets == (tmp_path / "input" / "mathllm-kit",)


def test_reads_root_and_rerun_from_the_environment_variables() -> None:
    kaggle = KaggleEnvironment.detect({})
    assert (kaggle.root, kaggle.is_rerun, kaggle.working) == (Path("/kaggle"), False, Path("/kaggle/working"))
    # Any value counts, the empty one too: kaggle_evaluation looks only whether the variable is set.
    rerun = KaggleEnvironment.detect({"KIT_KAGGLE_ROOT": "/x", "KAGGLE_IS_COMPETITION_RERUN": ""})
    assert (rerun.root, rerun.is_rerun) == (Path("/x"), True)
