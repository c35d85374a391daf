"""The recursion's two-layer net: post-norm blocks of attention and SwiGLU, with the residuals inside.

In: a fused input (x + y + z, or y + z) and, layer by layer, the keys and values to attend to.
Out: the next state, of RMS length 1 times a learned gain. It knows no recursion, cache or backbone.

    h = norm(h + attention(h));  h = norm(h + swiglu(h))

Letters: B rows, K columns that recurse, S columns to attend to, D width, N query heads, H key-value
heads, E head size, M = N E, I SwiGLU width, L layers of the net.
Source: arXiv 2510.04871 Figure 1 and the official layers.py; RoPE arXiv 2104.09864 in the halves
convention; SwiGLU arXiv 2002.05202.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from kit.trm.config import EPS, TRMConfig


class Rope(NamedTuple):
    """The rotation of each column: cos_B1KE and sin_B1KE in the model's dtype; sin negative in the first half."""

    cos: Tensor
    sin: Tensor

    def last(self, num_columns: int) -> Rope:
        """The rotations of the last columns."""
        return Rope(self.cos[:, :, -num_columns:], self.sin[:, :, -num_columns:])

    def columns(self, columns_BK: Tensor) -> Rope:
        """The rotations of the named columns, a choice for each row."""
        num_rows, head_dim = len(columns_BK), self.cos.shape[-1]
        index_B1KE = columns_BK[:, None, :, None].expand(-1, 1, -1, head_dim)
        return Rope(*(each.expand(num_rows, -1, -1, -1).gather(2, index_B1KE) for each in self))

    def rows(self, rows_R: Tensor) -> Rope:
        """The rotations of some rows."""
        return Rope(self.cos[rows_R], self.sin[rows_R])


class KeyValue(NamedTuple):
    """What one layer attends to: keys_BHSE (rotated) and values_BHSE."""

    keys: Tensor
    values: Tensor

    def rows(self, rows_R: Tensor) -> KeyValue:
        """The keys and values of some rows."""
        return KeyValue(self.keys[rows_R], self.values[rows_R])

    def attend(self, queries_BNKE: Tensor, mask_B1KS: Tensor | None) -> Tensor:
        """Grouped-query attention, [B, K, M]; mask (bool, True: visible) None: to every column."""
        num_rows, _, num_queries, head_dim = queries_BNKE.shape
        if num_queries == 1:
            # the heads of a group become query columns of one head: no kernel then needs copied keys
            grouped = queries_BNKE.reshape(num_rows, self.keys.shape[1], -1, head_dim)
            mixed = scaled_dot_product_attention(grouped, *self, attn_mask=mask_B1KS)
            return mixed.reshape(num_rows, 1, -1)
        mixed = scaled_dot_product_attention(queries_BNKE, *self, attn_mask=mask_B1KS, enable_gqa=True)
        return mixed.transpose(1, 2).flatten(2)


@dataclass(frozen=True, slots=True)
class Pages:
    """Keys and values that another keeps and attends to, such as a server's paged cache.

    read: rotated queries_BNKE of all rows in, mixed_BKM out; causal, and with no mask from here. num_rows: how many
    those are. chosen_R: those that this one attends for; None: all.
    """

    read: Callable[[Tensor], Tensor]
    num_rows: int
    chosen_R: Tensor | None = None

    def rows(self, rows_R: Tensor) -> Pages:
        """The same for some of these rows."""
        return replace(self, chosen_R=rows_R if self.chosen_R is None else self.chosen_R[rows_R])

    def attend(self, queries_RNKE: Tensor) -> Tensor:
        """Mixed values [R, K, M]; the other rows ask with zeros, since who keeps the pages attends for all at once."""
        if self.chosen_R is None:
            return self.read(queries_RNKE)
        queries_BNKE = queries_RNKE.new_zeros((self.num_rows, *queries_RNKE.shape[1:]))
        queries_BNKE[self.chosen_R] = queries_RNKE
        return self.read(queries_BNKE)[self.chosen_R]


class Slot(Protocol):
    """Where one layer's keys and values of past columns lie; see kit.trm.cache."""

    def extend(self, new: KeyValue) -> KeyValue | Pages:
        """Those of past columns followed by `new`."""
        ...


# Ready keys and values, a slot that the layer's own are appended to, or None for a layer without attention.
Memory = KeyValue | Pages | Slot | None


def rope_of(position_BK: Tensor, *, head_dim: int, base: float, dtype: torch.dtype) -> Rope:
    """Rotations for positions (int64); computed in float64, so that no position loses precision."""
    angle_B1KE = position_BK[:, None, :, None] * _frequencies(head_dim, base, position_BK.device)
    return Rope(angle_B1KE.cos().to(dtype), angle_B1KE.sin().to(dtype))


