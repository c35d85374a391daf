"""`kit upload`: call `upload` or write the archive, and show the progress.

On a terminal one bar moves; elsewhere a line is printed when something else begins.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from kit.errors import MissingError
from kit.kaggle.dataset.handle import DatasetHandle
from kit.kaggle.facts import SITE
from kit.kaggle.upload.credentials import Credentials, find_credentials
from kit.kaggle.upload.plan import Event, RetryPolicy, Stage
from kit.kaggle.upload.sending import upload
from kit.kaggle.upload.staging import check_dataset_folder, write_archive


def run(args: argparse.Namespace) -> int:
    """Upload, or write the archive. Raises: what `upload` raises."""
    handle = DatasetHandle(
        owner=args.username,
        slug=args.slug,
        title=args.title,
        licence=args.licence,
        is_public=args.public,
        notes=args.notes,
    )
    if args.no_upload:
        return _archive(args.dataset, handle)
    retry_policy = RetryPolicy(ready_s=args.ready_within * 60)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the client is ended, the sessions stay
    with _shown() as on_event:
        done = upload(
            args.dataset,
            handle,
            environ=os.environ,
            is_fresh=args.fresh,
            retry_policy=retry_policy,
            on_event=on_event,
        )
    print_line(f"ready: {done.num_files} files, {done.size_bytes:,} bytes, as Kaggle lists them: {done.url}")
    return 0


def print_line(text: str, *, to_errors: bool = False) -> None:
    """Print text as it is, without wrapping or markup."""
    Console(stderr=to_errors).print(text, soft_wrap=True, markup=False, highlight=False)


def _archive(dataset: Path, handle: DatasetHandle) -> int:
    """For uploading by hand: no credentials are needed, but they are kept out if there are any."""
    out = dataset.resolve().with_name(f"{handle.slug}.zip")
    with _shown() as on_event:

        def tell(text: str) -> Callable[[int, int], None]:
            return lambda done, total: on_event(Event(stage=Stage.CHECKING, text=text, done=done, total=total))

        staged = check_dataset_folder(
            dataset, credentials=_credentials_if_any(), on_progress=tell("reading the dataset")
        )
        write_archive(staged, out, on_progress=tell("writing the archive"))
    print_line(
        f"{out}: {len(staged.sizes_bytes)} files, {staged.size_bytes:,} bytes. Upload it by hand:\n"
        f"  1. open {SITE}/datasets/new (for a new version: the dataset's page, New Version)\n"
        f"  2. drop {out.name} there; Kaggle unpacks it\n"
        f"  3. title {handle.metadata['title']!r}, "
        f"{'public' if handle.is_public else 'private'}, address {handle.ref}; Create\n"
        "  4. wait until the page no longer says that it is processing, then attach it to the notebook"
    )
    return 0


def _credentials_if_any() -> Credentials | None:
    try:
        return find_credentials(os.environ)
    except MissingError:
        return None


@contextmanager
def _shown() -> Iterator[Callable[[Event], None]]:
    console = Console()
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress)


class _Lines:
    """Without a terminal: a line when the stage or its text changes."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, event: Event) -> None:
        line = event.text if event.stage is Stage.NOTE else f"{event.stage.value}: {event.text}"
        if line != self._last:
            print_line(line)
            sys.stdout.flush()
        self._last = line


class _Bar:
    """On a terminal: one bar for each stage, notes above it."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._stage = progress, Stage.NOTE
        self._task = progress.add_task("", visible=False, total=None)

    def __call__(self, event: Event) -> None:
        if event.stage is Stage.NOTE:
            self._progress.console.print(event.text, soft_wrap=True, markup=False, highlight=False)
            return
        if event.stage is not self._stage:
            self._progress.remove_task(self._task)
            self._task, self._stage = self._progress.add_task("", total=event.total), event.stage
        words = f"{event.stage.value}: {escape(event.text)}"
        self._progress.update(self._task, description=words, completed=event.done, total=event.total)
