"""Which rows a group of batches has, and their hidden states where the backbone is frozen.

In: rows, a seed, this process's rank. Out: the batches of a group by its number. They are the next rows of an endless
stream of shuffled epochs, so they depend on the seed and the number alone, and processes share out each batch.

Letters: B rows of a batch, T columns, L hidden states that are kept, D width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kit.training.cut_backbone import CutBackbone
from kit.training.hidden_states import HiddenStates, StatesKey, hidden_states
from kit.training.language import LanguageBatch
from kit.training.launch import AcceleratedWorkers
from kit.training.recursive import RecursiveBatch
from kit.training.rows import Rows
from kit.trm.model import TinyRecursiveModel

WHITENED_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """batch_size: of all processes together. accumulated: batches of a group. rank, number: of this process."""

    rows: Rows
    batch_size: int
    accumulated: int
    seed: int
    rank: int
    number: int
    device: torch.device

    def of_group(self, group: int) -> list[LanguageBatch]:
        """This process's share of each of a group's batches."""
        return [on_device(self.rows.batch(rows_B), self.device) for rows_B in self.rows_of_group(group)]

    def rows_of_group(self, group: int) -> list[list[int]]:
        """The numbers of the rows, a list for each batch.

        Several batches of a group share out its rows by length, since a batch is as wide as its longest row, and their
        gradients are added up whatever rows they have.
        """
        size = self.batch_size * self.accumulated
        chosen = [self._row_at(place) for place in range(group * size, (group + 1) * size)]
        if self.accumulated > 1:
            chosen.sort(key=lambda row: int(self.rows.offsets[row + 1] - self.rows.offsets[row]))
        return [
            chosen[begin + self.rank : begin + self.batch_size : self.number]
            for begin in range(0, size, self.batch_size)
        ]

    def _row_at(self, place: int) -> int:
        """The row at a place of the endless stream of shuffled epochs."""
        epoch, within = divmod(place, len(self.rows))
        return int(_order(self.seed, epoch, len(self.rows))[within])


@lru_cache(maxsize=2)  # a batch may begin in one epoch and end in the next; each order is asked for row by row
def _order(seed: int, epoch: int, num_rows: int) -> Any:
    """The rows of an epoch, shuffled."""
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8])).permutation(num_rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecursiveBatches:
    """The same rows with their hidden states. layers: those in `states`; feature_layers: those of them that make x."""

    batches: Batches
    states: HiddenStates
    layers: tuple[int, ...]
    feature_layers: tuple[int, ...]
    dtype: torch.dtype

    def of_group(self, group: int) -> list[RecursiveBatch]:
        """This process's share of each of a group's batches."""
        return [self._batch(rows_B) for rows_B in self.batches.rows_of_group(group)]

    def features(self, num_rows: int) -> tuple[Tensor, ...]:
        """The hidden states that make x, of all columns of the first rows: [N, D] each."""
        by_layer = dict(zip(self.layers, self.states.columns(num_rows), strict=True))
        return tuple(by_layer[layer] for layer in self.feature_layers)

    def _batch(self, rows_B: Sequence[int]) -> RecursiveBatch:
        device = self.batches.device
        rows = self.batches.rows
        tokens = on_device(rows.batch(rows_B), device)
        steps = None if rows.steps is None else rows.steps.targets(rows_B, tokens.targets_BK.cpu())
        num_columns = tokens.ids_BT.shape[1]
        states = self.states.batch(rows_B, num_columns=num_columns)
        by_layer = {layer: each.to(device) for layer, each in zip(self.layers, states, strict=True)}
        return RecursiveBatch(
            hidden_LBTD=tuple(by_layer[layer] for layer in self.feature_layers),
            base_BTD=by_layer[-1].to(self.dtype),
            position_BT=torch.arange(num_columns, device=device).expand(len(rows_B), -1),
            columns_BK=tokens.columns_BK,
            targets_SBK=tokens.targets_BK[None] if steps is None else steps.targets_SBK.to(device),
            mask_BT=tokens.mask_BT,
            num_steps_BK=None if steps is None else steps.num_steps_BK.to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpperBatches:
    """The same rows with the hidden state that goes into the layers which are trained."""

    batches: Batches
    states: HiddenStates
    dtype: torch.dtype

    def of_group(self, group: int) -> list[LanguageBatch]:
        """This process's share of each of a group's batches."""
        return [self._batch(rows_B) for rows_B in self.batches.rows_of_group(group)]

    def _batch(self, rows_B: Sequence[int]) -> LanguageBatch:
        device = self.batches.device
        batch = on_device(self.batches.rows.batch(rows_B), device)
        (below_BTD,) = self.states.batch(rows_B, num_columns=batch.ids_BT.shape[1])
        return replace(batch, below_BTD=below_BTD.to(device, self.dtype))


@dataclass(frozen=True, slots=True, kw_only=True)
class StatesPlace:
    """Where a backbone's states are kept, under which name, and who is told the number of rows that are done."""

    backbone_sha256: str
    folder: Path
    tell: Callable[[int], None]


