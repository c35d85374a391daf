"""Uploading with the unmodified `kaggle` client, as a process, against a loopback server, with faults.

Each test starts the real client once an upload, which takes a second or two. Both releases of the client that are
known were tried; the one installed beside the kit is used.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from kit.errors import InputError, MissingError, StorageError
from kit.kaggle.dataset.handle import DatasetHandle
from kit.kaggle.dataset.manifest import Entry, Manifest
from kit.kaggle.transfer import sha256_of
from kit.kaggle.upload.faults import KaggleError
from kit.kaggle.upload.plan import Event, RetryPolicy, Stage, Uploaded
from kit.kaggle.upload.sending import upload
from kit.lock import held
from tests.kaggle.upload.kaggle_server import KEY, TOKEN, USERNAME, Dataset, Fault, KaggleServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        importlib.util.find_spec("kaggle") is None or importlib.util.find_spec("six") is None,
        reason=f"{sys.executable} has no `kaggle` client (kaggle==2.2.5 and six): NOTHING of uploading is tested",
    ),
]

REF = f"{USERNAME}/mathllm-kit"
WEIGHTS = "model__weights.safetensors"
CONFIG = "model__config.json"
QUICK = RetryPolicy(
    num_attempts=4, first_pause_s=0.02, max_pause_s=0.1, poll_s=0.02, ready_s=60.0, settle_s=0.1, stall_s=60.0
)


@dataclass
class Desk:
    """A dataset, a home without anything, a server, and what an upload told."""

    dataset: Path
    home: Path
    server: KaggleServer
    environ: dict[str, str]
    events: list[Event] = field(default_factory=list)

    def upload(self, *, retry_policy: RetryPolicy = QUICK, is_fresh: bool = False, **place: Any) -> Uploaded:
        to = DatasetHandle(**{"owner": USERNAME, **place})
        return upload(
            self.dataset,
            to,
            environ=self.environ,
            is_fresh=is_fresh,
            retry_policy=retry_policy,
            on_event=self.events.append,
        )

    def refused(self, **settings: Any) -> str:
        with pytest.raises(KaggleError) as caught:
            self.upload(**settings)
        self.events.append(Event(stage=Stage.NOTE, text=str(caught.value)))
        return str(caught.value)

    @property
    def work(self) -> Path:
        return self.dataset.with_name("dataset.upload")

    @property
    def told(self) -> str:
        return "\n".join(event.text for event in self.events)

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.dataset.iterdir()}

    def is_whole_on_kaggle(self, ref: str = REF) -> bool:
        return self.server.datasets[ref].files == self.contents()


def fill(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    entries = tuple(
        Entry(name, name, len(content), sha256_of(folder / name)) for name, content in sorted(files.items())
    )
    Manifest(kit_version="1", commit="test", entries=entries).save(folder)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    dataset, home = tmp_path / "dataset", tmp_path / "home"
    home.mkdir()
    fill(dataset, {CONFIG: b"{}", WEIGHTS: random.Random(0).randbytes(600_000)})
    with KaggleServer() as server:
        desk = Desk(dataset, home, server, {"PATH": os.environ["PATH"], "HOME": str(home), **server.environ})
        yield desk
        assert not server.broken
        assert_no_secret(desk.told.encode(), "what was told")
        for path in desk.work.rglob("*"):
            if path.is_file():
                assert_no_secret(path.read_bytes(), str(path))


def assert_no_secret(content: bytes, where: str) -> None:
    for secret in (KEY, TOKEN):
        assert secret.encode() not in content, f"a secret in {where}"


def test_a_new_dataset_is_private_and_whole(desk: Desk) -> None:
    done = desk.upload(licence="apache-2.0", title="The kit of the test")
    made = desk.server.datasets[REF]
    assert desk.is_whole_on_kaggle()
    assert (made.is_private, made.title, made.licence) == (True, "The kit of the test", "apache-2.0")
    assert (done.ref, done.url, done.was_sent) == (REF, f"https://www.kaggle.com/datasets/{REF}", True)
    assert (done.num_files, done.size_bytes) == (3, sum(map(len, desk.contents().values())))
    assert sorted(path.name for path in desk.dataset.iterdir()) == sorted(made.files), "nothing is put into the folder"
    sending = [event.done for event in desk.events if event.stage is Stage.SENDING]
    assert sending == sorted(sending)
    assert sending[-1] == done.size_bytes
    assert not [path for path in desk.home.rglob("*") if path.is_file()], "the client left something in the home"


def test_public_only_if_asked_for(desk: Desk) -> None:
    desk.upload(is_public=True)
    assert not desk.server.datasets[REF].is_private


def test_one_that_is_there_gets_a_version_once_kaggle_is_through_with_the_last(desk: Desk) -> None:
    """Before that Kaggle answers 403 (kagglehub 181), now and then even when it says ready."""
    waiting = ["BLOBS_RECEIVED", "INDIVIDUAL_BLOBS_COMPRESSED", "READY"]
    desk.server.datasets[REF] = Dataset({"old.bin": b"old"}, is_private=False, statuses=waiting)
    desk.server.faults.append(Fault("version", 403))
    done = desk.upload(is_public=True)
    made = desk.server.datasets[REF]
    assert desk.is_whole_on_kaggle()
    assert made.num_versions == 2
    assert done.was_sent
    assert "blobs received" in desk.told
    assert "adding a version, its visibility stays as it is; --public has no effect" in desk.told
    assert len(desk.server.sent_bytes(WEIGHTS)) == 1, "the refused version's blobs were sent again"


def test_a_version_that_stays_forbidden_is_an_error_that_keeps_what_was_sent(desk: Desk) -> None:
    desk.server.datasets[REF] = Dataset({"old.bin": b"old"})
    desk.server.faults.append(Fault("version", 403, times=3, message="Permission 'datasets.update' was denied"))
    message = desk.refused()
    assert "Kaggle forbids it: Permission 'datasets.update' was denied" in message
    assert "is --username ada right" in message
    assert desk.server.datasets[REF].files == {"old.bin": b"old"}
    desk.upload()
    assert len(desk.server.sent_bytes(WEIGHTS)) == 1


def test_an_old_versions_ready_is_not_taken_for_the_new_ones(desk: Desk) -> None:
    desk.server.datasets[REF] = Dataset({"old.bin": b"old"})
    desk.server.faults.append(Fault("dataset", after=1, times=2, body={"currentVersionNumber": 1}))
    desk.upload()
    assert "ready, but the version before is still shown" in desk.told
    assert desk.server.count("dataset") == 5  # before, until the new one is shown, and which it is


@pytest.mark.parametrize("code", [403, 404])
def test_what_cannot_be_seen_is_created_and_waited_for(desk: Desk, code: int) -> None:
    """Kaggle has said 403 of what does not exist, and says it of what is still being stored."""
    desk.server.faults += [Fault("status", code, times=2), Fault("status", code, after=0, times=2)]
    desk.server.after_create = ["NOT_YET_PERSISTED", "BLOBS_RECEIVED", "READY"]
    desk.upload()
    assert desk.is_whole_on_kaggle()
    assert "not to be seen yet" in desk.told
    assert "blobs received" in desk.told


def test_credentials_that_are_not_accepted_are_one_error_before_anything_is_sent(desk: Desk) -> None:
    desk.environ["KAGGLE_KEY"] = "f" * 32
    message = desk.refused()
    assert "does not accept the credentials" in message
    assert "https://www.kaggle.com/settings/api" in message
    assert {seen.where for seen in desk.server.seen} == {"status"}
    assert desk.server.count("status") == 1


def test_without_credentials_nothing_is_even_read(desk: Desk) -> None:
    del desk.environ["KAGGLE_KEY"], desk.environ["KAGGLE_USERNAME"]
    with pytest.raises(MissingError, match="no Kaggle credentials; looked at"):
        desk.upload()
    assert not desk.server.seen
    assert not desk.events
    assert not desk.work.exists()


def test_a_token_works_from_a_variable_and_from_a_file_by_a_relative_path(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    del desk.environ["KAGGLE_KEY"], desk.environ["KAGGLE_USERNAME"]
    (desk.home / "my-token").write_text(TOKEN)
    monkeypatch.chdir(desk.home)
    desk.environ["KAGGLE_API_TOKEN"] = "my-token"
    desk.upload()
    assert {seen.authorization for seen in desk.server.seen if seen.where == "create"} == {f"Bearer {TOKEN}"}
    desk.environ["KAGGLE_API_TOKEN"] = "KGAT_that_nobody_ever_made"
    assert "does not accept the credentials" in desk.refused()
    assert "KGAT_that" not in desk.told


@pytest.mark.parametrize(
    "answer",
    [
        Fault("create", 409),
        Fault("create", body={"status": "error", "error": 'The requested title "x" is already in use by a dataset.'}),
    ],
    ids=["409", "error-with-200"],
)
def test_a_name_in_use_is_an_error_and_another_name_needs_no_byte_again(desk: Desk, answer: Fault) -> None:
    """The client ends with 0 on the second form, and forgets what it sent (kaggle-cli 322, 758: 31 GB)."""
    desk.server.faults.append(replace(answer))
    message = desk.refused()
    assert "the name is in use" in message
    assert "choose another --slug or --title" in message
    assert not desk.server.datasets
    desk.upload(slug="another-name")
    assert desk.is_whole_on_kaggle(f"{USERNAME}/another-name")
    assert len(desk.server.sent_bytes(WEIGHTS)) == 1


def test_upload_sessions_are_private_and_go_when_kaggle_has_accepted_the_dataset(desk: Desk) -> None:
    """A session's address lets whoever has it write to the upload; the client forgets them after a refusal, too."""
    desk.server.faults.append(Fault("create", body={"status": "error", "error": "no"}))
    desk.refused()
    (sessions,) = desk.work.glob("*/sessions")
    assert sessions.stat().st_mode & 0o777 == 0o700
    assert len(list(sessions.rglob("*.json"))) == 3
    desk.upload()
    assert not list(sessions.rglob("*.json"))


