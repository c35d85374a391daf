"""What a run leaves to read: JSON lines, TensorBoard's events, and in the end a picture of its curves.

In: the run's head and its updates. Out: files in its folder. A resumed run appends; updates after the checkpoint it
goes on from are told again, and the later telling counts.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from kit.errors import cannot_write
from kit.training.checkpoint import CHECKPOINT
from kit.training.update import Update
from kit.whole_file import written_whole

LOG = "log.jsonl"
CURVES = "curves.png"
TENSORBOARD = "tensorboard"

_FIRST = "first_update"  # of a session, in its head's line


class RunRecord:
    """The files of one run; a context."""

    def __init__(self, folder: Path, head: Mapping[str, Any], first_update: int, seconds: float) -> None:
        """first_update: the number of this session's. seconds: of training in the sessions before."""
        from torch.utils.tensorboard import SummaryWriter

        self._path, self._seconds = folder / LOG, seconds
        self._append({"head": dict(head), _FIRST: first_update}, begins_a_line=True)
        # what an earlier session told from there on is hidden: it is told again, or of a run that is begun anew
        self._events: Any = SummaryWriter(str(folder / TENSORBOARD), purge_step=first_update)

    def __enter__(self) -> RunRecord:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()

    def tell(self, update: Update) -> None:
        """Write one update, with tokens a second by the time since the one before."""
        tokens_per_s = update.num_tokens / max(1e-9, update.seconds - self._seconds)
        self._seconds = update.seconds
        line = {
            "number": update.number,
            "step": update.step,
            "loss": update.loss,
            "grad_norm": update.grad_norm,
            "learning_rate": update.learning_rate,
            "tokens_per_s": round(tokens_per_s, 1),
            "seconds": round(update.seconds, 2),
            **update.means,
        }
        self._append(line)
        for name, value in line.items():
            if name not in ("number", "step"):
                tag = f"loss/step {update.step + 1}" if name == "loss" else name
                self._events.add_scalar(tag, value, update.number)

    def _append(self, entry: Mapping[str, Any], *, begins_a_line: bool = False) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as file:
                if begins_a_line and file.tell() and not self._path.read_bytes().endswith(b"\n"):
                    file.write("\n")  # a kill or a full disk has torn the line before
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise cannot_write(self._path, error) from error


def take_over(source: Path, folder: Path) -> None:
    """Copy what a run in another folder goes on from, the checkpoint last.

    Raises: StorageError.
    """
    for name in (LOG, CHECKPOINT):
        if (source / name).exists():
            with written_whole(folder / name) as part:
                shutil.copyfile(source / name, part)


def updates_of(folder: Path) -> list[dict[str, Any]]:
    """The updates of a run's log, each once, in order; none of a run that was begun before it in the same folder."""
    by_number: dict[int, dict[str, Any]] = {}
    for line in (folder / LOG).read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # torn
            continue
        if "number" in entry:
            by_number[entry["number"]] = entry
        else:
            by_number = {number: each for number, each in by_number.items() if number < entry.get(_FIRST, math.inf)}
    return [by_number[number] for number in sorted(by_number)]


def draw_curves(folder: Path, *, title: str) -> Path | None:
    """Draw the curves of a run's log; returns the picture, or None where the log has no update.

    Raises: StorageError.
    """
    from kit.plots.training_curves import draw_training_curves

    path, updates = folder / CURVES, updates_of(folder)
    if not updates:
        return None
    draw_training_curves(updates, path, title=title)
    return path
