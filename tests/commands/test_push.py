"""The commands that messages name, and the notebook that `kit ship` pushes, without Kaggle."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit import cli
from kit.commands.push import OUT, kernel_of, quoted, same_notebook
from kit.commands.ship import _push_options
from kit.kaggle.dataset.handle import DatasetHandle
from kit.kaggle.upload.kernel import DEFAULT_SLUG
from tests.kaggle.upload.test_kernel import IMAGE, MODEL


def test_a_follow_up_command_has_the_options_that_are_not_the_default() -> None:
    assert same_notebook(username=None, slug=DEFAULT_SLUG, out=OUT) == ()
    same = same_notebook(username="ada", slug="mine-mine", out=Path("my out"))
    assert quoted("status", "--follow", *same) == (
        "`kit status --follow --username ada --slug mine-mine --out 'my out'`"
    )


def test_ship_pushes_by_the_very_command_that_it_shows() -> None:
    line = ["ship", "--model-source", MODEL, "--wheels", "cpu", "--wheels-source", "ada/wheels", "--image", IMAGE]
    line += ["--kernel-source", "bob/more", "--kernel-source", "ada/wheels", "--further-dataset", "eve/data"]
    line += ["--accelerator", "NvidiaL4", "--out", "here", "--notebook", "mine.ipynb"]
    args = cli._parser().parse_args(line)
    options = _push_options(args, DatasetHandle(owner="ada", slug="my-kit"))
    push = cli._parser().parse_args(["push", *options])
    kernel = kernel_of(push)
    assert (kernel.ref, kernel.dataset) == ("ada/my-kit-submission", "ada/my-kit")
    assert (kernel.model_sources, kernel.kernel_sources) == ((MODEL,), ("ada/wheels", "bob/more"))
    assert (kernel.further_datasets, kernel.accelerator, kernel.image) == (("eve/data",), "NvidiaL4", IMAGE)
    assert (push.notebook, push.out) == (Path("mine.ipynb"), Path("here/kernel"))


def test_verify_refuses_what_names_no_version_of_a_kaggle_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify", str(tmp_path), "--model-source", "a/b"]) == 1
    assert "model source must be owner/model/framework/variation/version" in capsys.readouterr().err
    assert cli.main(["verify", str(tmp_path)]) == 1
    assert "make one with `kit build`" in capsys.readouterr().err