def test_a_refusal_is_told_in_kaggles_words(desk: Desk) -> None:
    desk.server.faults.append(Fault("create", body={"status": "error", "error": "Please specify at least one file."}))
    assert "Please specify at least one file." in desk.refused()
    desk.server.faults.append(Fault("create", 403, message="You are not allowed to create a dataset as this owner."))
    assert "is --username ada right" in desk.refused()


def test_too_many_requests_are_waited_out(desk: Desk) -> None:
    """The client itself waits in an upload (as long as Retry-After says), but not when it only asks."""
    desk.server.faults += [
        Fault("start", 429, times=2, headers={"Retry-After": "0"}),
        Fault("status", 429, times=2),
        Fault("files", 429),
    ]
    desk.upload()
    assert desk.is_whole_on_kaggle()
    assert "too many requests" in desk.told


def test_a_kaggle_that_stays_away_is_given_up(desk: Desk) -> None:
    desk.server.faults.append(Fault("status", 503, times=-1))
    message = desk.refused()
    assert "no answer from Kaggle: 503 Server Error" in message
    assert desk.server.count("status") == QUICK.num_attempts


def test_a_503_in_the_middle_of_a_file_goes_on_in_the_middle(desk: Desk) -> None:
    desk.server.faults.append(Fault("put", 503, file=WEIGHTS, kept_bytes=250_000))
    desk.upload()
    assert desk.is_whole_on_kaggle()
    assert desk.server.sent_bytes(WEIGHTS) == [(0, 600_000), (250_000, 350_000)]


