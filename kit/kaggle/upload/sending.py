"""Uploading a dataset: create or add a version, through faults and restarts, until Kaggle shows what was sent.

In: a built dataset's folder and where it goes. Out: its address, once it is `ready` and Kaggle lists every file
with its size; anything else raises. Progress is told in events; nothing is printed and nothing is asked.

Beside the dataset, in `<dataset>.upload`, lie the client's sessions and a record of what was handed over, so the
same command after a kill goes on: files that are through are not sent again, a half-sent one goes on in the middle,
and after the handing over nothing is sent, only waited for. A rebuilt dataset starts anew.

Not done: comparing contents after the upload (Kaggle tells names and sizes only); deleting old versions.
Source: docs/kaggle.md#datasets, docs/kaggle.md#client (requests, limits, faults of the client's releases).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from kit.errors import MissingError
from kit.kaggle.dataset.handle import DatasetHandle
from kit.kaggle.upload.client import KaggleClient, check_installed, client_in
from kit.kaggle.upload.credentials import Credentials, client_environment, find_credentials
from kit.kaggle.upload.delivery import STAGED_NAME, Delivery
from kit.kaggle.upload.plan import Event, RetryPolicy, Stage, Uploaded
from kit.kaggle.upload.remote_dataset import RemoteDataset
from kit.kaggle.upload.staging import StagedDataset, check_dataset_folder, stage
from kit.lock import held


def upload(
    dataset: Path,
    handle: DatasetHandle,
    *,
    environ: Mapping[str, str],
    is_fresh: bool = False,
    retry_policy: RetryPolicy | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Uploaded:
    """Bring `dataset` to Kaggle and wait until it can be used; the same call goes on where an earlier one ended.

    is_fresh: forget earlier runs and send everything.
    Raises: MissingError (no credentials, no client, no dataset); InputError (a dataset that is not its manifest's);
    StorageError (another upload of it runs, or the disk); KaggleError (refused, not ready in time, or not whole).
    """
    credentials = find_credentials(environ)  # before anything slow
    release = check_installed()
    retry_policy = retry_policy or RetryPolicy()
    if not dataset.is_dir():
        raise MissingError(f"{dataset}: no such folder; build the dataset with `kit build`")
    work = dataset.resolve().with_name(f"{dataset.resolve().name}.upload")
    with held(work):
        on_event(Event(stage=Stage.NOTE, text=f"kaggle {release}, credentials: {credentials.source}"))
        staged = _checked(dataset, credentials, on_event)
        stage(staged, work / STAGED_NAME, handle.metadata)
        sessions = _sessions(work, staged)
        environ = client_environment(environ, scratch=sessions)
        with client_in(work, environ=environ, scrub=credentials.scrubbed, stall_s=retry_policy.stall_s) as client:
            delivery = _delivery(staged, handle, client, sessions, retry_policy, on_event)
            _compare_owner(delivery, credentials)
            if is_fresh:
                delivery.forget()
            return delivery.run()


def _checked(dataset: Path, credentials: Credentials, on_event: Callable[[Event], None]) -> StagedDataset:
    def on_progress(done: int, total: int) -> None:
        on_event(Event(stage=Stage.CHECKING, text="reading the dataset", done=done, total=total))

    return check_dataset_folder(dataset, credentials=credentials, on_progress=on_progress)


def _compare_owner(delivery: Delivery, credentials: Credentials) -> None:
    """Tell if the dataset is to be another's: an organisation's may be meant."""
    asking, owner = delivery.remote.asking, delivery.to.owner
    theirs = credentials.username or asking.ask("the credentials", delivery.client.username)
    if theirs and theirs.lower() != owner:
        asking.note(f"the credentials are of {theirs}: {owner} must be an organisation that you may upload for")


def _sessions(work: Path, staged: StagedDataset) -> Path:
    """The client's sessions. They belong to the manifest: it knows a file by name, size and time, not by content."""
    sessions = work / staged.manifest_sha256[:16] / "sessions"
    sessions.mkdir(mode=0o700, parents=True, exist_ok=True)  # a session's address lets whoever has it write there
    return sessions


def _delivery(
    staged: StagedDataset,
    handle: DatasetHandle,
    client: KaggleClient,
    sessions: Path,
    retry_policy: RetryPolicy,
    on_event: Callable[[Event], None],
) -> Delivery:
    remote = RemoteDataset(
        ref=handle.ref, sizes_bytes=staged.sizes_bytes, client=client, retry_policy=retry_policy, on_event=on_event
    )
    return Delivery(
        staged=staged,
        to=handle,
        remote=remote,
        client=client,
        sessions=sessions,
        record_path=sessions.parent.with_name("record.json"),
        on_event=on_event,
    )
