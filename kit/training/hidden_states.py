"""A frozen backbone's hidden states, computed once and read from disk ever after.

In: which states (a content hash of backbone, tokens and layers), rows of tokens, a function that computes some rows.
Out: a float16 file that is memory-mapped, with a JSON file that says what it is. An epoch then costs the recursion
alone. Making it may be interrupted; it goes on at the row where it stopped.

datasets keeps float16 on disk but hands out float32, some twenty times slower. Letters: N rows, T columns of a row, L
layers, D width, B rows of a batch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kit.errors import InputError, cannot_write
from kit.lock import held
from kit.whole_file import written_whole


class TooLargeError(InputError):
    """A state that float16 does not hold."""


ROWS_AT_ONCE = 64  # computed between two notes of how far it is


@dataclass(frozen=True, slots=True, kw_only=True)
class StatesKey:
    """What the states depend on. layers: indices into the backbone's hidden states, as kit.trm.config has them.

    dtype: what they were computed in; they are kept in float16 whatever that is.
    """

    backbone_sha256: str
    tokens_sha256: str
    layers: tuple[int, ...]
    width: int
    dtype: str

    @property
    def name(self) -> str:
        """A folder's name that is different for different states."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenStates:
    """States of all rows, one after the other. offsets: where each row begins, and the end of the last."""

    flat: Any  # np.memmap [all columns, L, D], float16, read only
    offsets: tuple[int, ...]

    def batch(self, rows_B: Sequence[int], *, num_columns: int) -> tuple[Tensor, ...]:
        """States of some rows, padded with zeros on the right: L tensors [B, T, D], float32."""
        shape = (len(rows_B), num_columns, *self.flat.shape[1:])
        found = np.zeros(shape, dtype=np.float16)
        for place, row in enumerate(rows_B):
            begin, end = self.offsets[row], self.offsets[row + 1]
            found[place, : end - begin] = self.flat[begin:end]
        return torch.from_numpy(found).float().unbind(2)

    def columns(self, num_rows: int) -> tuple[Tensor, ...]:
        """States of all columns of the first rows, or of as many as there are: L tensors [N, D], float32."""
        end = self.offsets[min(num_rows, len(self.offsets) - 1)]
        return torch.from_numpy(np.array(self.flat[:end])).float().unbind(1)


Compute = Callable[[range], Sequence[Tensor]]
"""States of some rows: for each a tensor [T, L, D]."""


def hidden_states(
    folder: Path,
    key: StatesKey,
    lengths: Sequence[int],
    compute: Compute,
    *,
    tell: Callable[[int], None] = lambda _: None,
) -> HiddenStates:
    """Those on disk, or computed now. lengths: of the rows, in columns. tell: given the rows that are done.

    Raises: TooLargeError if a state does not fit into float16; StorageError, also where another process makes them.
    """
    offsets = tuple(int(offset) for offset in np.cumsum([0, *lengths]))
    own = folder / key.name  # so that two processes may make different states at a time
    path, note = own / "states.f16", own / "states.json"
    shape = (offsets[-1], len(key.layers), key.width)
    if _num_done(path, note, shape) < len(lengths):
        with held(own):
            try:
                begin = _num_done(path, note, shape)
                _make(path, note, key, offsets, shape, compute, begin=begin, tell=tell)
            except OSError as error:
                raise cannot_write(path, error) from error
            except TooLargeError:
                path.unlink(missing_ok=True)
                note.unlink(missing_ok=True)
                raise
    return HiddenStates(flat=np.memmap(path, np.float16, "r", shape=shape), offsets=offsets)


def _make(
    path: Path,
    note: Path,
    key: StatesKey,
    offsets: Sequence[int],
    shape: tuple[int, ...],
    compute: Compute,
    *,
    begin: int,
    tell: Callable[[int], None],
) -> None:
    if not begin:
        _allocate(path, 2 * int(np.prod(shape)))
    flat = np.memmap(path, np.float16, "r+", shape=shape)
    num_rows = len(offsets) - 1
    for first in range(begin, num_rows, ROWS_AT_ONCE):
        rows = range(first, min(first + ROWS_AT_ONCE, num_rows))
        for row, states_TLD in zip(rows, compute(rows), strict=True):
            flat[offsets[row] : offsets[row + 1]] = _half(states_TLD, key.layers)
        flat.flush()
        with written_whole(note) as part:
            part.write_text(json.dumps({**asdict(key), "rows": rows.stop, "shape": shape}), encoding="utf-8")
        tell(rows.stop)


def _allocate(path: Path, num_bytes: int) -> None:
    """All of the file now: a disk that fills up under a memory map ends the process by a signal."""
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, num_bytes)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _half(states_TLD: Tensor, layers: Sequence[int]) -> Any:
    half_TLD = states_TLD.to(torch.float16)
    finite_L = half_TLD.isfinite().all(-1).all(0)
    if not bool(finite_L.all()):
        layer = layers[int(finite_L.int().argmin())]
        largest = float(states_TLD.abs().max())
        raise TooLargeError(
            f"hidden state {layer} reaches {largest:.3g}, which float16 does not hold; leave it out of --feature_layers"
        )
    return half_TLD.cpu().numpy()


def _num_done(path: Path, note: Path, shape: tuple[int, ...]) -> int:
    """Rows that are whole on disk; 0 where anything does not fit."""
    try:
        told = json.loads(note.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return 0
    num_bytes = 2 * int(np.prod(shape))
    is_whole = told.get("shape") == list(shape) and path.exists() and path.stat().st_size == num_bytes
    return int(told["rows"]) if is_whole else 0