def test_a_503_that_makes_the_client_give_a_file_up_costs_no_byte_that_was_kept(desk: Desk) -> None:
    """It gives up when its question where to go on fails; started again, it goes on in the same place."""
    desk.server.faults += [
        Fault("put", 503, file=WEIGHTS, kept_bytes=400_000),
        Fault("probe", 503, file=WEIGHTS, times=1),
        Fault("create", 503),
        Fault("status", 503),
    ]
    desk.upload()
    assert desk.is_whole_on_kaggle()
    assert desk.server.sent_bytes(WEIGHTS)[-1] == (400_000, 200_000)
    assert "trying again" in desk.told


def test_a_connection_cut_in_the_body_is_survived(desk: Desk) -> None:
    desk.server.faults.append(Fault("put", cut=True, times=2, file=WEIGHTS, kept_bytes=200_000))
    desk.upload()
    assert desk.is_whole_on_kaggle()


def test_a_blob_refused_once_is_sent_again_and_no_dataset_is_made_without_it(desk: Desk) -> None:
    """Release 2.2.4 leaves such a file out, makes the dataset and ends with 0; 2.2.5 ends with 1 (PR 1150)."""
    desk.server.faults.append(Fault("put", 400, file=CONFIG))
    desk.upload()
    assert desk.is_whole_on_kaggle()
    assert (desk.server.count("create"), desk.server.count("version")) == (1, 0)
    assert f"Kaggle's storage did not take {CONFIG}" in desk.told


