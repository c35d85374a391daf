"""The recursion's keys and values in vLLM's paged cache.

One vLLM `Attention`, which owns a cache and no weights, for each (application, layer) of the form "states" and each
layer of the form "anchor". A second write into one would overwrite the first, so each application that keeps keys needs
its own. The anchor's applications only read, which vLLM does when it gets no keys.

Letters: N tokens of a step, whoever they belong to, H key-value heads, E head size.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from vllm.model_executor.layers.attention import Attention

from kit.trm.cache import num_slots
from kit.trm.config import TRMConfig
from kit.trm.layers import KeyValue, Pages


class PagedSlot:
    """One Attention as a slot of kit.trm."""

    def __init__(self, attention: Any) -> None:
        self._attention = attention
        self._new: tuple[Tensor | None, Tensor | None] = (None, None)

    def extend(self, new: KeyValue) -> Pages:
        """Keys and values of a step's tokens, [N, H, 1, E], written when they are first read."""
        keys_NM, values_NM = (each.flatten(1) for each in new)
        self._new = keys_NM, values_NM
        return Pages(self._read, num_rows=len(keys_NM))

    def _read(self, queries_NH1E: Tensor) -> Tensor:
        """Mixed values [N, 1, M] of rotated queries [N, heads, 1, E]."""
        new, self._new = self._new, (None, None)
        mixed_NM: Tensor = self._attention(queries_NH1E.flatten(1), *new)
        return mixed_NM[:, None]


class PagedPlaces(nn.Module):
    """All slots of one model; see kit.trm.attention.Places.

    first: number of the first, after the backbone's layers; vLLM wants exactly one number in a name, and none twice.
    """

    def __init__(self, config: TRMConfig, vllm_config: Any, *, prefix: str, first: int) -> None:
        super().__init__()
        self._config = config
        self.attentions = nn.ModuleList(
            Attention(
                config.num_attention_heads,
                config.head_dim,
                config.head_dim**-0.5,
                num_kv_heads=config.num_key_value_heads,
                cache_config=vllm_config.cache_config,
                prefix=f"{prefix}.{first + index}",
            )
            for index in range(num_slots(config, config.depth))
        )

    def at(self, application: int, layer: int) -> PagedSlot:
        """The slot of one layer in one application of the net."""
        index = layer if self._config.form == "anchor" else application * self._config.num_layers + layer
        return PagedSlot(self.attentions[index])
