"""`kit ship`, every step for real: the real client against a loopback server."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit import cli
from tests.kaggle.upload.kaggle_server import USERNAME, KernelServer

NOTEBOOK = f"{USERNAME}/my-kit-of-the-test-submission"


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KernelServer]:
    for name in [name for name in os.environ if name.startswith("KAGGLE")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    with KernelServer() as server:
        for name, value in {**server.environ, "HOME": str(tmp_path / "home")}.items():
            monkeypatch.setenv(name, value)
        yield server
        assert not server.broken


@pytest.fixture
def ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(*options: str, typed: str = "") -> int:
        monkeypatch.setattr(sys, "stdin", Terminal(typed))
        return cli.main(["ship", "--slug", "my-kit-of-the-test", "--out", str(tmp_path / "out"), *options])

    return run


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    importlib.util.find_spec("kaggle") is None or importlib.util.find_spec("six") is None,
    reason=f"{sys.executable} has no `kaggle` client (kaggle==2.2.5 and six): NOTHING of shipping is tested",
)
def test_one_command_leads_to_a_submission_and_goes_on_where_it_was(
    server: KernelServer, ship: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    server.runs, server.text = {1: [("ERROR", "Out of memory")]}, '[{"data": "the last words"}]'
    assert ship("--accelerator", "NvidiaL4") == 1
    told = capsys.readouterr()
    steps = [line.split()[2] for line in told.out.splitlines() if line.startswith("$ kit ")]
    assert steps == ["doctor", "build", "verify", "upload", "push", "status"]
    assert "the last words" in told.out
    assert f"{NOTEBOOK}/1 ended with ERROR: Out of memory" in told.out
    assert "stopped at `kit status`" in told.err

    assert ship("--accelerator", "NvidiaL4", typed="n\n") == 0
    told = capsys.readouterr()
    assert "an earlier run handed everything over" in told.out
    assert "not submitted" in told.out
    assert not server.submitted
    assert [saved["machineShape"] for saved in server.saved] == ["NvidiaL4", "NvidiaL4"]  # what failed is pushed again
    assert server.saved[-1]["datasetDataSources"] == [f"{USERNAME}/my-kit-of-the-test"]

    assert ship("--accelerator", "NvidiaL4", "--message", "two voters", typed="y\n") == 0
    assert "pushed before, and not pushed again" in capsys.readouterr().out
    assert (len(server.saved), server.count("create"), server.count("version")) == (2, 1, 0)
    (sent,) = server.submitted
    assert (sent["kernelSlug"], sent["kernelVersion"]) == (NOTEBOOK.partition("/")[2], 2)
    assert sent["submissionDescription"] == "two voters"


@pytest.mark.usefixtures("server")
def test_it_begins_with_nothing_that_cannot_be_finished(
    ship: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert ship("--accelerator", "NvidiaH10") == 1
    assert "did you mean 'NvidiaH100'" in capsys.readouterr().err
    assert ship("--notebook", "nosuch.ipynb") == 1
    assert "nosuch.ipynb: not found" in capsys.readouterr().err
    monkeypatch.delenv("KAGGLE_KEY")
    assert ship() == 1
    assert "no Kaggle credentials" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert cli.main(["ship"]) == 1
    assert "nobody can be asked here whether to submit" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