def test_a_blob_refused_for_good_is_an_error_that_names_it_and_its_status_after_three_looks(desk: Desk) -> None:
    """It was tried eight times, with pauses of ten minutes in all."""
    desk.server.faults.append(Fault("put", 403, times=-1, file=WEIGHTS))
    message = desk.refused()
    assert f"Kaggle's storage did not take {WEIGHTS} (HTTP 403)" in message
    assert "proxy or firewall" in message
    assert not desk.server.datasets
    assert len(desk.server.sent_bytes(WEIGHTS)) == 3
    assert desk.server.count("create") == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault("create", body={"status": "error", "error": "You have exceeded your private dataset quota (200 GB)."}),
        Fault("start", 403, times=-1, message="Quota exceeded"),
    ],
    ids=["error-with-200", "403"],
)
def test_a_full_quota_is_told_as_such_and_once(desk: Desk, fault: Fault) -> None:
    desk.server.faults.append(replace(fault))
    message = desk.refused()
    assert "a quota is used up" in message
    assert "private datasets share 200 GB: delete what you no longer need" in message
    assert "--fresh" not in message
    assert desk.server.count(fault.where) == 1


def test_an_upload_session_that_expired_is_begun_anew(desk: Desk) -> None:
    """2.2.4 meets the dead session again in every run unless it is forgotten; 2.2.5 begins anew by itself."""
    desk.server.faults += [Fault("put", 503, file=WEIGHTS, kept_bytes=100_000), Fault("probe", 404, file=WEIGHTS)]
    desk.upload()
    assert desk.is_whole_on_kaggle()
    assert desk.server.sent_bytes(WEIGHTS)[-1] == (0, 600_000)


def test_a_creation_whose_answer_was_lost_is_found_and_not_made_twice(desk: Desk) -> None:
    desk.server.faults.append(Fault("create", cut=True, is_done=True))
    desk.upload()
    assert desk.is_whole_on_kaggle()
    assert desk.server.datasets[REF].num_versions == 1
    assert len(desk.server.sent_bytes(WEIGHTS)) == 1


def test_a_client_that_falls_silent_is_ended_and_goes_on(desk: Desk) -> None:
    desk.server.faults.append(Fault("put", 503, file=WEIGHTS, kept_bytes=300_000, hang_s=30.0))
    desk.upload(retry_policy=replace(QUICK, stall_s=6.0))
    assert desk.is_whole_on_kaggle()
    assert "silent for too long" in desk.told
    assert desk.server.sent_bytes(WEIGHTS)[-1] == (300_000, 300_000)


def test_one_that_is_never_ready_is_an_error_and_the_next_run_only_waits(desk: Desk) -> None:
    desk.server.after_create = ["BLOBS_DECOMPRESSED"]
    message = desk.refused(retry_policy=replace(QUICK, ready_s=1.0))
    assert "is not ready (blobs decompressed); the same command waits on" in message
    desk.server.datasets[REF].statuses = ["READY"]
    done = desk.upload()
    assert not done.was_sent
    assert desk.server.count("create") == 1
    assert len(desk.server.sent_bytes(WEIGHTS)) == 1
    waiting = [event for event in desk.events if event.stage is Stage.WAITING]
    assert waiting
    assert waiting[0].total == 1.0


