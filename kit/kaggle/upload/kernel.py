"""The submission notebook on Kaggle: what it is pushed as, and pushing it.

In: a username and what the notebook shall have attached. Out: the version that Kaggle runs; anything else raises.
`notebooks/kernel-metadata.json` is this module's own output for a username to fill in (a test holds that), and what is
pushed is made anew each time, so there is one place that says internet off, which GPU, and which image.

Kaggle's client calls a push a success even if an input could not be attached; here it is a failure, and Kaggle's own
account of the notebook is read back (`read_back`). Source: docs/kaggle.md#notebooks, docs/kaggle.md#client; kaggle
2.2.5 (`kernels_push`).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kit.checkout import PROJECT
from kit.errors import InputError, MissingError, SettingError, cannot_write, check_fields, did_you_mean
from kit.kaggle import facts
from kit.kaggle.dataset.handle import DEFAULT_SLUG as DATASET_SLUG
from kit.kaggle.dataset.mounted import check_ref
from kit.kaggle.upload.account import client_of
from kit.kaggle.upload.asking import Asking
from kit.kaggle.upload.client import KaggleClient, SavedKernel
from kit.kaggle.upload.credentials import find_credentials
from kit.kaggle.upload.faults import ClientError, Fault, KaggleError
from kit.kaggle.upload.fixes import push_fix
from kit.kaggle.upload.plan import Event, RetryPolicy
from kit.kaggle.upload.pushed import Pushed, put_back, set_aside
from kit.kaggle.upload.read_back import check_read_back
from kit.lock import held

NOTEBOOK = PROJECT / "notebooks" / "submission.ipynb"
DEFAULT_SLUG = "mathllm-kit-submission"
READ_BACK = RetryPolicy(num_attempts=4, settle_s=60.0)
"""How a version that was just pushed is read back: what differs at first may still be the version before."""
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
    `owner/model/framework/variation/version`. accelerator: one of `facts.ACCELERATORS` or
    `facts.ACCELERATOR_ALIASES`. image: by digest,
    `…/python@sha256:…`; None keeps the one that the notebook was first run with. slug: its title is its words, because
    Kaggle makes the address from the title.
    further_datasets, kernel_sources: datasets and outputs of notebooks, `owner/slug`, to attach besides. holds_kit:
    the notebook is self-contained, so that no dataset of the kit is attached. is_utility: it fetches from the internet,
    and needs no GPU and nothing attached.
    """

    owner: str
    slug: str = DEFAULT_SLUG
    dataset: str | None = None
    model_sources: tuple[str, ...] = ()
    accelerator: str = facts.ACCELERATOR
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
        known = (*facts.ACCELERATORS, *facts.ACCELERATOR_ALIASES)
        if self.accelerator not in known:
            question = did_you_mean(self.accelerator, known)
            raise SettingError(
                f"accelerator must be one of {', '.join(known)}, got {self.accelerator!r}; {question}",
                name="accelerator",
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
            "machine_shape": facts.ACCELERATOR_ALIASES.get(self.accelerator, self.accelerator),
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


def push(
    kernel: Kernel,
    notebook: Path,
    *,
    work: Path,
    environ: Mapping[str, str],
    contents: str | None = None,
    retry_policy: RetryPolicy = READ_BACK,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Pushed:
    """Push `notebook` as `kernel`; Kaggle runs it at once, and `submit` then knows which version it was.

    work: a folder for what is sent and what was answered. contents: kept with the version. retry_policy: how it is
    read back.
    Raises: MissingError (no credentials, no client, no notebook); InputError (a notebook that Kaggle would not take,
    another's credentials); StorageError; KaggleError (refused, without one of its inputs, or otherwise than asked).
    """
    check_notebook(notebook, environ=environ)
    with held(work), client_of(kernel.owner, work=work, environ=environ) as client:
        _stage(kernel, notebook, work / "staged")
        saved = _saved(kernel, client, work)
        asked = kernel.metadata(notebook.name)
        pushed = Pushed(
            ref=kernel.ref, version=saved.version, url=saved.url, asked=asked, contents=contents, is_read_back=False
        )
        pushed.save(work)  # it runs from now on, whatever the reading back finds
        _check_attached(kernel, saved)
        asking = Asking(retry_policy=retry_policy, on_event=on_event, kept=f"version {saved.version} is pushed")
        check_read_back(client, pushed, asking=asking, settle_s=retry_policy.settle_s)
        pushed = replace(pushed, is_read_back=True)
        pushed.save(work)
    return pushed


def _saved(kernel: Kernel, client: KaggleClient, work: Path) -> SavedKernel:
    """Push what is staged; until Kaggle's answer is there, no version counts as the last one."""
    set_aside(work)
    try:
        return client.push("staged")
    except ClientError as problem:
        if problem.fault is not Fault.PASSING:  # else Kaggle may have taken it
            put_back(work)
        fix = push_fix(problem.fault, username=kernel.owner, page=kernel.page)
        raise KaggleError(f"{kernel.ref} was not pushed: {problem}\n{fix}") from problem


def check_notebook(notebook: Path, *, environ: Mapping[str, str]) -> None:
    """Refuse what Kaggle would not take, and what it must not see.

    Raises: MissingError (no notebook, no credentials); InputError.
    """
    credentials = find_credentials(environ)
    if not notebook.is_file():
        raise MissingError(f"{notebook}: not found; push from a checkout of the kit")
    content = notebook.read_bytes()
    if len(content) > facts.MAX_NOTEBOOK_BYTES:
        raise InputError(
            f"{notebook}: {len(content):,} bytes, Kaggle takes {facts.MAX_NOTEBOOK_BYTES:,}; clear its outputs"
        )
    if credentials.found_in(content):
        raise InputError(f"{notebook}: holds your Kaggle credentials; take them out")


def _stage(kernel: Kernel, notebook: Path, folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
        shutil.copyfile(notebook, folder / notebook.name)
        (folder / facts.KERNEL_METADATA).write_text(kernel.render(notebook.name), encoding="utf-8")
    except OSError as error:
        raise cannot_write(folder, error) from error


def _check_attached(kernel: Kernel, saved: SavedKernel) -> None:
    if saved.lost:
        inputs = "; ".join(f"{kind}: {names}" for kind, names in saved.lost.items())
        raise KaggleError(
            f"{kernel.ref}: version {saved.version} was pushed, but without its inputs ({inputs}): "
            "it cannot be submitted\nupload the dataset first (`kit upload`), join the competition on its page "
            f"({facts.COMPETITION_PAGE}), check the names, then push again"
        )
