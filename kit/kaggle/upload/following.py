"""A version on its way: where its run is, why it failed, what it printed, and waiting for its end.

In: a notebook, and a version or the one that was pushed last from here. Out: Kaggle's answer. Asks only; changes
nothing on Kaggle.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kit.errors import InputError
from kit.json_text import read_json
from kit.kaggle.facts import NOTEBOOK_S
from kit.kaggle.upload.account import client_of
from kit.kaggle.upload.asking import Asking
from kit.kaggle.upload.client import KaggleClient, Run, RunStatus
from kit.kaggle.upload.faults import KaggleError
from kit.kaggle.upload.kernel import Kernel
from kit.kaggle.upload.plan import Event, RetryPolicy, Stage
from kit.kaggle.upload.pushed import Pushed

UNFINISHED = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.NEW_SCRIPT)
PATIENCE = RetryPolicy(num_attempts=4, poll_s=20.0, ready_s=NOTEBOOK_S + 3600.0, settle_s=60.0)
"""A run takes what a notebook may, and waits in a queue for a machine before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A run as it was last seen. ref: with the version, if that is known."""

    ref: str
    run: Run
    page: str

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self.run.status in UNFINISHED

    @property
    def is_complete(self) -> bool:
        """Whether it ended well."""
        return self.run.status is RunStatus.COMPLETE

    @property
    def words(self) -> str:
        """In a line."""
        if self.is_running:
            return f"{self.ref} is {self.run.status.lower()}: {self.page}"
        if self.is_complete:
            return f"{self.ref} is complete: {self.page}"
        why = f": {self.run.failure}" if self.run.failure else ""
        return f"{self.ref} ended with {self.run.status}{why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """A run that is asked about. client: of the notebook's owner."""

    client: KaggleClient
    kernel: Kernel
    ref: str
    asking: Asking

    def look(self) -> Followed:
        """The run now.

        Raises: KaggleError if there is none, or Kaggle does not tell.
        """
        run = self.asking.ask(self.ref, partial(self.client.run, self.ref))
        if run is None:
            fix = "push it first, with `kit push`, or check --slug and --version"
            raise KaggleError(f"{self.ref}: not found on Kaggle, or not yours\n{fix}")
        return Followed(ref=self.ref, run=run, page=self.kernel.page)

    def wait(self) -> Followed:
        """The run once it has ended.

        Raises: KaggleError at the deadline, and as `look`.
        """
        policy, started_s = self.asking.retry_policy, time.monotonic()
        while (seen := self.look()).is_running:
            waited_s = time.monotonic() - started_s
            text = f"{self.ref} is {seen.run.status.lower()}"
            self.asking.on_event(Event(stage=Stage.WAITING, text=text, done=waited_s, total=policy.ready_s))
            if waited_s >= policy.ready_s:
                raise KaggleError(f"{text} after {waited_s / 3600:.1f} hours: see {seen.page}; `kit status` looks on")
            time.sleep(policy.poll_s)
        return seen

    def log(self, *, follows: bool) -> Iterator[tuple[Followed, tuple[str, ...]]]:
        """The run as it is, and what it has printed since the pair before; follows: until it has ended.

        Raises: KaggleError, as `look`.
        """
        num_told = 0
        while True:
            seen, lines = self.look(), self.lines()
            yield seen, lines[num_told:]
            if not (follows and seen.is_running):
                return
            num_told = len(lines)
            time.sleep(self.asking.retry_policy.poll_s)

    def lines(self) -> tuple[str, ...]:
        """What it has printed, as far as Kaggle keeps it. Raises: KaggleError, as `look`."""
        return log_lines(self.asking.ask(self.ref, partial(self.client.log, self.ref)) or "")


@contextmanager
def following(
    kernel: Kernel,
    *,
    version: int | None,
    work: Path,
    environ: Mapping[str, str],
    retry_policy: RetryPolicy = PATIENCE,
    on_event: Callable[[Event], None],
) -> Iterator[Following]:
    """Follow a version of the notebook; None: the one pushed last from `work`, or if none was, Kaggle's latest.

    Raises: MissingError (no credentials, no client); InputError (no such version, another's credentials).
    """
    check_version(version)
    pushed = Pushed.load(work, kernel.ref)
    number = version or (pushed.version if pushed is not None else None)
    ref = kernel.ref if number is None else f"{kernel.ref}/{number}"
    asking = Asking(retry_policy=retry_policy, on_event=on_event, kept="the run itself goes on")
    with client_of(kernel.owner, work=work, environ=environ) as client:
        yield Following(client=client, kernel=kernel, ref=ref, asking=asking)


def check_version(version: int | None) -> None:
    """Raise InputError for what is no version's number."""
    if version is not None and version < 1:
        raise InputError(f"--version must be 1 or more, got {version}")


def log_lines(log: str) -> tuple[str, ...]:
    """The lines of a log: Kaggle keeps a JSON list of pieces, each with its text as `data`; other text is split."""
    try:
        pieces = read_json(log)
        texts = [str(piece["data"]) for piece in pieces]
    except (ValueError, TypeError, LookupError):
        texts = [log]
    return tuple(line for text in texts for line in text.splitlines())
