"""Every progress bar of the command line: of bytes, of counts, of an upload, an evaluation, a training.

rich is imported when a bar is opened, so that `kit --help` answers at once.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from kit.kaggle.upload.plan import Event, Stage

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from kit.evaluation.records import Completion
    from kit.evaluation.score import RunningScore
    from kit.training.update import Update

LINE_EVERY_S = 30.0
"""Without a terminal: the least time between two lines of one run."""

OnBytes = Callable[[int, int], None]
"""Told how many more bytes were done, and of how many in all."""

OnCount = Callable[[int], None]
"""Told how many were done so far."""


@contextmanager
def byte_bar(text: str, *, least_bytes: int = 0) -> Iterator[OnBytes]:
    """A bar of bytes and their rate, on a terminal only. least_bytes: no bar for fewer in all."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, transient=True, disable=not Console().is_terminal) as progress:
        task = progress.add_task(text, total=None, visible=not least_bytes)

        def on_bytes(num_bytes: int, total_bytes: int) -> None:
            progress.update(task, advance=num_bytes, total=total_bytes, visible=total_bytes >= least_bytes)

        yield on_bytes


@contextmanager
def count_bar(text: str, total: int, *, console: Console | None = None) -> Iterator[OnCount]:
    """A bar of counts; without a terminal a line every half minute and at the end.

    console: where it stays; None: on standard error, gone when it is full.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    target = console or Console(stderr=True)
    bar = Progress(*columns, console=target, transient=console is None, disable=not target.is_terminal)
    with bar, _lines(target) as say:
        task = bar.add_task(text, total=total)
        pace = _Pace()

        def on_count(num_done: int) -> None:
            bar.update(task, completed=num_done)
            say(f"{text} {pace.words(num_done, total)}")

        yield on_count


@contextmanager
def upload_progress() -> Iterator[Callable[[Event], None]]:
    """One bar for one stage after another, notes above it; without a terminal a line when something else begins."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console()
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress)


class Shown(Enum):
    """Which completions are printed as they end."""

    NONE = "none"
    WRONG = "wrong"
    ALL = "all"

    def takes(self, completion: Completion) -> bool:
        """Whether this one is printed; wrong is what the strict grade calls so."""
        return self is Shown.ALL or (self is Shown.WRONG and not completion.strict.is_right)


@contextmanager
def score_bar(score: RunningScore, shown: Shown) -> Iterator[Callable[[Completion], None]]:
    """A bar with the running score, on standard error; without a terminal a line every half minute and at the end.

    What is yielded is told each completion that the score has just counted. shown: those that are printed whole, on
    standard output.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar, _lines(console) as say:
        task = bar.add_task("", total=score.total)

        def on_completion(completion: Completion) -> None:
            if shown.takes(completion):
                print(completion_text(completion), flush=True)
            words = score.words(time.monotonic())
            bar.update(task, description=words, completed=score.num_done)
            say(words)

        yield on_completion


@contextmanager
def training_bar() -> Iterator[tuple[Callable[[int, int], None], Callable[[Update], None]]]:
    """A bar on standard error; without a terminal a line every half minute and at the end.

    What is yielded is told of hidden states that are done, of how many, and of updates.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar, _lines(console) as say:

        def stage(name: str) -> Callable[[int, int, str], None]:
            task, pace = bar.add_task(name, total=None, told="", visible=False), _Pace()

            def tell(done: int, total: int, more: str) -> None:
                told = f"{pace.words(done, total)}{more}"
                bar.update(task, completed=done, total=total, told=told, visible=True)
                say(f"{name} {told}")

            return tell

        states, updates = stage("hidden states"), stage("updates")

        def on_update(update: Update) -> None:
            updates(update.number + 1, update.num_updates, f"  loss {update.loss:.3f}  |grad| {update.grad_norm:.2f}")

        yield lambda done, of: states(done, of, ""), on_update


class _Pace:
    """How long what is left of a count takes, by its pace since it was first told."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def words(self, done: int, total: int) -> str:
        now_s = time.monotonic()
        first, begun_s = self._first = self._first or (done, now_s)
        if not first < done < total:
            return f"{done}/{total}"
        left_s = (total - done) * (now_s - begun_s) / (done - first)
        return f"{done}/{total}, {timedelta(seconds=round(left_s))} left"


@contextmanager
def _lines(console: Console) -> Iterator[Callable[[str], None]]:
    """What says where a run is, without a terminal: at most every half minute, and at the end what it was last told."""
    told_s, unsaid = time.monotonic(), ""

    def say(words: str) -> None:
        nonlocal told_s, unsaid
        unsaid = "" if console.is_terminal else words
        if unsaid and time.monotonic() - told_s >= LINE_EVERY_S:
            told_s, unsaid = time.monotonic(), ""
            console.print(words, soft_wrap=True, markup=False, highlight=False)

    try:
        yield say
    finally:
        if unsaid:
            console.print(unsaid, soft_wrap=True, markup=False, highlight=False)


def completion_text(completion: Completion) -> str:
    """A completion for a reader: whose it is, how it was graded, and its text."""
    strict, lenient, sample = completion.strict, completion.lenient, completion.sample
    depth = "" if completion.depth is None else f" at depth {completion.depth}"
    verdict = "right" if strict.is_right else "right only by its last integer" if lenient.is_right else "wrong"
    answer = "no answer" if lenient.answer is None else f"{lenient.answer} ({lenient.read_from})"
    problem = completion.problem.rpartition(":")[0]
    head = f"--- {problem}, sample {completion.number + 1}{depth}: {verdict}, {answer}, {sample.num_tokens} tokens, "
    return f"{head}{sample.finish} {sample.error}".rstrip() + f"\n{harmless(sample.text.strip())}\n"


def harmless(text: str) -> str:
    """The text as a terminal may show it: control characters, which could move its cursor or title, by their names."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console, self._last = console, ""

    def __call__(self, event: Event) -> None:
        line = event.text if event.stage is Stage.NOTE else f"{event.stage.value}: {event.text}"
        if line != self._last:
            self._console.print(line, soft_wrap=True, markup=False, highlight=False)
            sys.stdout.flush()
        self._last = line


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress, self._stage = progress, Stage.NOTE
        self._task = progress.add_task("", visible=False, total=None)

    def __call__(self, event: Event) -> None:
        from rich.markup import escape

        if event.stage is Stage.NOTE:
            self._progress.console.print(event.text, soft_wrap=True, markup=False, highlight=False)
            return
        if event.stage is not self._stage:
            self._progress.remove_task(self._task)
            self._task, self._stage = self._progress.add_task("", total=event.total), event.stage
        words = f"{event.stage.value}: {escape(event.text)}"
        self._progress.update(self._task, description=words, completed=event.done, total=event.total)
