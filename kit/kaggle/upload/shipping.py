"""A push that is not made twice: what was pushed and still runs, or ran well, is that version.

A push takes a session of the GPU and its hours. So a chain of steps that was interrupted goes on with the version that
it had pushed, as long as notebook, attachments and dataset are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from kit.kaggle.dataset.manifest import MANIFEST_NAME
from kit.kaggle.upload.following import PATIENCE, Following, following
from kit.kaggle.upload.kernel import Kernel, push
from kit.kaggle.upload.plan import Event, RetryPolicy
from kit.kaggle.upload.pushed import Pushed
from kit.kaggle.upload.read_back import read_back


def push_once(
    kernel: Kernel,
    notebook: Path,
    *,
    dataset: Path,
    work: Path,
    environ: Mapping[str, str],
    retry_policy: RetryPolicy = PATIENCE,
    on_event: Callable[[Event], None],
) -> Pushed:
    """Push, unless just this was pushed last from `work`, its run has not failed, and Kaggle has it as asked.

    dataset: the folder of what is attached as the kit's. Raises: as `push`, and for a run that cannot be asked about.
    """
    contents = _contents(kernel, notebook, dataset)
    pushed = Pushed.load(work, kernel.ref)
    if pushed is not None and pushed.contents == contents:
        with following(
            kernel, version=pushed.version, work=work, environ=environ, retry_policy=retry_policy, on_event=on_event
        ) as run:
            if _is_of_use(pushed, run):
                pushed = replace(pushed, is_read_back=True)
                pushed.save(work)
                return pushed
    return push(kernel, notebook, work=work, environ=environ, contents=contents, on_event=on_event)


def _is_of_use(pushed: Pushed, run: Following) -> bool:
    """Whether it runs or ran well, and Kaggle has it as it was asked for."""
    seen = run.look()
    if not (seen.is_running or seen.is_complete):
        return False
    if not pushed.is_read_back:
        lines = read_back(run.client, pushed, asking=run.asking, settle_s=run.asking.retry_policy.settle_s)
        if lines:
            run.asking.note(f"version {pushed.version} is pushed again: {'; '.join(lines)}")
            return False
    run.asking.note(f"pushed before, and not pushed again: {seen.words}")
    return True


def _contents(kernel: Kernel, notebook: Path, dataset: Path) -> str:
    """A hash of the notebook, of what it is attached to and runs on, and of the dataset's manifest."""
    parts = (notebook.read_bytes(), kernel.render(notebook.name).encode(), (dataset / MANIFEST_NAME).read_bytes())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
