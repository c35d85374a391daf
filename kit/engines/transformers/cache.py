"""A key-value cache that grows in place: a new token writes its own column and moves no other.

In: keys and values as a model's layers make them, rows that join or leave. Out: views of what is kept, as transformers'
DynamicCache gives them. It knows no padding: which columns are masked is the batch's concern.

Each tensor lies in a buffer with room on the right, for COLUMN_ROOM columns when the buffer is made, and with the rows
that have left. So memory is at most that much above what is shown, until more than half of the rows are gone.

Letters: B rows shown, N rows that join, S columns shown, T new columns, H key-value heads, D head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

# Columns for which a new buffer has room: each token costs 1/64 of a copy, each row 64 columns of memory.
COLUMN_ROOM = 64


class GrowingTensor:
    """Keys or values of one layer. shown: [B, H, S, D], a view that the next change replaces.

    A tensor that comes from elsewhere is only read, so it may be an expanded one; the first change copies it.
    """

    def __init__(self, shown_BHSD: Tensor) -> None:
        self._hold(shown_BHSD, is_own=False)

    def append_columns(self, new_BHTD: Tensor) -> None:
        """Write new columns behind those of all rows."""
        num_rows, _, num_columns, _ = self.shown.shape
        self._reserve(num_rows, left=0, right=new_BHTD.shape[2])
        end = self._begin + num_columns
        self._buffer[:num_rows, :, end : end + new_BHTD.shape[2]] = new_BHTD
        self._show(num_rows, self._begin, end + new_BHTD.shape[2])

    def append_rows(self, new_NHSD: Tensor, *, gap: int, new_gap: int) -> None:
        """Write rows below the others; `gap` and `new_gap` columns of zeros make both equally long, on the left."""
        num_rows, _, num_columns, _ = self.shown.shape
        num_rows_after = num_rows + new_NHSD.shape[0]
        self._reserve(num_rows_after, left=gap, right=0)
        begin, end = self._begin - gap, self._begin + num_columns
        # zeros, not what lay there: a masked column has weight 0, and 0 times NaN would still be NaN
        self._buffer[:num_rows, :, begin : begin + gap] = 0
        self._buffer[num_rows:num_rows_after, :, begin : begin + new_gap] = 0
        self._buffer[num_rows:num_rows_after, :, begin + new_gap : end] = new_NHSD
        self._show(num_rows_after, begin, end)

    def select(self, rows: Sequence[int], *, trim: int) -> None:
        """Keep these rows, in this order, without their first `trim` columns.

        Where a row is to replace one that leaves, only that row is copied.
        """
        begin, end = self._begin + trim, self._begin + self.shown.shape[2]
        is_in_place = all(source == row or source >= len(rows) for row, source in enumerate(rows))
        if not (self._is_own and is_in_place and 2 * len(rows) > len(self._buffer)):
            rows_B = torch.tensor(rows, dtype=torch.int64, device=self.shown.device)
            # trimmed first, so that only what stays is copied
            self._hold(self.shown[:, :, trim:][rows_B], is_own=True)
            return
        for row, source in enumerate(rows):
            if source != row:
                self._buffer[row, :, begin:end] = self._buffer[source, :, begin:end]
        self._show(len(rows), begin, end)

    def move_pads(self, num_first: int, pads: Sequence[int]) -> None:
        """Each row's padding, which follows its first columns, to its left; what it then holds is of no matter."""
        self._reserve(len(pads), left=0, right=0)
        for row, num_pads in zip(self.shown, pads, strict=True):
            if num_pads:
                row[:, num_pads : num_pads + num_first] = row[:, :num_first].clone()

    def _hold(self, buffer_BHSD: Tensor, *, is_own: bool) -> None:
        """Show the whole of a tensor; `is_own`: whether it may be written to."""
        self.shown = self._buffer = buffer_BHSD
        self._begin, self._is_own = 0, is_own

    def _reserve(self, num_rows: int, *, left: int, right: int) -> None:
        """Make sure of memory of its own for so many rows, and for free columns on both sides of what is shown."""
        shown_rows, num_heads, num_columns, size = self.shown.shape
        most_rows, _, most_columns, _ = self._buffer.shape
        room = min(self._begin - left, most_columns - self._begin - num_columns - right)
        if self._is_own and num_rows <= most_rows and room >= 0:
            return
        num_rows = max(num_rows, most_rows) if self._is_own else num_rows
        shape = (num_rows, num_heads, left + num_columns + right + COLUMN_ROOM, size)
        buffer = self.shown.new_zeros(shape)
        buffer[:shown_rows, :, left : left + num_columns] = self.shown
        self._buffer, self._is_own = buffer, True
        self._show(shown_rows, left, left + num_columns)

    def _show(self, num_rows: int, begin: int, end: int) -> None:
        self._begin = begin
        self.shown = self._buffer[:num_rows, :, begin:end]


class GrowingLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped
    """A DynamicLayer over GrowingTensors; keys and values that others set are taken as they are."""

    @property
    def keys(self) -> Tensor | None:
        """[B, H, S, D], or what the base class holds before the first update."""
        return self._keys.shown if self._keys is not None else None

    @keys.setter
    def keys(self, keys: Tensor | None) -> None:
        self._keys = None if keys is None else GrowingTensor(keys)

    @property
    def values(self) -> Tensor | None:
        """As keys."""
        return self._values.shown if self._values is not None else None

    @values.setter
    def values(self, values: Tensor | None) -> None:
        self._values = None if values is None else GrowingTensor(values)

    def update(self, key_states: Tensor, value_states: Tensor, *_args: Any, **_settings: Any) -> tuple[Tensor, Tensor]:
        """Append columns; the first ones are taken without a copy."""
        if not self.is_initialized:
            self.show(key_states, value_states)
            return key_states, value_states
        keys, values = self._both
        keys.append_columns(key_states)
        values.append_columns(value_states)
        return keys.shown, values.shown

    def show(self, keys_BHSD: Tensor, values_BHSD: Tensor) -> None:
        """Hold keys and values that are not written to; they may be expanded."""
        self.lazy_initialization(keys_BHSD, values_BHSD)
        self.keys, self.values = keys_BHSD, values_BHSD

    def append_rows(self, other: GrowingLayer, *, gap: int, new_gap: int) -> None:
        """Append another layer's rows; both are padded on the left by their gap."""
        for tensor, new in zip(self._both, other._both, strict=True):
            tensor.append_rows(new.shown, gap=gap, new_gap=new_gap)

    def select(self, rows: Sequence[int], *, trim: int) -> None:
        """Keep these rows, in this order, without their first `trim` columns."""
        for tensor in self._both:
            tensor.select(rows, trim=trim)

    def move_pads(self, num_first: int, pads: Sequence[int]) -> None:
        """Each row's padding, which follows its first columns, to its left."""
        for tensor in self._both:
            tensor.move_pads(num_first, pads)

    @property
    def _both(self) -> tuple[GrowingTensor, GrowingTensor]:
        assert self._keys is not None
        assert self._values is not None
        return self._keys, self._values


def growing_cache(config: Any) -> Any:
    """An empty DynamicCache of GrowingLayers for a model with full attention in every layer."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() for _ in cache.layers]
    # of layers that are added to those of the model
    cache.layer_class_to_replicate = GrowingLayer
    return cache
