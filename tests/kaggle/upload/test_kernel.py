"""Pushing and submitting with the unmodified `kaggle` client, as a process, against a loopback server, with faults."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kit import cli
from kit.errors import InputError, KitError, MissingError
from kit.kaggle.dataset.handle import NOBODY
from kit.kaggle.facts import KERNEL_METADATA
from kit.kaggle.upload.client import KaggleError
from kit.kaggle.upload.kernel import NOTEBOOK, Kernel, Pushed, Submitted, push, submit
from kit.kaggle.upload.wheels_notebook import write_wheels_notebook
from kit.kaggle.wheels.lockfile import lock_path
from tests.kaggle.dataset.datasets import make_needs
from tests.kaggle.upload import kaggle_server
from tests.kaggle.upload.kaggle_server import KEY, TOKEN, USERNAME, Fault, KaggleServer
from tests.kaggle.wheels.simple_index import make_wheel

REF = f"{USERNAME}/mathllm-kit-submission"
MINE = Kernel(owner=USERNAME)
COMPETITION = "ai-mathematical-olympiad-progress-prize-3"
IMAGE = f"gcr.io/kaggle-private-byod/python@sha256:{'0f' * 32}"
MODEL = "qwen-lm/qwen2.5-math/transformers/1.5b-instruct/1"

real_client = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        importlib.util.find_spec("kaggle") is None or importlib.util.find_spec("six") is None,
        reason=f"{sys.executable} has no `kaggle` client (kaggle==2.2.5 and six): NOTHING of pushing is tested",
    ),
]


class KernelServer(KaggleServer):
    """Kaggle's notebooks and submissions beside its datasets."""

    def __init__(self) -> None:
        super().__init__()
        self.saved: list[Mapping[str, Any]] = []
        self.submitted: list[Mapping[str, Any]] = []
        self.run_status = "COMPLETE"
        self.reply: Mapping[str, Any] = {}
        self.number = 1  # of a submission; one that was not taken has none
        self.words = "Successfully submitted to AI Mathematical Olympiad - Progress Prize 3"

    def _save(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        self.saved.append(asked)
        url = f"https://www.kaggle.com/code/{asked['slug']}"
        return 200, {"ref": f"/code/{asked['slug']}", "url": url, "versionNumber": len(self.saved), **self.reply}

    def _run_status(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        return (200, {"status": self.run_status}) if self.saved else (404, {})

    def _submit(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        self.submitted.append(asked)
        return 200, {"message": self.words, "ref": self.number}

    def _limits(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        return 200, {"numAllowedNow": 0}


@dataclass
class Desk:
    work: Path
    server: KernelServer
    environ: dict[str, str]
    told: list[str] = field(default_factory=list)

    def push(self, kernel: Kernel = MINE, notebook: Path = NOTEBOOK) -> Pushed:
        return push(kernel, notebook, work=self.work, environ=self.environ)

    def submit(self, kernel: Kernel = MINE, **how: Any) -> Submitted:
        return submit(kernel, work=self.work, environ=self.environ, **how)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    services = {
        "SaveKernel": "save",
        "GetKernelSessionStatus": "run_status",
        "CreateCodeSubmission": "submit",
        "GetSubmissionLimits": "limits",
    }
    for name, where in services.items():
        monkeypatch.setitem(kaggle_server._SERVICES, name, where)
    (tmp_path / "home").mkdir()
    with KernelServer() as server:
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), **server.environ}
        yield Desk(tmp_path / "kernel", server, environ)
        assert not server.broken
        for path in tmp_path.rglob("*"):
            if path.is_file():
                assert not any(secret.encode() in path.read_bytes() for secret in (KEY, TOKEN)), path


def refused(kind: type[KitError], *words: str, by: Any) -> None:
    with pytest.raises(kind) as caught:
        by()
    assert all(each in str(caught.value) for each in words), caught.value
    assert KEY not in str(caught.value)


# --- what the notebook is ---


def test_the_metadata_in_the_checkout_is_what_a_push_would_send(repo: Path) -> None:
    """To change it, change `Kernel`; then write what this test expects."""
    folder = repo / "notebooks"
    assert (folder / KERNEL_METADATA).read_text() == Kernel(owner=NOBODY).render("submission.ipynb")
    assert folder / "submission.ipynb" == NOTEBOOK


def test_no_internet_the_competitions_gpu_and_a_pinned_image_whatever_is_attached() -> None:
    for kernel in (MINE, Kernel(owner="ada", dataset="bob/his-kit", model_sources=(MODEL,), image=IMAGE)):
        metadata = kernel.metadata("n.ipynb")
        assert (metadata["enable_internet"], metadata["enable_gpu"], metadata["machine_shape"]) == (
            *(False, True),
            "NvidiaH100",
        )
        assert metadata["competition_sources"] == [COMPETITION]
        assert ("docker_image" in metadata) != ("docker_image_pinning_type" in metadata)
    assert MINE.metadata("n.ipynb")["dataset_sources"] == ["ada/mathllm-kit"]
    assert metadata["dataset_sources"] == ["bob/his-kit"]
    assert (metadata["model_sources"], metadata["docker_image"]) == ([MODEL], IMAGE)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"owner": "Ada L"}, "owner must be a Kaggle username"),
        ({"slug": "my--kit"}, "slug must be words"),
        ({"slug": "kit"}, "5 to 50 characters"),
        ({"slug": "k" * 51}, "5 to 50 characters"),
        ({"dataset": "mathllm-kit"}, "dataset must be OWNER/SLUG"),
        ({"image": "gcr.io/kaggle/python:latest"}, "image must be NAME@sha256:DIGEST"),
        ({"model_sources": ("qwen2.5-math",)}, "model source must be owner/model"),
        ({"further_datasets": ("mine",)}, "further_datasets must be a list of OWNER/SLUG"),
        ({"kernel_sources": ("bob/his", "his")}, "kernel_sources must be a list of OWNER/SLUG"),
    ],
)
def test_names_that_kaggle_would_refuse_are_refused_before_anything_is_sent(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Kernel(**{"owner": "ada", **fields})


def test_any_number_of_datasets_models_and_outputs_is_attached_and_the_kits_own_unless_the_notebook_holds_it() -> None:
    more = {"further_datasets": ("bob/data", "eve/data"), "kernel_sources": ("bob/wheels", "eve/more")}
    metadata = Kernel(owner="ada", model_sources=(MODEL, MODEL), **more).metadata("n.ipynb")
    assert metadata["dataset_sources"] == ["ada/mathllm-kit", "bob/data", "eve/data"]
    assert (metadata["kernel_sources"], metadata["model_sources"]) == (["bob/wheels", "eve/more"], [MODEL, MODEL])
    assert Kernel(owner="ada", holds_kit=True, **more).metadata("n.ipynb")["dataset_sources"] == [
        "bob/data",
        "eve/data",
    ]
    assert Kernel(owner="ada", holds_kit=True, dataset="ada/kit").metadata("n.ipynb")["dataset_sources"] == ["ada/kit"]


# --- pushing ---


class TestPush:
    pytestmark = real_client

    def test_sends_this_very_notebook_with_its_metadata(self, desk: Desk) -> None:
        pushed = desk.push(Kernel(owner=USERNAME, model_sources=(MODEL,), image=IMAGE))
        assert pushed == Pushed(ref=REF, version=1, url=f"https://www.kaggle.com/code/{REF}")
        (sent,) = desk.server.saved
        cells = json.loads(NOTEBOOK.read_text())["cells"]
        assert [cell["source"] for cell in json.loads(sent["text"])["cells"]] == [
            "".join(cell["source"]) for cell in cells
        ]
        assert (sent["slug"], sent["newTitle"]) == (REF, "mathllm kit submission")
        assert (sent["enableInternet"], sent["enableGpu"], sent["machineShape"]) == (False, True, "NvidiaH100")
        assert sent["competitionDataSources"] == [COMPETITION]
        assert (sent["datasetDataSources"], sent["modelDataSources"]) == (["ada/mathllm-kit"], [MODEL])
        assert (sent["isPrivate"], sent["dockerImage"]) == (True, IMAGE)

    def test_the_notebook_of_push_wheels_has_the_internet_and_nothing_else(self, desk: Desk, repo: Path) -> None:
        notebook = desk.work / "wheels.ipynb"
        wheel = make_wheel(desk.work / "wheel", "mathllm-kit").file
        needs = make_needs(desk.work)
        lock = lock_path(repo / "wheels", "kaggle-cp312")
        write_wheels_notebook(notebook, lock, kit_wheel=desk.work / "wheel" / wheel, needs=needs)
        pushed = desk.push(Kernel(owner=USERNAME, slug="mathllm-kit-wheels-kaggle-cp312", is_utility=True), notebook)
        assert pushed.ref == f"{USERNAME}/mathllm-kit-wheels-kaggle-cp312"
        (sent,) = desk.server.saved
        assert (sent["enableInternet"], sent["enableGpu"]) == (True, False)
        assert not sent.get("machineShape")
        attached = ("competitionDataSources", "datasetDataSources", "kernelDataSources", "modelDataSources")
        assert not any(sent.get(kind) for kind in attached)
        assert "fetch_output" in sent["text"]

    def test_outputs_of_notebooks_are_attached(self, desk: Desk) -> None:
        desk.push(Kernel(owner=USERNAME, kernel_sources=("bob/wheels",), further_datasets=("bob/data",)))
        (sent,) = desk.server.saved
        assert sent["kernelDataSources"] == ["bob/wheels"]
        assert sent["datasetDataSources"] == ["ada/mathllm-kit", "bob/data"]

    def test_without_an_image_the_first_runs_is_kept(self, desk: Desk) -> None:
        desk.push()
        assert desk.server.saved[0]["dockerImagePinningType"] == "original"

    def test_a_version_without_its_dataset_is_a_failure_although_the_client_calls_it_a_success(
        self, desk: Desk
    ) -> None:
        desk.server.reply = {
            "invalidDatasetSources": ["ada/mathllm-kit"],
            "invalidCompetitionSources": [COMPETITION],
        }
        refused(KaggleError, "version 1 was pushed", "dataset: ['ada/mathllm-kit']", COMPETITION, by=desk.push)
        desk.server.reply = {"invalidModelSources": [MODEL]}  # which the client does not print
        refused(KaggleError, f"model: ['{MODEL}']", by=desk.push)
        assert not (desk.work / "pushed.json").exists()

    def test_a_refusal_that_ends_with_0_is_a_failure_with_kaggles_words(self, desk: Desk) -> None:
        desk.server.reply = {"error": "Maximum batch GPU session count of 2 reached.", "versionNumber": 0}
        refused(KaggleError, "was not pushed", "Maximum batch GPU session count", by=desk.push)

    @pytest.mark.parametrize(
        ("fault", "says"),
        [
            (Fault("save", 401), "credentials are not accepted"),
            (Fault("save", 403, message="Permission 'kernels.update' was denied"), "is --username ada right"),
            (Fault("save", 400, message="Notebook not found"), "Notebook not found"),
        ],
    )
    def test_a_fault_is_told_in_one_error(self, desk: Desk, fault: Fault, says: str) -> None:
        desk.server.faults.append(fault)
        refused(KaggleError, says, by=desk.push)

    def test_a_notebook_with_a_secret_or_too_large_or_absent_is_not_sent(self, desk: Desk, tmp_path: Path) -> None:
        notebook = tmp_path / "n.ipynb"
        refused(MissingError, "n.ipynb: not found", by=lambda: desk.push(notebook=notebook))
        notebook.write_bytes(KEY.encode())
        refused(InputError, "holds your Kaggle credentials", by=lambda: desk.push(notebook=notebook))
        notebook.write_bytes(b" " * 1_000_001)
        refused(InputError, "clear its outputs", by=lambda: desk.push(notebook=notebook))
        notebook.unlink()
        assert not desk.server.seen

    def test_without_credentials_every_place_that_was_looked_at_is_named(self, desk: Desk) -> None:
        desk.environ = {"HOME": desk.environ["HOME"]}
        refused(MissingError, "no Kaggle credentials", ".kaggle/access_token", by=desk.push)


# --- submitting ---


class TestSubmit:
    pytestmark = real_client

    def test_takes_the_version_pushed_last(self, desk: Desk) -> None:
        desk.push()
        desk.push()
        done = desk.submit(message="two voters")
        assert (done.ref, done.version) == (REF, 2)
        assert "Successfully submitted" in done.words
        assert "0 submissions remaining today" in done.words
        (sent,) = desk.server.submitted
        assert sent == {
            "competitionName": COMPETITION,
            "kernelOwner": USERNAME,
            "kernelSlug": MINE.slug,
            "kernelVersion": 2,
            "fileName": "submission.parquet",
            "submissionDescription": "two voters",
        }

    def test_takes_the_version_that_is_named(self, desk: Desk) -> None:
        desk.server.saved.append({})
        assert desk.submit(version=1).version == 1
        desk.push()
        desk.server.run_status = "RUNNING"  # of the latest, and the older one is asked for
        assert desk.submit(version=1).version == 1

    def test_without_a_push_or_a_version_there_is_nothing_to_submit(self, desk: Desk) -> None:
        refused(MissingError, "nothing was pushed from here", "--version", by=desk.submit)
        desk.work.mkdir(exist_ok=True)
        (desk.work / "pushed.json").write_text("[" * 100_000)
        refused(MissingError, "nothing was pushed from here", by=desk.submit)
        desk.push()
        refused(MissingError, "nothing was pushed", by=lambda: desk.submit(Kernel(owner=USERNAME, slug="another-one")))
        refused(KitError, "--version must be 1 or more", by=lambda: desk.submit(version=0))
        refused(KitError, "--message must be some text", by=lambda: desk.submit(message=" "))
        assert not desk.server.submitted

    @pytest.mark.parametrize(
        ("status", "says"),
        [
            ("QUEUED", "is queued; run this again when it is complete"),
            ("RUNNING", "is running; run this again when it is complete"),
            ("ERROR", "ended with ERROR; see its log"),
            ("CANCEL_ACKNOWLEDGED", "ended with CANCEL_ACKNOWLEDGED"),
        ],
    )
    def test_a_run_that_is_not_complete_spends_no_submission(self, desk: Desk, status: str, says: str) -> None:
        desk.push()
        desk.server.run_status = status
        refused(KaggleError, says, f"https://www.kaggle.com/code/{REF}", by=desk.submit)
        assert not desk.server.submitted

    def test_a_notebook_that_is_not_there_is_to_be_pushed_first(self, desk: Desk) -> None:
        refused(KaggleError, "not found", "kit push", by=lambda: desk.submit(version=3))

    def test_a_refused_submission_is_a_failure_with_kaggles_words(self, desk: Desk) -> None:
        desk.push()
        words = "Submission not allowed: Your team has used its daily Submission allowance (1) today."
        desk.server.faults.append(Fault("submit", 400, message=words))
        refused(KaggleError, "not submitted", words, by=desk.submit)
        desk.server.words, desk.server.number = "Could not submit to competition", 0
        refused(KaggleError, "not submitted", "Could not submit", by=desk.submit)


def test_the_commands_say_in_one_line_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("KAGGLE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for command in ("push", "submit"):
        assert cli.main([command, "--username", "ada", "--out", str(tmp_path / "kernel")]) == 1
        assert "no Kaggle credentials" in capsys.readouterr().err
        assert cli.main([command, "--username", "Ada!"]) == 1
        assert capsys.readouterr().err.startswith("kit: owner must be a Kaggle username")
