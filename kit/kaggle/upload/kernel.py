"""The submission notebook on Kaggle: what it is pushed as, pushing it, and submitting one of its versions.

In: a username and what the notebook shall have attached. Out: the version that Kaggle runs, or the submission it
accepted; anything else raises. `notebooks/kernel-metadata.json` is this module's own output for a username to fill in
(a test holds that), and what is pushed is made anew each time, so there is one place that says internet off, which
GPU, and which image.

Kaggle's client calls a push a success even if an input could not be attached; here it is a failure. Whether the GPU
asked for was given only a run shows: the notebook's own log names it. Source: docs/kaggle.md#notebooks,
docs/kaggle.md#client; kaggle 2.2.5 (`kernels_push`, `competition_submit_code`).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from kit.checkout import PROJECT
from kit.errors import InputError, MissingError, cannot_write, check_fields
from kit.json_text import read_json
from kit.kaggle import facts
from kit.kaggle.dataset.handle import DEFAULT_SLUG as DATASET_SLUG
from kit.kaggle.dataset.mounted import check_ref
from kit.kaggle.upload.client import (
    ClientError,
    KaggleClient,
    KaggleError,
    RunStatus,
    SavedKernel,
    check_installed,
    client_in,
)
from kit.kaggle.upload.credentials import Credentials, client_environment, find_credentials
from kit.lock import held

NOTEBOOK = PROJECT / "notebooks" / "submission.ipynb"
DEFAULT_SLUG = "mathllm-kit-submission"
DEFAULT_MESSAGE = "submitted by mathllm-kit"
_PUSHED_NAME = "pushed.json"
_STALL_S = 600.0
_DATASET = re.compile(f"{facts.OWNER.pattern}/{facts.SLUG.pattern}")
_UTILITY: Mapping[str, object] = {
    "enable_gpu": False,
    "machine_shape": "",
    "enable_internet": True,
    **{f"{kind}_sources": [] for kind in ("competition", "dataset", "kernel", "model")},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A notebook as Kaggle knows it.

    dataset: `owner/slug` of the kit's; None for the owner's own by its usual name. model_sources: Kaggle Models,
    `owner/model/framework/variation/version`. image: by digest, `…/python@sha256:…`; None keeps the one that the
    notebook was first run with. slug: its title is its words, because Kaggle makes the address from the title.
    further_datasets, kernel_sources: datasets and outputs of notebooks, `owner/slug`, to attach besides. holds_kit:
    the notebook is self-contained, so that no dataset of the kit is attached. is_utility: it fetches from the internet,
    and needs no GPU and nothing attached.
    """

    owner: str
    slug: str = DEFAULT_SLUG
    dataset: str | None = None
    model_sources: tuple[str, ...] = ()
    image: str | None = None
    further_datasets: tuple[str, ...] = ()
    kernel_sources: tuple[str, ...] = ()
    holds_kit: bool = False
    is_utility: bool = False

    def __post_init__(self) -> None:
        least, most = facts.MIN_KERNEL_CHARACTERS, facts.MAX_KERNEL_CHARACTERS
        check_fields(
            self,
            (
                ("owner", facts.OWNER.fullmatch(self.owner) is not None, "a Kaggle username: a-z, 0-9 and -"),
                ("slug", facts.KERNEL_SLUG.fullmatch(self.slug) is not None, "words of a-z and 0-9 joined by single -"),
                ("slug", least <= len(self.slug) <= most, f"{least} to {most} characters long"),
                ("dataset", self.dataset is None or _DATASET.fullmatch(self.dataset) is not None, "OWNER/SLUG"),
                ("image", self.image is None or facts.IMAGE.fullmatch(self.image) is not None, "NAME@sha256:DIGEST"),
            ),
        )
        for ref in self.model_sources:
            check_ref(ref)
        for name, refs in (("further_datasets", self.further_datasets), ("kernel_sources", self.kernel_sources)):
            check_fields(self, ((name, all(map(_DATASET.fullmatch, refs)), "a list of OWNER/SLUG"),))

    @property
    def ref(self) -> str:
        """Owner and slug, as Kaggle writes them."""
        return f"{self.owner}/{self.slug}"

    @property
    def page(self) -> str:
        """Its address."""
        return f"{facts.SITE}/code/{self.ref}"

    def metadata(self, code_file: str) -> Mapping[str, object]:
        """The client's kernel-metadata.json. Internet is said to be off in words: the client's default is on."""
        asked = {
            "id": self.ref,
            "title": self.slug.replace("-", " "),
            "code_file": code_file,
            "language": "python",
            "kernel_type": "notebook",
            "is_private": True,
            "enable_gpu": True,
            "machine_shape": facts.ACCELERATOR,
            "enable_tpu": False,
            "enable_internet": False,
            "competition_sources": [facts.COMPETITION],
            "dataset_sources": [*self._own_dataset(), *self.further_datasets],
            "kernel_sources": list(self.kernel_sources),
            "model_sources": list(self.model_sources),
            **({"docker_image_pinning_type": "original"} if self.image is None else {"docker_image": self.image}),
        }
        return {**asked, **_UTILITY} if self.is_utility else asked

    def _own_dataset(self) -> tuple[str, ...]:
        """The kit's dataset, if it is not the notebook itself that holds the kit."""
        if self.dataset is None and self.holds_kit:
            return ()
        return (self.dataset or f"{self.owner}/{DATASET_SLUG}",)

    def render(self, code_file: str) -> str:
        """The metadata as the file's text."""
        return json.dumps(self.metadata(code_file), indent=2) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """A version that Kaggle has taken and now runs."""

    ref: str
    version: int
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A version that Kaggle takes part with. words: Kaggle's."""

    ref: str
    version: int
    words: str