def test_what_kaggle_cannot_process_is_an_error_and_the_next_run_sends_a_version(desk: Desk) -> None:
    desk.server.after_create = ["BLOBS_RECEIVED", "FAILED"]
    assert "Kaggle says 'failed'" in desk.refused()
    desk.server.after_create = ["READY"]
    assert desk.upload().was_sent
    assert desk.server.datasets[REF].num_versions == 2


def test_a_list_that_differs_is_an_error_naming_the_files_and_the_next_run_mends_it(desk: Desk) -> None:
    listed = [{"name": CONFIG, "totalBytes": 2}, {"name": WEIGHTS, "totalBytes": 599_999}]
    desk.server.faults.append(Fault("files", times=-1, body={"datasetFiles": listed, "nextPageToken": ""}))
    message = desk.refused()
    assert f"{WEIGHTS} has 599,999 bytes instead of 600,000" in message
    assert "kit-manifest.json is missing" in message
    desk.server.faults.clear()
    assert desk.upload().was_sent
    assert desk.server.datasets[REF].num_versions == 2


def test_names_that_kaggle_changes_archives_and_many_files_are_recognised(desk: Desk) -> None:
    many = {f"torch-2.9+cu128-part{number}.whl": b"x" * number for number in range(30)}
    fill(desk.dataset, {CONFIG: b"{}", WEIGHTS: b"w" * 1000, **many})
    desk.upload()
    assert "torch-2.9cu128-part29.whl" in desk.server.datasets[REF].files
    assert len(desk.server.datasets[REF].files) == 33


def test_a_finished_upload_is_not_repeated_unless_it_is_gone_or_asked_for(desk: Desk) -> None:
    assert desk.upload().was_sent
    assert not desk.upload().was_sent
    assert desk.upload(is_fresh=True).was_sent
    assert desk.server.datasets[REF].num_versions == 2
    desk.server.datasets.clear()
    assert desk.upload().was_sent
    assert desk.is_whole_on_kaggle()


def test_an_upload_that_another_of_the_same_sizes_replaced_is_sent_again(desk: Desk) -> None:
    first, second = {CONFIG: b"{}", WEIGHTS: b"a" * 1000}, {CONFIG: b"{}", WEIGHTS: b"b" * 1000}
    for files, is_sent in ((first, True), (second, True), (first, True), (first, False)):
        fill(desk.dataset, files)
        assert desk.upload().was_sent is is_sent
        assert desk.server.datasets[REF].files[WEIGHTS] == files[WEIGHTS]
    assert desk.server.datasets[REF].num_versions == 3


def test_a_rebuilt_dataset_goes_on_with_nothing_of_the_old_one(desk: Desk) -> None:
    """The client would take a file of the same name, size and second for the same file."""
    desk.server.faults.append(Fault("create", 400))
    desk.refused()
    weights = desk.dataset / WEIGHTS
    when = weights.stat().st_mtime_ns
    fill(desk.dataset, {CONFIG: b"{}", WEIGHTS: b"n" * 600_000})
    os.utime(weights, ns=(when, when))
    desk.upload()
    assert desk.is_whole_on_kaggle()


def test_a_changed_dataset_is_refused_before_kaggle_is_asked(desk: Desk) -> None:
    (desk.dataset / WEIGHTS).write_bytes(b"v" * 600_000)
    with pytest.raises(InputError, match="its SHA-256 is not the manifest's"):
        desk.upload()
    assert not desk.server.seen


def test_an_owner_who_is_not_the_credentials_is_told_for_it_may_be_an_organisation(desk: Desk) -> None:
    desk.upload(owner="the-lab")
    assert "the credentials are of ada: the-lab must be an organisation" in desk.told
    assert desk.is_whole_on_kaggle("the-lab/mathllm-kit")


