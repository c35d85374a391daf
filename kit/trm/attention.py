"""What the recursion attends to: one small class for each form, over the same net.

In: the net, features x, positions, padding, the cache. Out: a reader, which applies the net to a fused
input. Masks and rotations are made once for a forward pass, and the anchor's keys and values once for a
token: however deep the recursion, no step computes them again.

Letters: B rows, R some of the rows, T new columns, K the last of them, which recurse, S all columns with
the past's, D width, L layers of the net.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from kit.trm.layers import Attention, KeyValue, Net, Pages, Rope, Slot, rope_of


class Places(Protocol):
    """Where the recursion's keys and values lie; kit.trm.cache's Slots, or a server's pages."""

    def at(self, application: int, layer: int) -> Slot:
        """Of one layer in one application of the net, counted from the initial state."""
        ...


class Reader(Protocol):
    """The net together with what it attends to.

    is_separable: whether rows may recurse on without their neighbours.
    """

    @property
    def is_separable(self) -> bool:
        """See above."""
        ...

    def __call__(self, h_BKD: Tensor, application: int, /) -> Tensor:
        """Apply the net to a fused input; `application` counts from the initial state."""
        ...

    def rows(self, rows_R: Tensor) -> Reader:
        """The same for some rows."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorReader:
    """Queries from the states, keys and values from x: they are the same in every application."""

    net: Net
    rope: Rope
    mask_B1KS: Tensor | None
    memory_L: tuple[KeyValue | Pages, ...]
    is_separable: bool = True

    def __call__(self, h_BKD: Tensor, _application: int, /) -> Tensor:
        """Apply the net; every application attends to the same."""
        out_BKD: Tensor = self.net(h_BKD, self.rope, self.mask_B1KS, self.memory_L)
        return out_BKD

    def rows(self, rows_R: Tensor) -> AnchorReader:
        """Copies the keys and values of those rows."""
        mask_B1KS = self.mask_B1KS
        return replace(
            self,
            rope=self.rope.rows(rows_R) if len(self.rope.cos) > 1 else self.rope,
            mask_B1KS=mask_B1KS[rows_R] if mask_B1KS is not None and len(mask_B1KS) > 1 else mask_B1KS,
            memory_L=tuple(memory.rows(rows_R) for memory in self.memory_L),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StateReader:
    """Causal self-attention over the recursing states, each application with slots of its own."""

    net: Net
    rope: Rope
    mask_B1KS: Tensor | None
    slots: Places
    is_separable: bool = False

    def __call__(self, h_BKD: Tensor, application: int, /) -> Tensor:
        """Apply the net; keys and values of these states join the application's own slots."""
        memory_L = [self.slots.at(application, layer) for layer in range(len(self.net.blocks))]
        out_BKD: Tensor = self.net(h_BKD, self.rope, self.mask_B1KS, memory_L)
        return out_BKD

    def rows(self, _rows_R: Tensor) -> StateReader:
        """Not possible: the slots hold all rows."""
        raise AssertionError("rows of the form 'states' recurse together")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReader:
    """Nothing to attend to: a token's recursion sees the token alone."""

    net: Net
    is_separable: bool = True

    def __call__(self, h_BKD: Tensor, _application: int, /) -> Tensor:
        """Apply the net to each token by itself."""
        out_BKD: Tensor = self.net(h_BKD, None, None, [None] * len(self.net.blocks))
        return out_BKD

    def rows(self, _rows_R: Tensor) -> TokenReader:
        """The same: it holds nothing of any row."""
        return self


def anchors(net: Net, x_BTD: Tensor, rope: Rope, slots: Places) -> tuple[KeyValue | Pages, ...]:
    """Keys and values of x for each layer, the past's first; computed here and nowhere else."""
    memory_L = []
    for index, block in enumerate(net.blocks):
        attention: Any = block.attention
        assert isinstance(attention, Attention)
        memory_L.append(slots.at(0, index).extend(attention.keys_values(x_BTD, rope)))
    return tuple(memory_L)


def rotations(net: Net, position_BT: Tensor, *, head_dim: int, base: float) -> Rope:
    """The rotations of all new columns, in the net's dtype."""
    return rope_of(position_BT, head_dim=head_dim, base=base, dtype=next(net.parameters()).dtype)


def visible(mask_BS: Tensor | None, *, num_columns: int, num_queries: int, device: torch.device) -> Tensor | None:
    """Which of S columns the last K may attend to, [B or 1, 1, K, S] bool; None: all of them.

    mask_BS: 1 for tokens, 0 for padding. A padding column attends to itself, since a row of nothing but
    masked columns would make NaN.
    """
    if mask_BS is None and num_queries == 1:
        return None
    columns_S = torch.arange(num_columns, device=device)
    query_K1 = columns_S[-num_queries:, None]
    causal_KS = columns_S <= query_K1
    if mask_BS is None:
        return causal_KS[None, None]
    return (causal_KS & (mask_BS.bool()[:, None] | (columns_S == query_K1)))[:, None]


def visible_from(columns_BK: Tensor, mask_BS: Tensor | None, *, num_columns: int) -> Tensor:
    """As `visible`, for queries that stand at the named columns: [B, 1, K, S] bool."""
    columns_S = torch.arange(num_columns, device=columns_BK.device)
    causal_BKS = columns_S <= columns_BK[..., None]
    if mask_BS is not None:
        causal_BKS &= mask_BS.bool()[:, None] | (columns_S == columns_BK[..., None])
    return causal_BKS[:, None]