@lru_cache(maxsize=16)
def _frequencies(head_dim: int, base: float, device: torch.device) -> Tensor:
    """Radians a position for each number of a head, float64: no buffer, since a model's `to` would round it."""
    with torch.inference_mode(mode=False):
        pairs = torch.arange(0, head_dim, 2, dtype=torch.float64, device=device)
        frequency = base ** (-pairs / head_dim)
        return torch.cat([-frequency, frequency])  # cos does not see the sign, sin does


def rotate(heads_BNKE: Tensor, rope: Rope) -> Tensor:
    """Turn each pair (e, e + E/2) of a head by its column's angle."""
    low, high = heads_BNKE.chunk(2, dim=-1)
    return torch.addcmul(heads_BNKE * rope.cos, torch.cat([high, low], dim=-1), rope.sin)


class RMSNorm(nn.Module):
    """RMS norm over the last axis with a learned gain."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, hidden_BKD: Tensor) -> Tensor:
        """Same shape and dtype; the mean square is accumulated in at least float32."""
        return rms_norm(hidden_BKD, self.weight.shape, self.weight, EPS)


class SwiGLU(nn.Module):
    """down(silu(gate) * up), gate and up in one product, no biases."""

    def __init__(self, config: TRMConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden_BKD: Tensor) -> Tensor:
        """[B, K, D] to [B, K, D]."""
        gate_BKI, up_BKI = self.gate_up(hidden_BKD).chunk(2, dim=-1)
        out_BKD: Tensor = self.down(silu(gate_BKI) * up_BKI)
        return out_BKD


class Attention(nn.Module):
    """Grouped-query attention; whose keys and values it reads is the caller's choice."""

    def __init__(self, config: TRMConfig) -> None:
        super().__init__()
        self._shape = (config.num_key_value_heads, config.head_dim)
        kv_size = config.num_key_value_heads * config.head_dim
        query_size = config.num_attention_heads * config.head_dim
        self.query = nn.Linear(config.hidden_size, query_size, bias=False)
        self.key_value = nn.Linear(config.hidden_size, 2 * kv_size, bias=False)
        self.out = nn.Linear(query_size, config.hidden_size, bias=False)

    def keys_values(self, source_BKD: Tensor, rope: Rope) -> KeyValue:
        """Rotated keys and values of a source, one column each: [B, H, K, E]."""
        heads_BK2HE = self.key_value(source_BKD).view(*source_BKD.shape[:2], 2, *self._shape)
        keys_BHKE, values_BHKE = heads_BK2HE.permute(2, 0, 3, 1, 4)
        return KeyValue(rotate(keys_BHKE, rope), values_BHKE)

    def forward(self, hidden_BKD: Tensor, rope: Rope, mask_B1KS: Tensor | None, memory: KeyValue | Pages) -> Tensor:
        """Attend from each column; mask (bool, True: visible) None: to every column of the memory."""
        queries_BKNE = self.query(hidden_BKD).view(*hidden_BKD.shape[:2], -1, self._shape[1])
        queries_BNKE = rotate(queries_BKNE.transpose(1, 2), rope)
        if isinstance(memory, KeyValue):
            mixed_BKM = memory.attend(queries_BNKE, mask_B1KS)
        else:
            mixed_BKM = memory.attend(queries_BNKE)
        out_BKD: Tensor = self.out(mixed_BKM)
        return out_BKD


class Block(nn.Module):
    """One post-norm layer; without attention for the form "token"."""

    def __init__(self, config: TRMConfig) -> None:
        super().__init__()
        self.attention = None if config.form == "token" else Attention(config)
        self.attention_norm = None if config.form == "token" else RMSNorm(config.hidden_size)
        self.swiglu = SwiGLU(config)
        self.swiglu_norm = RMSNorm(config.hidden_size)

    def forward(self, h_BKD: Tensor, rope: Rope | None, mask_B1KS: Tensor | None, memory: Memory) -> Tensor:
        """[B, K, D] to [B, K, D]; rope and memory are None exactly for the form "token"."""
        if self.attention is not None and self.attention_norm is not None:
            assert rope is not None
            assert memory is not None, "a block with attention needs something to attend to"
            if not isinstance(memory, KeyValue | Pages):
                memory = memory.extend(self.attention.keys_values(h_BKD, rope))
            h_BKD = self.attention_norm(h_BKD + self.attention(h_BKD, rope, mask_B1KS, memory))
        out_BKD: Tensor = self.swiglu_norm(h_BKD + self.swiglu(h_BKD))
        return out_BKD


class Net(nn.Module):
    """`net` of the paper: the same few blocks for the latent z and the answer y."""

    def __init__(self, config: TRMConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))

    def forward(self, h_BKD: Tensor, rope: Rope | None, mask_B1KS: Tensor | None, memory_L: Sequence[Memory]) -> Tensor:
        """One application to a fused input."""
        for block, memory in zip(self.blocks, memory_L, strict=True):
            h_BKD = block(h_BKD, rope, mask_B1KS, memory)
        return h_BKD