def with_states(
    batches: Batches,
    backbone: Any,
    *,
    feature_layers: tuple[int, ...],
    place: StatesPlace,
    workers: AcceleratedWorkers,
) -> RecursiveBatches:
    """The batches with their hidden states: the first process computes them, the others read them.

    Raises: as `states_of`.
    """
    layers = kept_layers(feature_layers)
    make = partial(states_of, batches.rows, backbone, layers=layers, batch_size=batches.batch_size, place=place)
    states = workers.in_turn(make)
    return RecursiveBatches(
        batches=batches, states=states, layers=layers, feature_layers=feature_layers, dtype=backbone.dtype
    )


def fit_whitening(module: nn.Module, batches: object) -> None:
    """Fit a TRM's whitening, where it has one, to the first rows; a run that goes on fits the same once more."""
    if isinstance(module, TinyRecursiveModel) and module.whitening is not None:
        assert isinstance(batches, RecursiveBatches)
        module.whitening.fit(batches.features(WHITENED_ROWS))


def with_states_below(batches: Batches, backbone: CutBackbone, *, place: StatesPlace) -> UpperBatches:
    """The batches with the state that goes into the layers which are trained; of a single process.

    Raises: as `states_of`.
    """

    def read(ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        return backbone.below(ids_BT, mask_BT)[:, :, None]

    layers, lower = (backbone.num_lower,), backbone.lower
    states = _kept(batches.rows, lower, read, layers=layers, batch_size=batches.batch_size, place=place)
    return UpperBatches(batches=batches, states=states, dtype=lower.dtype)


def kept_layers(feature_layers: tuple[int, ...]) -> tuple[int, ...]:
    """The hidden states to keep: those that make x, and the last, which is the base."""
    return feature_layers if -1 in feature_layers else (*feature_layers, -1)


def states_of(
    rows: Rows, backbone: Any, *, layers: tuple[int, ...], batch_size: int, place: StatesPlace
) -> HiddenStates:
    """The backbone's hidden states of all rows, on disk.

    Raises: TooLargeError, StorageError; whatever `place.tell` raises, with what is done on disk.
    """

    def read(ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        hidden = backbone.base_model(
            input_ids=ids_BT, attention_mask=mask_BT, use_cache=False, output_hidden_states=True
        ).hidden_states
        return torch.stack([hidden[layer] for layer in layers], 2)

    return _kept(rows, backbone, read, layers=layers, batch_size=batch_size, place=place)


def _kept(
    rows: Rows,
    model: Any,
    read: Callable[[Tensor, Tensor], Tensor],
    *,
    layers: tuple[int, ...],
    batch_size: int,
    place: StatesPlace,
) -> HiddenStates:
    """What `read` makes of all rows by that model: from disk, or computed now."""
    key = StatesKey(
        backbone_sha256=place.backbone_sha256,
        tokens_sha256=rows.sha256,
        layers=layers,
        width=model.config.hidden_size,
        dtype=str(model.dtype),
    )
    compute = _in_batches(rows, read, batch_size=batch_size, device=model.device)
    return hidden_states(place.folder, key, rows.lengths, compute, tell=place.tell)


def _in_batches(
    rows: Rows, read: Callable[[Tensor, Tensor], Tensor], *, batch_size: int, device: torch.device
) -> Callable[[range], list[Tensor]]:
    """What computes the states of some rows. read: ids and mask, [B, T], to states, [B, T, L, D]."""
    lengths = rows.lengths

    @torch.no_grad()
    def compute(some: range) -> list[Tensor]:
        by_length = sorted(some, key=lambda row: lengths[row])  # a batch is as wide as its longest row
        found: dict[int, Tensor] = {}
        for first in range(0, len(by_length), batch_size):
            chosen = by_length[first : first + batch_size]
            tokens = on_device(rows.batch(chosen), device)
            longest = lengths[chosen[-1]]  # a batch's own shape is fixed, and may be half padding
            assert tokens.mask_BT is not None  # of rows there always is one
            states_BTLD = read(tokens.ids_BT[:, :longest], tokens.mask_BT[:, :longest])
            found |= {row: states_BTLD[place, : lengths[row]].cpu() for place, row in enumerate(chosen)}
        return [found[row] for row in some]

    return compute


def on_device(batch: LanguageBatch, device: torch.device) -> LanguageBatch:
    """The same batch there."""
    return LanguageBatch(
        ids_BT=batch.ids_BT.to(device),
        columns_BK=batch.columns_BK.to(device),
        targets_BK=batch.targets_BK.to(device),
        mask_BT=None if batch.mask_BT is None else batch.mask_BT.to(device),
    )
