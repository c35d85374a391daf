"""The rows that decode together: their key-value cache, their padding and the forward passes.

In: token ids. Out: next-token logits, one line a row. Rows join and leave between two tokens. It draws nothing and
knows no requests, time or threads.

All rows end at the same column. The first num_pads[b] columns of row b are padding and masked; its token in column s
has position s - num_pads[b].

Letters: B rows, U rows with distinct prompts, S columns of the cache, T new columns, V vocabulary,
H key-value heads, D head size.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from kit.errors import InputError


class Batch:
    """A running batch of one model. logits_BV: next-token logits in the model's dtype, rows in order of arrival."""

    def __init__(self, model: Any) -> None:
        check_supported(model)
        self._model = model
        self._device: torch.device = model.device
        takes_logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if takes_logits_to_keep else {}
        self.clear()

    def __len__(self) -> int:
        return len(self._num_pads)

    @property
    def num_columns(self) -> int:
        """Columns of the cache: the tokens of the longest row."""
        return self._num_columns

    def clear(self) -> None:
        """Drop every row and the cache's memory."""
        self._cache: Any = None
        self._num_columns = 0
        self._set_pads([])
        self.logits_BV = torch.empty(0, 0, device=self._device)

    def add(self, sequences: Sequence[Sequence[int]]) -> None:
        """Prefill token sequences in one forward pass and append them as rows; equal ones are computed once.

        After a failure only `clear` is allowed.
        """
        distinct = list(dict.fromkeys(map(tuple, sequences)))
        num_columns = max(map(len, distinct))
        pads_U = [num_columns - len(ids) for ids in distinct]
        ids_UT = torch.tensor([[0] * n + list(ids) for n, ids in zip(pads_U, distinct, strict=True)])
        cache = DynamicCache(config=self._model.config)
        logits_UV = self._forward(ids_UT.to(self._device), cache, self._to_device(pads_U), past=0)
        row_of = {ids: row for row, ids in enumerate(distinct)}
        rows = [row_of[tuple(ids)] for ids in sequences]
        logits_BV = logits_UV
        if rows != list(range(len(distinct))):
            rows_B = self._to_device(rows)
            cache.batch_select_indices(rows_B)
            logits_BV = logits_UV[rows_B]
        self._append(cache, [pads_U[row] for row in rows], num_columns, logits_BV)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order, and drop the columns that are padding in all of them."""
        assert rows, "to drop every row, clear the batch"
        rows_B = self._to_device(list(rows))
        pads = [self._num_pads[row] for row in rows]
        trim = min(pads)
        for layer in self._cache.layers:
            # trimmed first, so that only what stays is copied
            layer.keys = layer.keys[:, :, trim:][rows_B]
            layer.values = layer.values[:, :, trim:][rows_B]
        self._num_columns -= trim
        self.logits_BV = self.logits_BV[rows_B]
        self._set_pads([num_pads - trim for num_pads in pads])

    def advance(self, token_B: Tensor) -> None:
        """Append one token to every row and compute the next logits; token_B is int64 on the device."""
        self.logits_BV = self._forward(token_B[:, None], self._cache, self._pads_B, past=self._num_columns)
        self._num_columns += 1

    def _forward(self, ids_BT: Tensor, cache: Any, pads_B: Tensor, *, past: int) -> Tensor:
        """Logits after the last column, [B, V]; `cache` grows by T columns in place."""
        columns_S = torch.arange(past + ids_BT.shape[1], device=self._device)
        attention_mask_BS = (columns_S >= pads_B[:, None]).long()
        # padding columns get some valid position; nothing attends to them
        position_ids_BT = (columns_S[past:] - pads_B[:, None]).clamp(min=0)
        output = self._model(
            input_ids=ids_BT,
            attention_mask=attention_mask_BS,
            position_ids=position_ids_BT,
            past_key_values=cache,
            use_cache=True,
            **self._last_only,
        )
        logits_BV: Tensor = output.logits[:, -1]
        return logits_BV

    def _append(self, cache: Any, pads: list[int], num_columns: int, logits_BV: Tensor) -> None:
        if not self:
            self._cache, self._num_columns, self.logits_BV = cache, num_columns, logits_BV
            self._set_pads(pads)
            return
        longer = max(self._num_columns, num_columns)
        old_gap, new_gap = longer - self._num_columns, longer - num_columns
        for old, new in zip(self._cache.layers, cache.layers, strict=True):
            old.keys = _stack(old.keys, new.keys, old_gap, new_gap)
            old.values = _stack(old.values, new.values, old_gap, new_gap)
        self._num_columns = longer
        self.logits_BV = torch.cat([self.logits_BV, logits_BV])
        self._set_pads([n + old_gap for n in self._num_pads] + [n + new_gap for n in pads])

    def _set_pads(self, num_pads: list[int]) -> None:
        self._num_pads = num_pads
        self._pads_B = self._to_device(num_pads)

    def _to_device(self, numbers: list[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.int64, device=self._device)


def _stack(old_BHSD: Tensor, new_BHSD: Tensor, old_gap: int, new_gap: int) -> Tensor:
    """Old rows above new ones, both padded on the left by their gap."""
    # zeros, not garbage: a masked column has weight 0, and 0 times NaN would still be NaN
    return torch.cat([pad(old_BHSD, (0, 0, old_gap, 0)), pad(new_BHSD, (0, 0, new_gap, 0))])


def check_supported(model: Any) -> None:
    """Raise InputError unless every layer keeps the keys and values of all columns.

    Left padding and trimming would silently break sliding windows, recurrent states and compressed caches.
    """
    name = type(model).__name__
    if model.config.is_encoder_decoder or "position_ids" not in inspect.signature(model.forward).parameters:
        raise InputError(f"{name} is not supported: expected a decoder-only model that takes position_ids")
    for index, layer in enumerate(DynamicCache(config=model.config).layers):
        if type(layer) is not DynamicLayer:
            raise InputError(
                f"{name} is not supported: layer {index} keeps a {type(layer).__name__}, expected full "
                "attention in every layer; use the vLLM engine for this model"
            )
