"""Pushing, following and submitting with the unmodified `kaggle` client against a loopback server, with faults."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from kit import cli
from kit.errors import InputError, KitError, MissingError
from kit.kaggle.dataset.handle import NOBODY
from kit.kaggle.facts import ACCELERATORS, KERNEL_METADATA
from kit.kaggle.upload.account import owner
from kit.kaggle.upload.faults import KaggleError
from kit.kaggle.upload.following import Following, following, log_lines
from kit.kaggle.upload.kernel import NOTEBOOK, Kernel, push
from kit.kaggle.upload.plan import Event, RetryPolicy
from kit.kaggle.upload.pushed import Pushed
from kit.kaggle.upload.read_back import differences
from kit.kaggle.upload.shipping import push_once
from kit.kaggle.upload.submission import Submitted, submit
from kit.kaggle.upload.wheels_notebook import write_wheels_notebook
from kit.kaggle.wheels.lockfile import lock_path
from tests.kaggle.dataset.datasets import make_needs
from tests.kaggle.upload.kaggle_server import KEY, TOKEN, USERNAME, Fault, KernelServer
from tests.kaggle.wheels.simple_index import make_wheel

REF = f"{USERNAME}/mathllm-kit-submission"
MINE = Kernel(owner=USERNAME)
COMPETITION = "ai-mathematical-olympiad-progress-prize-3"
IMAGE = f"gcr.io/kaggle-private-byod/python@sha256:{'0f' * 32}"
QUICK = RetryPolicy(num_attempts=3, first_pause_s=0.01, max_pause_s=0.05, poll_s=0.02, settle_s=0.1, ready_s=60.0)
MODEL = "qwen-lm/qwen2.5-math/transformers/1.5b-instruct/1"

real_client = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        importlib.util.find_spec("kaggle") is None or importlib.util.find_spec("six") is None,
        reason=f"{sys.executable} has no `kaggle` client (kaggle==2.2.5 and six): NOTHING of pushing is tested",
    ),
]


@dataclass
class Desk:
    work: Path
    server: KernelServer
    environ: dict[str, str]
    told: list[str] = field(default_factory=list)

    def push(self, kernel: Kernel = MINE, notebook: Path = NOTEBOOK, **how: Any) -> Pushed:
        return push(
            kernel, notebook, work=self.work, environ=self.environ, retry_policy=QUICK, on_event=self.note, **how
        )

    def submit(self, kernel: Kernel = MINE, **how: Any) -> Submitted:
        return submit(kernel, work=self.work, environ=self.environ, retry_policy=QUICK, on_event=self.note, **how)

    @contextmanager
    def following(self, version: int | None = None) -> Iterator[Following]:
        with following(
            MINE, version=version, work=self.work, environ=self.environ, retry_policy=QUICK, on_event=self.note
        ) as run:
            yield run

    def note(self, event: Event) -> None:
        self.told.append(event.text)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
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
        ({"accelerator": "NvidiaL4X2"}, "accelerator must be one of NvidiaH100, .* did you mean 'NvidiaL4X"),
        ({"further_datasets": ("mine",)}, "further_datasets must be a list of OWNER/SLUG"),
        ({"kernel_sources": ("bob/his", "his")}, "kernel_sources must be a list of OWNER/SLUG"),
    ],
)
def test_names_that_kaggle_would_refuse_are_refused_before_anything_is_sent(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Kernel(**{"owner": "ada", **fields})


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_another_gpu_is_asked_for_by_kaggles_own_name(accelerator: str) -> None:
    assert Kernel(owner="ada", accelerator=accelerator).metadata("n.ipynb")["machine_shape"] == accelerator


@pytest.mark.parametrize(("alias", "name"), [("NvidiaL4X4", "NvidiaL4"), ("NvidiaTeslaT4X2", "NvidiaTeslaT4")])
def test_the_editors_words_for_several_gpus_are_sent_as_the_name_that_kaggle_knows(alias: str, name: str) -> None:
    """Kaggle takes any name, and gives a P100 for one that it does not know."""
    assert Kernel(owner="ada", accelerator=alias).metadata("n.ipynb")["machine_shape"] == name


ASKED = Kernel(owner="ada", model_sources=(MODEL,), image=IMAGE).metadata("n.ipynb")
FOUND = {
    "dataset_sources": ["ada/mathllm-kit"],
    "competition_sources": [COMPETITION],
    "kernel_sources": [],
    "model_sources": ["qwen-lm/qwen2.5-math/Transformers/1.5b-instruct/1"],
    "enable_gpu": True,
    "enable_internet": False,
    "is_private": True,
    "machine_shape": "NvidiaH100",
    "docker_image": IMAGE,
}


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({}, ()),
        ({"dataset_sources": ["ada/mathllm-kit", "ada/more"]}, ()),
        ({"enable_gpu": None, "machine_shape": None, "docker_image": ""}, ()),
        ({"model_sources": []}, (f"the model {MODEL} is not attached",)),
        ({"competition_sources": []}, (f"the competition {COMPETITION} is not attached",)),
        ({"dataset_sources": ["ada/other"]}, ("the dataset ada/mathllm-kit is not attached",)),
        ({"enable_internet": True}, ("the internet is on",)),
        ({"enable_gpu": False}, ("there is no GPU",)),
        ({"is_private": False}, ("it is public",)),
        ({"machine_shape": "NvidiaTeslaT4"}, ("the machine is NvidiaTeslaT4, not NvidiaH100",)),
        ({"docker_image": "gcr.io/kaggle/python"}, (f"the image is gcr.io/kaggle/python, not {IMAGE}",)),
    ],
)  # fmt: skip
def test_what_kaggle_has_otherwise_than_asked_is_named(found: dict[str, Any], says: tuple[str, ...]) -> None:
    assert differences(ASKED, {**FOUND, **found}) == says


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
        assert (pushed.ref, pushed.version, pushed.url) == (REF, 1, f"https://www.kaggle.com/code/{REF}")
        assert Pushed.load(desk.work, REF) == pushed
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
        kept = Pushed.load(desk.work, REF)
        assert kept is not None
        assert (kept.version, kept.is_read_back) == (2, False)

    @pytest.mark.parametrize(
        ("fault", "says"),
        [
            (Fault("save", 401), ("credentials are not accepted", "make a token at")),
            (
                Fault("save", 403, message="Permission 'kernels.update' was denied"),
                ("Kaggle forbids it: Permission", "is the notebook yours (ada)", "phone number", "/rules)"),
            ),
            (Fault("save", 404, message="Not found"), ("check --slug, --dataset",)),
            (Fault("save", 409, message="A notebook of this title exists"), ("choose another --slug",)),
            (Fault("save", 429, times=-1), ("too many requests", "wait some minutes")),
            (Fault("save", 502), ("502", "look at https://www.kaggle.com/code/ada/", "whether the version is there")),
            (Fault("save", cut=True, times=-1), ("the line to it is failing", "whether the version is there")),
            (
                Fault("save", body={"error": "Maximum batch GPU session count of 2 reached."}),
                ("too many notebooks run: Maximum batch GPU", "View Active Events"),
            ),
            (Fault("save", 403, message="Maximum batch GPU session count of 2 reached."), ("View Active Events",)),
            (
                Fault("save", body={"error": "You have exceeded your weekly GPU quota"}),
                ("a quota is used up", "GPU hours are used up"),
            ),
            (Fault("save", 400, message="Invalid docker image"), ("refuses it: Invalid docker image", "--image")),
        ],
    )  # fmt: skip
    def test_each_fault_is_told_in_one_error_with_its_own_fix(
        self, desk: Desk, fault: Fault, says: tuple[str, ...]
    ) -> None:
        desk.server.faults.append(replace(fault))
        refused(KaggleError, "was not pushed", *says, by=desk.push)
        assert not (desk.work / "pushed.json").exists()

    def test_what_kaggle_made_of_it_is_read_back_and_a_model_that_it_left_out_is_an_error(self, desk: Desk) -> None:
        desk.server.found = {"modelDataSources": [], "machineShape": "NvidiaTeslaT4", "enableInternet": True}
        refused(
            KaggleError,
            *("version 1 was pushed, but", f"the model {MODEL} is not attached", "the internet is on"),
            *("the machine is NvidiaTeslaT4, not NvidiaH100", "`kit submit --version 1` takes it as it is"),
            by=lambda: desk.push(Kernel(owner=USERNAME, model_sources=(MODEL,))),
        )
        refused(KaggleError, f"the model {MODEL} is not attached", by=desk.submit)
        assert not desk.server.submitted
        assert desk.submit(version=1).version == 1

    def test_a_version_that_could_not_be_read_back_is_the_last_one_all_the_same(self, desk: Desk) -> None:
        """The version before it stayed the last one, so `kit status` and `kit submit` took the old run."""
        desk.push()
        desk.server.faults.append(Fault("kernel", 502, times=-1))
        refused(KaggleError, "no answer from Kaggle", "version 2 is pushed", by=desk.push)
        desk.server.faults.clear()
        with desk.following() as run:
            assert run.ref == f"{REF}/2"
        assert desk.submit().version == 2

    @pytest.mark.parametrize("fault", [Fault("save", 502), Fault("save", cut=True, times=-1)])
    def test_after_a_push_with_an_unknown_outcome_no_older_version_is_the_last_one(
        self, desk: Desk, fault: Fault
    ) -> None:
        desk.push()
        desk.server.faults.append(replace(fault))
        refused(KaggleError, "whether the version is there", by=desk.push)
        desk.server.faults.clear()
        refused(MissingError, "name a version", by=desk.submit)
        desk.server.faults.append(Fault("save", 403, message="no"))
        refused(KaggleError, "forbids", by=desk.push)
        refused(MissingError, "name a version", by=desk.submit)
        assert not desk.server.submitted

    def test_after_a_push_that_kaggle_refused_the_version_before_is_the_last_one(self, desk: Desk) -> None:
        desk.push()
        desk.server.faults.append(Fault("save", 403, message="no"))
        refused(KaggleError, "forbids", by=desk.push)
        assert desk.submit().version == 1

    def test_what_is_read_back_late_is_waited_for_and_faults_on_the_way_too(self, desk: Desk) -> None:
        """Kaggle shows the machine of the last session, which may be the version before's for a while."""
        desk.server.faults += [
            Fault("kernel", body={"metadata": {"machineShape": "NvidiaTeslaT4"}, "blob": {}}),
            Fault("kernel", 404),
            Fault("kernel", 502),
        ]
        assert desk.push().version == 1
        assert "502" in "".join(desk.told)

    def test_the_credentials_of_another_are_told_before_anything_is_sent(self, desk: Desk) -> None:
        says = ("--username bob", "are of ada", "leave --username out")
        refused(InputError, *says, by=lambda: desk.push(Kernel(owner="bob")))
        assert not desk.server.seen
        desk.environ = {
            name: value for name, value in desk.environ.items() if name not in ("KAGGLE_KEY", "KAGGLE_USERNAME")
        }
        desk.environ["KAGGLE_API_TOKEN"] = TOKEN
        refused(InputError, *says, by=lambda: desk.push(Kernel(owner="bob")))
        assert {seen.where for seen in desk.server.seen} == {"introspect"}
        assert owner(None, environ=desk.environ) == USERNAME
        desk.environ["KAGGLE_API_TOKEN"] = "KGAT_that_nobody_ever_made"
        refused(KaggleError, "does not accept the credentials", by=lambda: owner(None, environ=desk.environ))
        desk.server.faults.append(Fault("introspect", 502, times=-1))
        refused(KaggleError, "does not say whose", "502", "wait some", by=lambda: owner(None, environ=desk.environ))

    def test_what_is_pushed_and_has_not_failed_is_not_pushed_again(self, desk: Desk, tmp_path: Path) -> None:
        dataset = tmp_path / "dataset"
        dataset.mkdir()
        (dataset / "kit-manifest.json").write_text("{}")

        def once() -> int:
            return push_once(
                MINE,
                NOTEBOOK,
                dataset=dataset,
                work=desk.work,
                environ=desk.environ,
                retry_policy=QUICK,
                on_event=desk.note,
            ).version

        desk.server.runs = {1: [("RUNNING", "")]}
        assert [once(), once()] == [1, 1]
        assert "pushed before, and not pushed again" in "".join(desk.told)
        desk.server.runs = {1: [("ERROR", "")]}
        assert once() == 2
        (dataset / "kit-manifest.json").write_text("{ }")
        assert once() == 3
        kept = Pushed.load(desk.work, REF)
        assert kept is not None
        replace(kept, is_read_back=False).save(desk.work)
        assert once() == 3
        assert Pushed.load(desk.work, REF) == kept
        replace(kept, is_read_back=False).save(desk.work)
        desk.server.found = {"machineShape": "NvidiaTeslaT4"}
        desk.server.runs = {3: [("COMPLETE", "")]}
        desk.server.faults.append(Fault("save", 400, message="stop here"))
        refused(KaggleError, "stop here", by=once)
        assert "version 3 is pushed again: the machine is NvidiaTeslaT4" in "".join(desk.told)

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

    def test_takes_the_version_that_is_named_and_asks_for_that_ones_run(self, desk: Desk) -> None:
        desk.server.saved.append({})
        assert desk.submit(version=1).version == 1
        desk.push()
        desk.server.runs = {2: [("RUNNING", "")]}
        assert desk.submit(version=1).version == 1
        desk.server.runs = {1: [("ERROR", "")]}
        refused(KaggleError, f"{REF}/1 ended with ERROR", by=lambda: desk.submit(version=1))

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
        ("run", "says"),
        [
            (("QUEUED", ""), ("is queued", "`kit status --follow`")),
            (("RUNNING", ""), ("is running", "`kit status --follow`")),
            (("ERROR", "Your notebook tried to allocate more memory."), ("allocate more memory", "kit logs")),
            (("CANCEL_ACKNOWLEDGED", ""), ("ended with CANCEL_ACKNOWLEDGED", "`kit push` again")),
        ],
    )  # fmt: skip
    def test_a_run_that_is_not_complete_spends_no_submission(
        self, desk: Desk, run: tuple[str, str], says: tuple[str, ...]
    ) -> None:
        desk.push()
        desk.server.runs = {1: [run]}
        refused(KaggleError, f"{REF}/1", *says, by=desk.submit)
        assert not desk.server.submitted

    def test_a_version_that_ran_on_another_machine_spends_no_submission(self, desk: Desk) -> None:
        """A run that gets another GPU than it asked for still ends as complete."""
        desk.push()
        desk.server.found = {"machineShape": "NvidiaTeslaT4"}
        refused(KaggleError, "the machine is NvidiaTeslaT4, not NvidiaH100", by=desk.submit)
        assert not desk.server.submitted

    def test_a_notebook_that_is_not_there_is_to_be_pushed_first(self, desk: Desk) -> None:
        refused(KaggleError, "not found", "kit push", by=lambda: desk.submit(version=3))

    @pytest.mark.parametrize(
        ("fault", "says"),
        [
            (
                Fault("submit", 400, message="Your team has used its daily Submission allowance (1) today."),
                ("a quota is used up: Your team has used", "a new day begins at 00:00 UTC"),
            ),
            (Fault("submit", 401), ("credentials are not accepted", "make a token at")),
            (Fault("submit", 403, message="You must accept the rules"), ("accept its rules (https://www.kaggle.com/",)),
            (Fault("submit", 404), ("not found", "the version must be there")),
            (Fault("submit", 409, message="Conflict"), ("/submissions before you try again",)),
            (Fault("submit", 429, times=-1), ("too many requests", "wait some minutes")),
            (Fault("submit", 502), ("may have been taken all the same", "/submissions before you try again")),
            (Fault("submit", 400, message="No such file"), ("refuses it: No such file", "submission file")),
            (Fault("run", 401), ("does not accept the credentials", "make a token at")),
            (Fault("run", 403), ("not found on Kaggle, or not yours", "kit push")),
            (Fault("run", 502, times=-1), ("no answer from Kaggle", "502")),
        ],
    )  # fmt: skip
    def test_each_fault_is_told_in_one_error_with_its_own_fix(
        self, desk: Desk, fault: Fault, says: tuple[str, ...]
    ) -> None:
        """The client makes of a 401 about a run that the name is wrong, or the notebook private."""
        desk.server.saved.append({})
        desk.server.faults.append(replace(fault))
        refused(KaggleError, *says, by=lambda: desk.submit(version=1))
        assert not desk.server.submitted

    def test_a_submission_without_a_number_was_not_taken(self, desk: Desk) -> None:
        desk.push()
        desk.server.words, desk.server.number = "Could not submit to competition", 0
        refused(KaggleError, "not submitted", "Could not submit", by=desk.submit)