def push(kernel: Kernel, notebook: Path, *, work: Path, environ: Mapping[str, str]) -> Pushed:
    """Push `notebook` as `kernel`; Kaggle runs it at once, and `submit` then knows which version it was.

    work: a folder for what is sent and what was answered.
    Raises: MissingError (no credentials, no client, no notebook); InputError (a notebook that Kaggle would not take);
    StorageError; KaggleError (refused, or without one of its inputs).
    """
    credentials = find_credentials(environ)
    check_installed()
    _check_notebook(notebook, credentials)
    with held(work), _client(work, environ, credentials) as client:
        _stage(kernel, notebook, work / "staged")
        try:
            saved = client.push("staged")
        except ClientError as problem:
            fix = f"is --username {kernel.owner} right, and is it yours?"
            raise KaggleError(f"{kernel.ref} was not pushed: {problem}\n{fix}") from problem
        pushed = _pushed(kernel, saved)
        _record(work).write_text(json.dumps({"ref": pushed.ref, "version": pushed.version}), encoding="utf-8")
    return pushed


def submit(
    kernel: Kernel,
    *,
    version: int | None = None,
    message: str = DEFAULT_MESSAGE,
    work: Path,
    environ: Mapping[str, str],
) -> Submitted:
    """Submit a version: the one pushed last, if none is named.

    The run of the latest must be complete, for Kaggle takes the file that it left; of older ones Kaggle does not tell.
    Raises: MissingError (no credentials, no client, nothing pushed yet); InputError (no such version, or no message);
    KaggleError (still running, failed, or refused, for example because today's submission is spent).
    """
    if version is not None and version < 1:
        raise InputError(f"--version must be 1 or more, got {version}")
    if not message.strip():
        raise InputError("--message must be some text")
    credentials = find_credentials(environ)
    check_installed()
    with held(work), _client(work, environ, credentials) as client:
        latest = _latest(kernel, work)
        chosen = version or latest
        if chosen is None:
            raise MissingError(f"{work}: nothing was pushed from here; name a version of {kernel.page} with --version")
        if latest in (None, chosen):
            _check_complete(kernel, client)
        try:
            words = client.submit(
                facts.COMPETITION, ref=kernel.ref, version=chosen, file=facts.SUBMISSION_NAME, message=message
            )
        except ClientError as problem:
            raise KaggleError(f"not submitted: {problem}") from problem
    return Submitted(ref=kernel.ref, version=chosen, words=words)


def _check_notebook(notebook: Path, credentials: Credentials) -> None:
    if not notebook.is_file():
        raise MissingError(f"{notebook}: not found; push from a checkout of the kit")
    content = notebook.read_bytes()
    if len(content) > facts.MAX_NOTEBOOK_BYTES:
        raise InputError(
            f"{notebook}: {len(content):,} bytes, Kaggle takes {facts.MAX_NOTEBOOK_BYTES:,}; clear its outputs"
        )
    if credentials.found_in(content):
        raise InputError(f"{notebook}: holds your Kaggle credentials; take them out")


def _client(work: Path, environ: Mapping[str, str], credentials: Credentials) -> AbstractContextManager[KaggleClient]:
    scratch = work / "client"
    scratch.mkdir(mode=0o700, exist_ok=True)
    environ = client_environment(environ, scratch=scratch)
    return client_in(work, environ=environ, scrub=credentials.scrubbed, stall_s=_STALL_S)


def _stage(kernel: Kernel, notebook: Path, folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
        shutil.copyfile(notebook, folder / notebook.name)
        (folder / facts.KERNEL_METADATA).write_text(kernel.render(notebook.name), encoding="utf-8")
    except OSError as error:
        raise cannot_write(folder, error) from error


def _pushed(kernel: Kernel, saved: SavedKernel) -> Pushed:
    if saved.lost:
        inputs = "; ".join(f"{kind}: {names}" for kind, names in saved.lost.items())
        raise KaggleError(
            f"{kernel.ref}: version {saved.version} was pushed, but without its inputs ({inputs}): "
            "it cannot be submitted\nupload the dataset first (upload_kaggle_dataset.py), join the competition on its "
            "page, check the names, then push again"
        )
    return Pushed(ref=kernel.ref, version=saved.version, url=saved.url)


def _check_complete(kernel: Kernel, client: KaggleClient) -> None:
    try:
        status = client.run_status(kernel.ref)
    except ClientError as problem:
        raise KaggleError(f"{kernel.ref}: {problem}\npush it first, with `kit push`") from problem
    if status is RunStatus.COMPLETE:
        return
    if status in (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.NEW_SCRIPT):
        raise KaggleError(f"{kernel.ref} is {status.lower()}; run this again when it is complete: {kernel.page}")
    raise KaggleError(f"{kernel.ref} ended with {status}; see its log at {kernel.page}, then push again")


def _latest(kernel: Kernel, work: Path) -> int | None:
    """The version that was pushed last from here; None if that is not known."""
    try:
        record = read_json(_record(work).read_bytes())
        return int(record["version"]) if record["ref"] == kernel.ref else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _record(work: Path) -> Path:
    return work / _PUSHED_NAME
