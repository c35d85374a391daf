"""Asking Kaggle until it answers: what passes is waited out, what stays is one error with its fix.

In: a question to the client. Out: its answer, or None if what it is about is absent or hidden. Changes nothing on
Kaggle, so that asking again is safe.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from kit.kaggle.facts import NEW_TOKEN
from kit.kaggle.upload.faults import ClientError, Fault, KaggleError
from kit.kaggle.upload.plan import Event, RetryPolicy, Stage

_AnswerT = TypeVar("_AnswerT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How patiently to ask, and who is told of it. kept: what is said of the work so far where asking ends."""

    retry_policy: RetryPolicy
    on_event: Callable[[Event], None]
    kept: str

    def ask(self, about: str, question: Callable[[], _AnswerT]) -> _AnswerT | None:
        """The answer; None if `about` is absent or hidden.

        Raises: KaggleError if Kaggle cannot be reached, or refuses to answer.
        """
        num_failures = 0
        while True:
            try:
                return question()
            except ClientError as problem:
                if problem.fault in (Fault.ABSENT, Fault.FORBIDDEN):
                    return None
                if problem.fault is Fault.UNAUTHENTICATED:
                    raise not_accepted(problem, self.kept) from problem
                if problem.fault not in (Fault.PASSING, Fault.LIMITED):
                    raise KaggleError(f"{about}: {problem}") from problem
                num_failures += 1
                if num_failures >= self.retry_policy.num_attempts:
                    text = f"{about}: no answer from Kaggle: {problem.text}\ntry again later; {self.kept}"
                    raise KaggleError(text) from problem
                self.pause(problem, num_failures)

    def pause(self, problem: ClientError, num_failures: int) -> None:
        """Say what went wrong and wait before the next attempt."""
        pause_s = self.retry_policy.pause_s(num_failures)
        self.note(f"{problem}; trying again in {pause_s:.0f} s")
        time.sleep(pause_s)

    def note(self, text: str) -> None:
        """Tell something that is not progress."""
        self.on_event(Event(stage=Stage.NOTE, text=text))


def not_accepted(problem: ClientError, kept: str) -> KaggleError:
    """The error for credentials that Kaggle does not accept."""
    return KaggleError(f"Kaggle does not accept the credentials: {problem.text}\n{NEW_TOKEN}; {kept}")
