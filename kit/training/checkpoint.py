"""Where a run stands, on disk: written whole or not at all, read back to the same bits.

In: a dictionary of tensors and plain values. Out: one file, replaced in one step once its bytes are on the disk, so
that a kill, a full disk or a lost machine leaves the one before. It does not know what a run consists of.
"""

from __future__ import annotations

import os
import pickle
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kit.errors import InputError, is_out_of_memory
from kit.whole_file import written_whole

CHECKPOINT = "checkpoint.pt"


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state`; what is at `path` stays until the new bytes are safe.

    Raises: StorageError, with the last checkpoint as it was.
    """
    with written_whole(path) as part, part.open("wb") as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:  # torch's own writer says a full disk so
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise
        file.flush()
        os.fsync(file.fileno())


def load(path: Path) -> dict[str, Any]:
    """What was saved, on the CPU; tensors and plain values alone, no code.

    Raises: InputError for a file that is none of these; what says that memory ran out passes, since the file is good.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        if is_out_of_memory(error):
            raise
        raise InputError(f"{path} is no whole checkpoint ({error}); remove it to begin anew") from error
    return state


def random_state() -> dict[str, Any]:
    """The state of Python's and torch's generators, on every device."""
    version, numbers, gauss = random.getstate()
    state: dict[str, Any] = {"python": [version, list(numbers), gauss], "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Put all generators back to where they were."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
