"""A run's figures while it is drawn: always as JSON lines in its folder, and where the user tracks experiments.

TensorBoard writes into the run's folder. W&B and trackio are imported only if they are asked for, and send what they
are told wherever the user has set them up to send it.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from kit.errors import MissingError, cannot_write
from kit.solver.journal import Record

FIGURES_NAME = "figures.jsonl"
TENSORBOARD_FOLDER = "tensorboard"
PROJECT = "mathllm-kit"
_TENSORBOARD = "torch.utils.tensorboard"

Track = Callable[[Mapping[str, float], int], None]
"""Is told the figures by name, and the samples done so far, which is their step."""

Tracker = Literal["tensorboard", "wandb", "trackio"]


@contextmanager
def tracked(tracker: Tracker | None, folder: Path, head: Record) -> Iterator[Track]:
    """What to tell figures to; nothing is written, sent or opened before the first are told.

    Raises: MissingError at once for a tracker that is not installed; StorageError, when told, for a folder that cannot
        be written.
    """
    if tracker is not None:
        _check_installed(tracker)
    with ExitStack() as stack:
        tracks: list[Track] = []

        def track(values: Mapping[str, float], step: int) -> None:
            if not tracks:
                tracks.append(stack.enter_context(_json_lines(folder)))
                if tracker is not None:
                    tracks.append(stack.enter_context(_OPENERS[tracker](folder, head)))
            for each in tracks:
                each(values, step)

        yield track


@contextmanager
def _json_lines(folder: Path) -> Iterator[Track]:
    path = folder / FIGURES_NAME
    try:
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise cannot_write(path, error) from error
    with file:

        def track(values: Mapping[str, float], step: int) -> None:
            try:
                file.write(json.dumps({"step": step, **values}) + "\n")
                file.flush()
            except OSError as error:
                raise cannot_write(path, error) from error

        yield track


@contextmanager
def _tensorboard(folder: Path, head: Record) -> Iterator[Track]:
    tensorboard: Any = importlib.import_module(_TENSORBOARD)
    with tensorboard.SummaryWriter(str(folder / TENSORBOARD_FOLDER)) as writer:
        writer.add_text("run", f"    {json.dumps(head, default=str)}")

        def track(values: Mapping[str, float], step: int) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        yield track


@contextmanager
def _wandb(folder: Path, head: Record) -> Iterator[Track]:
    wandb: Any = importlib.import_module("wandb")
    run = wandb.init(project=PROJECT, name=folder.name, dir=str(folder), config=dict(head))
    try:
        yield lambda values, step: run.log(dict(values), step=step)
    finally:
        run.finish()


@contextmanager
def _trackio(folder: Path, head: Record) -> Iterator[Track]:
    trackio: Any = importlib.import_module("trackio")
    trackio.init(project=PROJECT, name=folder.name, config=dict(head))
    try:
        yield lambda values, step: trackio.log(dict(values), step=step)
    finally:
        trackio.finish()


_OPENERS = MappingProxyType({"tensorboard": _tensorboard, "wandb": _wandb, "trackio": _trackio})


def _check_installed(tracker: Tracker) -> None:
    module = _TENSORBOARD if tracker == "tensorboard" else tracker
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise MissingError(
            f"--track {tracker}: {tracker} is not installed ({error}); pip install {tracker}, or leave it out: the "
            f"figures are in {FIGURES_NAME} anyway"
        ) from error
