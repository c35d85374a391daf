"""Taking part in the competition with a version of the notebook that has run.

In: a version, or the one that was pushed last from here. Out: Kaggle's words for the submission it accepted; anything
else raises, and spends none of the day's submissions if it can be told before. Source: docs/kaggle.md#notebooks; kaggle
2.2.5 (`competition_submit_code`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.errors import InputError, MissingError
from kit.kaggle import facts
from kit.kaggle.upload.faults import ClientError, Fault, KaggleError
from kit.kaggle.upload.fixes import submit_fix
from kit.kaggle.upload.following import PATIENCE, Followed, Following, following
from kit.kaggle.upload.kernel import Kernel
from kit.kaggle.upload.plan import Event, RetryPolicy
from kit.kaggle.upload.pushed import Pushed
from kit.kaggle.upload.read_back import check_read_back
from kit.lock import held

DEFAULT_MESSAGE = "submitted by mathllm-kit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A version that Kaggle takes part with. words: Kaggle's."""

    ref: str
    version: int
    words: str


def submit(
    kernel: Kernel,
    *,
    version: int | None = None,
    message: str = DEFAULT_MESSAGE,
    work: Path,
    environ: Mapping[str, str],
    retry_policy: RetryPolicy = PATIENCE,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Submitted:
    """Submit a version: the one pushed last, if none is named.

    Its run must be complete, for Kaggle takes the file that it left; and where it was pushed from here and is not
    named, Kaggle must have it as it was asked for.
    Raises: MissingError (no credentials, no client, nothing pushed yet); InputError (no such version, no message,
    another's credentials); KaggleError (still running, failed, or refused, for example because today's submission is
    spent).
    """
    if not message.strip():
        raise InputError("--message must be some text")
    with (
        held(work),
        following(
            kernel, version=version, work=work, environ=environ, retry_policy=retry_policy, on_event=on_event
        ) as run,
    ):
        pushed = Pushed.load(work, kernel.ref)
        chosen = version or (pushed.version if pushed is not None else None)
        if chosen is None:
            raise MissingError(f"{work}: nothing was pushed from here; name a version of {kernel.page} with --version")
        check_complete(run.look())
        if version is None and pushed is not None:
            check_read_back(run.client, pushed, asking=run.asking, settle_s=0.0)
        return Submitted(ref=kernel.ref, version=chosen, words=_submitted(run, chosen, message))


def check_complete(seen: Followed) -> None:
    """Raise KaggleError for a run that goes on, or that failed."""
    if seen.is_running:
        raise KaggleError(f"{seen.words}\nrun this again when it is complete, which `kit status --follow` waits for")
    if not seen.is_complete:
        raise KaggleError(f"{seen.words}\n`kit logs` shows what it printed; mend that, then `kit push` again")


def _submitted(run: Following, version: int, message: str) -> str:
    kernel = run.kernel
    try:
        return run.client.submit(
            facts.COMPETITION, ref=kernel.ref, version=version, file=facts.SUBMISSION_NAME, message=message
        )
    except ClientError as problem:
        fix = submit_fix(problem.fault, page=kernel.page)
        what = problem.text if problem.fault is Fault.NAME_IN_USE else problem  # a conflict, and not of names
        raise KaggleError(f"version {version} of {kernel.ref} was not submitted: {what}\n{fix}") from problem