def test_two_uploads_of_one_dataset_do_not_run_at_once(desk: Desk) -> None:
    with held(desk.work), pytest.raises(StorageError, match="another process is using it"):
        desk.upload()


def test_a_folder_named_kaggle_is_not_taken_for_the_client(desk: Desk) -> None:
    trap = desk.work / "kaggle"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text("raise SystemExit('the wrong kaggle')")
    desk.upload()
    assert desk.is_whole_on_kaggle()


# The command itself, as its own process.


def command(desk: Desk, repo: Path, *options: str) -> list[str]:
    script = str(repo / "upload_kaggle_dataset.py")
    return [sys.executable, script, "--username", USERNAME, "--dataset", str(desk.dataset), *options]


def run(desk: Desk, repo: Path, *options: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(desk, repo, *options), env=desk.environ, capture_output=True, text=True, check=False, timeout=600
    )
    assert_no_secret((done.stdout + done.stderr).encode(), "what the command printed")
    return done


def test_the_command_uploads_and_says_where(desk: Desk, repo: Path) -> None:
    desk.environ["VERBOSE"] = "true"  # would have the client print its Authorization headers
    done = run(desk, repo)
    assert done.returncode == 0, done.stderr
    assert f"ready: 3 files, 600,{len(desk.contents()['kit-manifest.json']) + 2:03} bytes" in done.stdout
    assert f"https://www.kaggle.com/datasets/{REF}" in done.stdout
    assert importlib.metadata.version("kaggle") in done.stdout
    assert "Traceback" not in done.stderr
    assert desk.is_whole_on_kaggle()


def test_the_command_explains_a_fault_in_one_message_and_fails(desk: Desk, repo: Path) -> None:
    desk.server.faults.append(Fault("create", 409))
    done = run(desk, repo)
    assert done.returncode == 1
    assert "the name is in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert run(desk, repo, "--slug", "short").returncode == 1


def test_no_upload_writes_an_archive_without_credentials_or_a_network(desk: Desk, repo: Path) -> None:
    desk.environ = {"HOME": str(desk.home)}
    done = run(desk, repo, "--no-upload", "--public")
    assert done.returncode == 0, done.stderr
    assert (desk.dataset.parent / "mathllm-kit.zip").is_file()
    assert "https://www.kaggle.com/datasets/new" in done.stdout
    assert "public" in done.stdout
    assert not desk.server.seen
    (desk.dataset / WEIGHTS).unlink()
    assert f"{WEIGHTS}: missing" in run(desk, repo, "--no-upload").stderr


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_upload_goes_on_in_the_middle_of_the_file(desk: Desk, repo: Path, ending: signal.Signals) -> None:
    fill(desk.dataset, {CONFIG: b"{}", WEIGHTS: random.Random(0).randbytes(24_000_000)})  # more than a line buffers
    desk.server.chunk_pause_s = 0.1
    process = subprocess.Popen(command(desk, repo), env=desk.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for(lambda: desk.server.received_bytes(WEIGHTS) > 1_000_000)
    process.send_signal(ending)
    desk.server.chunk_pause_s = 0.0
    process.communicate(timeout=600)
    assert process.returncode == (130 if ending is not signal.SIGKILL else -signal.SIGKILL)
    if Path("/proc").is_dir():
        wait_for(lambda: not processes_in(desk.work))
    wait_for(lambda: bool(desk.server.sent_bytes(WEIGHTS)))
    assert run(desk, repo).returncode == 0
    assert desk.is_whole_on_kaggle()
    first, second = desk.server.sent_bytes(WEIGHTS)
    assert second[0] > 1_000_000
    assert second == (first[1], 24_000_000 - first[1])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline_s, "it never came about"
        time.sleep(0.02)


def processes_in(folder: Path) -> list[str]:
    """The ids of processes that run in `folder`, as the client does."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve(strict=True) == folder.resolve():
                found.append(process.name)
        except OSError:
            continue
    return found
