"""The rows that decode together: their key-value cache, their padding and the forward passes.

In: token ids. Out: next-token logits, one line a row. Rows join and leave between two tokens. It draws nothing and
knows no requests, time or threads.

All rows end at the same column. The first num_pads[b] columns of row b are padding and masked; its token in column s
has position s - num_pads[b].

Letters: B rows, U rows with distinct prompts, S columns of the cache, T new columns, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from kit.engines.transformers.attention import use_grouped_attention
from kit.engines.transformers.prefix import PrefixStore
from kit.errors import InputError


class Batch:
    """A running batch of one model. logits_BV: next-token logits in the model's dtype, [B, V]."""

    def __init__(self, model: Any) -> None:
        check_supported(model)
        use_grouped_attention(model)
        self._model = model
        self._device: torch.device = model.device
        takes_logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if takes_logits_to_keep else {}
        self._prefixes = PrefixStore(model.config, compute=self._compute)
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
        self._prefixes.clear()
        self._set_pads([])
        self.logits_BV = torch.empty(0, 0, device=self._device)

    def share(self, sequences: Sequence[Sequence[int]], *, kind: Hashable = None) -> int:
        """Compute what sequences to add begin with alike; gives how many tokens of each `add` then need not compute.

        kind: rows of different kinds share nothing. After a failure only `clear` is allowed.
        """
        return self._prefixes.share(list(dict.fromkeys(map(tuple, sequences))), kind=kind)

    def add(self, sequences: Sequence[Sequence[int]], *, kind: Hashable = None) -> None:
        """Prefill token sequences in one forward pass and append them as rows; equal ones are computed once.

        kind: as for `share`. After a failure only `clear` is allowed.
        """
        distinct = list(dict.fromkeys(map(tuple, sequences)))
        cache = self._prefixes.begin(distinct, kind=kind)
        past = cache.get_seq_length()
        num_columns = max(map(len, distinct))
        pads_U = [num_columns - len(ids) for ids in distinct]
        ids_UT = torch.tensor([[0] * n + list(ids[past:]) for n, ids in zip(pads_U, distinct, strict=True)])
        logits_UV = self._forward(ids_UT.to(self._device), cache, self._to_device(pads_U), past=past, num_first=past)
        if past:
            for layer in cache.layers:
                layer.move_pads(past, pads_U)
        row_of = {ids: row for row, ids in enumerate(distinct)}
        rows = [row_of[tuple(ids)] for ids in sequences]
        logits_BV = logits_UV
        if rows != list(range(len(distinct))):
            rows_B = self._to_device(rows)
            cache.batch_select_indices(rows_B)
            logits_BV = logits_UV[rows_B]
        self._append(cache, [pads_U[row] for row in rows], num_columns, logits_BV)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order, and drop the columns that are padding in all of them.

        A row that keeps its place costs nothing; one that takes the place of a row that leaves is copied.
        """
        assert rows, "to drop every row, clear the batch"
        pads = [self._num_pads[row] for row in rows]
        trim = min(pads)
        for layer in self._cache.layers:
            layer.select(rows, trim=trim)
        self._num_columns -= trim
        self.logits_BV = self.logits_BV[self._to_device(list(rows))]
        self._set_pads([num_pads - trim for num_pads in pads])

    def advance(self, token_B: Tensor) -> None:
        """Append one token to every row and compute the next logits; token_B is int64 on the device."""
        self.logits_BV = self._forward(token_B[:, None], self._cache, self._pads_B, past=self._num_columns)
        self._num_columns += 1

    def _compute(self, ids: Sequence[int], cache: Any) -> None:
        """Append the columns of tokens to a cache of one row."""
        ids_1T = torch.tensor([list(ids)], device=self._device)
        self._forward(ids_1T, cache, self._to_device([0]), past=cache.get_seq_length())

    def _forward(self, ids_BT: Tensor, cache: Any, pads_B: Tensor, *, past: int, num_first: int = 0) -> Tensor:
        """Logits after the last column, [B, V]; `cache` grows by T columns in place.

        num_first: columns of all rows that lie before the padding.
        """
        columns_S = torch.arange(past + ids_BT.shape[1], device=self._device)
        is_token_BS = (columns_S < num_first) | (columns_S >= num_first + pads_B[:, None])
        attention_mask_BS = is_token_BS.long()
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
            old.append_rows(new, gap=old_gap, new_gap=new_gap)
        self._num_columns = longer
        self.logits_BV = torch.cat([self.logits_BV, logits_BV])
        self._set_pads([n + old_gap for n in self._num_pads] + [n + new_gap for n in pads])

    def _set_pads(self, num_pads: list[int]) -> None:
        self._num_pads = num_pads
        self._pads_B = self._to_device(num_pads)

    def _to_device(self, numbers: list[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.int64, device=self._device)


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
