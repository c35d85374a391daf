"""What a run leaves to read: JSON lines, TensorBoard's events, and in the end a picture of its curves.

In: the run's head and its updates. Out: files in its folder. A resumed run appends; updates after the checkpoint it
goes on from are told again, and the later telling counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from kit.errors import cannot_write
from kit.training.loop import Update

LOG = "log.jsonl"
CURVES = "curves.png"
TENSORBOARD = "tensorboard"


class RunRecord:
    """The files of one run; a context."""

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._path = folder / LOG
        self._append({"head": dict(head)})
        self._events: Any = SummaryWriter(str(folder / TENSORBOARD))

    def __enter__(self) -> RunRecord:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()

    def tell(self, update: Update, *, tokens_per_s: float) -> None:
        """Write one update."""
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

    def _append(self, entry: Mapping[str, Any]) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise cannot_write(self._path, error) from error


def updates_of(folder: Path) -> list[dict[str, Any]]:
    """The updates of a run's log, each once, in order."""
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines if line.endswith("}")]  # a kill may have cut the last one off
    by_number = {entry["number"]: entry for entry in entries if "number" in entry}
    return [by_number[number] for number in sorted(by_number)]


def draw_curves(folder: Path, *, title: str) -> Path:
    """Draw the curves of a run's log; returns the picture.

    Raises: InputError for a log without updates; StorageError.
    """
    from kit.plots.training_curves import draw_training_curves

    path = folder / CURVES
    draw_training_curves(updates_of(folder), path, title=title)
    return path
