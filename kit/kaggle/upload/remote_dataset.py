"""One dataset as Kaggle shows it: status, version and files, asked again where it fails, and waited for with a
deadline.

In: a client and the dataset's `owner/slug`. Out: what Kaggle says, or an error with the fix. Asks only; changes
nothing on Kaggle.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from kit.kaggle.facts import SITE
from kit.kaggle.upload.asking import Asking
from kit.kaggle.upload.client import DatasetStatus, KaggleClient
from kit.kaggle.upload.faults import ClientError, KaggleError
from kit.kaggle.upload.plan import Event, RetryPolicy, Stage
from kit.kaggle.upload.staging import differences

KEPT = "what was sent is kept: the same command goes on from there"
_SETTLED = (DatasetStatus.READY, DatasetStatus.FAILED, DatasetStatus.DELETED)
_AnswerT = TypeVar("_AnswerT")


class NotWholeError(KaggleError):
    """Kaggle could not process the dataset, or shows other files than were sent."""


@dataclass(frozen=True, slots=True)
class _Lack:
    """Why a dataset cannot be used yet. differences: of its list, once it is ready."""

    words: str
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteDataset:
    """ref: `owner/slug`. sizes_bytes: what it is to hold, by name."""

    ref: str
    sizes_bytes: Mapping[str, int]
    client: KaggleClient
    retry_policy: RetryPolicy
    on_event: Callable[[Event], None]

    @property
    def page(self) -> str:
        """Its address."""
        return f"{SITE}/datasets/{self.ref}"

    def status(self) -> DatasetStatus | None:
        """Where it is; None if it is not there, or hidden. Kaggle says 403 or 404 of what is not there."""
        return self.ask(self.client.status)

    def version_number(self) -> int | None:
        """The version that is shown; None if Kaggle does not tell."""
        return self.ask(self.client.version_number)

    def is_whole(self) -> bool:
        """Whether every file is listed with its size, and no other; False if they cannot be listed."""
        return self._differences() == ()

    def await_settled(self, status: DatasetStatus | None) -> None:
        """Wait until Kaggle is through with an earlier version: it takes no other before.

        Raises: KaggleError at the deadline.
        """
        deadline_s = time.monotonic() + self.retry_policy.ready_s
        while status is not None and status not in _SETTLED:
            self._wait(_words(status), deadline_s, "Kaggle still works on an earlier version")
            status = self.status()

    def await_whole(self, *, version_before: int | None) -> None:
        """Wait until it is ready, later than `version_before` if that is known, and whole.

        Raises: NotWholeError if it failed or its list stays different; KaggleError at the deadline.
        """
        deadline_s = time.monotonic() + self.retry_policy.ready_s
        differs_since_s: float | None = None
        while (lack := self._lack(version_before)) is not None:
            if lack.differences:
                differs_since_s = differs_since_s or time.monotonic()
                if time.monotonic() >= differs_since_s + self.retry_policy.settle_s:
                    lines = "".join(f"\n  {line}" for line in lack.differences)
                    raise NotWholeError(f"{self.ref} is ready on Kaggle but not whole:{lines}\nrun the command again")
            self._wait(lack.words, deadline_s, f"{self.ref} is not ready ({lack.words}); the same command waits on")

    def _lack(self, version_before: int | None) -> _Lack | None:
        status = self.status()
        if status in (DatasetStatus.FAILED, DatasetStatus.DELETED):
            raise NotWholeError(f"{self.ref}: Kaggle says {_words(status)!r}; see {self.page}, then run it again")
        if status is not DatasetStatus.READY:
            return _Lack(_words(status))
        if version_before is not None and (self.version_number() or 0) <= version_before:
            return _Lack("ready, but the version before is still shown")
        found = self._differences()
        if found is None:
            return _Lack("ready, but its files cannot be listed yet")
        return _Lack(f"ready, but {found[0]}", found) if found else None

    def _differences(self) -> tuple[str, ...] | None:
        """What the list says otherwise; None without a list."""
        listed = self.ask(self.client.files)
        return None if listed is None else differences(self.sizes_bytes, listed)

    def _wait(self, words: str, deadline_s: float, late: str) -> None:
        left_s = deadline_s - time.monotonic()
        waited_s = self.retry_policy.ready_s - left_s
        self.on_event(Event(stage=Stage.WAITING, text=words, done=waited_s, total=self.retry_policy.ready_s))
        if left_s <= 0:
            more = "nothing is lost, Kaggle goes on by itself; not to be seen for long may mean a full private quota"
            raise KaggleError(f"{late}\ngave up after {self.retry_policy.ready_s / 60:.0f} minutes; {more}")
        time.sleep(min(self.retry_policy.poll_s, left_s))

    def ask(self, question: Callable[[str], _AnswerT]) -> _AnswerT | None:
        """The answer about this dataset; None if it is absent or hidden. Raises: KaggleError, as `Asking.ask`."""
        return self.asking.ask(self.ref, partial(question, self.ref))

    def pause(self, problem: ClientError, num_failures: int) -> None:
        """Say what went wrong and wait before the next attempt."""
        self.asking.pause(problem, num_failures)

    def note(self, text: str) -> None:
        """Tell something that is not progress."""
        self.asking.note(text)

    @property
    def asking(self) -> Asking:
        """How it is asked."""
        return Asking(retry_policy=self.retry_policy, on_event=self.on_event, kept=KEPT)


def _words(status: DatasetStatus | None) -> str:
    return "not to be seen yet" if status is None else status.value.replace("_", " ")