# --- following ---


class TestFollowing:
    pytestmark = real_client

    def test_a_run_is_waited_for_through_faults_and_its_failure_told_with_its_log(self, desk: Desk) -> None:
        desk.push()
        failure = "Your notebook hit an unhandled error while rerunning your code."
        desk.server.runs = {1: [("QUEUED", ""), ("RUNNING", ""), ("ERROR", failure)]}
        desk.server.faults += [Fault("run", 502), Fault("run", 429)]
        desk.server.text = json.dumps([{"stream_name": "stdout", "time": 1.0, "data": "one\n"}, {"data": "two"}])
        with desk.following() as run:
            seen = run.wait()
            assert (seen.words, seen.is_complete) == (f"{REF}/1 ended with ERROR: {failure}", False)
            assert run.lines() == ("one", "two")
        assert f"{REF}/1 is running" in desk.told
        with desk.following(version=2) as run:
            refused(KaggleError, f"{REF}/2: not found on Kaggle", by=run.look)

    def test_without_a_push_from_here_it_is_kaggles_latest(self, desk: Desk) -> None:
        desk.server.saved += [{}, {}]
        desk.server.runs = {2: [("RUNNING", "")]}
        with desk.following() as run:
            assert run.look().words.startswith(f"{REF} is running")
            assert run.lines() == ()
        refused(InputError, "--version must be 1 or more", by=lambda: desk.following(version=0).__enter__())

    def test_one_that_never_ends_is_given_up(self, desk: Desk) -> None:
        desk.server.saved.append({})
        desk.server.runs = {1: [("QUEUED", "")]}
        policy = replace(QUICK, ready_s=0.1)
        with following(
            MINE, version=1, work=desk.work, environ=desk.environ, retry_policy=policy, on_event=desk.note
        ) as run:
            refused(KaggleError, f"{REF}/1 is queued after", "`kit status`", by=run.wait)

    def test_the_commands_tell_a_failed_run_with_the_end_of_its_log(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name, value in desk.environ.items():
            monkeypatch.setenv(name, value)
        desk.server.saved.append({})
        desk.server.runs = {1: [("ERROR", "Out of memory")]}
        desk.server.text = json.dumps([{"data": f"line {number}\x1b[2J\n"} for number in range(100)])
        place = ["--username", USERNAME, "--out", str(desk.work)]
        assert cli.main(["status", *place]) == 1
        told = capsys.readouterr().out
        assert "line 60⟨U+001B⟩[2J" in told
        assert "line 59" not in told
        assert told.endswith(f"{REF} ended with ERROR: Out of memory\n")
        assert cli.main(["logs", *place, "--lines", "2"]) == 0
        assert [line[:7] for line in capsys.readouterr().out.splitlines()] == ["line 98", "line 99"]
        assert cli.main(["logs", *place, "--lines", "-1"]) == 1


@pytest.mark.parametrize(
    ("log", "lines"),
    [
        ("", ()),
        ('[{"data": "a\\n"}, {"data": "b"}, {"data": "c\\nd\\n"}]', ("a", "b", "c", "d")),
        ("plain\ntext", ("plain", "text")),
        ('{"data": 1}', ('{"data": 1}',)),
        ("[1]", ("[1]",)),
        ("[" * 100_000, ("[" * 100_000,)),
    ],
)
def test_a_log_is_read_in_kaggles_form_and_in_any_other(log: str, lines: tuple[str, ...]) -> None:
    assert log_lines(log) == lines


def test_the_commands_say_in_one_line_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("KAGGLE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for command in ("push", "submit", "status", "logs"):
        assert cli.main([command, "--username", "ada", "--out", str(tmp_path / "kernel")]) == 1
        assert "no Kaggle credentials" in capsys.readouterr().err
        assert cli.main([command, "--username", "Ada!"]) == 1
        assert capsys.readouterr().err.startswith("kit: owner must be a Kaggle username")
