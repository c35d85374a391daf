"""A push that is not made twice: what was pushed and still runs, or ran well, is that version.

A push takes a session of the GPU and its hours. So a chain of steps that was interrupted goes on with the version that
it had pushed, as long as notebook, attachments and dataset are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from kit.kaggle.dataset.manifest import MANIFEST_NAME
from kit.kaggle.upload.following import PATIENCE, following
from kit.kaggle.upload.kernel import Kernel, push
from kit.kaggle.upload.plan import Event, RetryPolicy, Stage
from kit.kaggle.upload.pushed import Pushed


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
    """Push, unless just this was pushed last from `work` and its run has not failed.

    dataset: the folder of what is attached as the kit's. Raises: as `push`, and for a run that cannot be asked about.
    """
    contents = _contents(kernel, notebook, dataset)
    pushed = Pushed.load(work, kernel.ref)
    if pushed is not None and pushed.contents == contents:
        with following(
            kernel, version=pushed.version, work=work, environ=environ, retry_policy=retry_policy, on_event=on_event
        ) as run:
            seen = run.look()
        if seen.is_running or seen.is_complete:
            on_event(Event(stage=Stage.NOTE, text=f"pushed before, and not pushed again: {seen.words}"))
            return pushed
    return push(kernel, notebook, work=work, environ=environ, contents=contents, on_event=on_event)


def _contents(kernel: Kernel, notebook: Path, dataset: Path) -> str:
    """A hash of the notebook, of what it is attached to and runs on, and of the dataset's manifest."""
    parts = (notebook.read_bytes(), kernel.render(notebook.name).encode(), (dataset / MANIFEST_NAME).read_bytes())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
