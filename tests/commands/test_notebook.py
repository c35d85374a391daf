"""`kit notebook`: what cannot be is refused before anything is listed or fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit import cli

REF = "someone/qwen/transformers/7b/3"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--self-contained", "--model-source", REF, "--wheels", "kaggle-cp312"), "wheels do not fit into a notebook"),
        (("--self-contained",), "--model-source is missing"),
        (("--self-contained", "--model-source", REF, "--wheels-source", "ada/w"), "--wheels-source needs --wheels"),
        (("--self-contained", "--model-source", REF, "--wheels", "vax"), "kit wheels lock"),
        (("--model-source", REF), "--model-source needs --self-contained"),
        (("--model", "folder"), "--model needs --self-contained"),
        (("--trm", "folder"), "--trm needs --self-contained"),
        (("--adapter", "folder"), "--adapter needs --self-contained"),
        (("--model-file", "file"), "--model-file needs --self-contained"),
        (("--wheels", "cpu"), "--wheels needs --self-contained"),
        (("--wheels-source", "ada/wheels"), "--wheels-source needs --self-contained"),
    ],
)
def test_options_that_do_not_go_together_are_refused_at_once(
    options: tuple[str, ...], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["notebook", *options, "--out", str(tmp_path / "n.ipynb")]) == 1
    told = capsys.readouterr()
    assert says in told.err
    assert not told.out
    assert not list(tmp_path.iterdir())


def test_a_second_model_source_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The first one was dropped without a word."""
    with pytest.raises(SystemExit):
        cli.main(["ship", "--model-source", REF, "--model-source", REF])
    assert "--model-source: given twice" in capsys.readouterr().err
