"""Attention of one new token a row without copied heads: what transformers' `sdpa` computes, to rounding.

With grouped-query attention and a mask, transformers' own copies the keys and values of all columns for each query head
of a group, in each layer and for each token. Here the heads of a group become query columns of their one key-value
head. All else, as the prefill, goes to transformers' function.

Letters: B rows, N query heads, H key-value heads, G = N / H, S columns of the cache, D head size.
Source: grouped-query attention, arXiv:2305.13245.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

GROUPED = "kit_grouped_sdpa"


def use_grouped_attention(model: Any) -> None:
    """Let a model decode with `grouped_attention`, if it attends through transformers' interface, by `sdpa`.

    Another choice of the model's owner (eager, flash, flex) stays.
    """
    if not isinstance(model, PreTrainedModel) or model.config._attn_implementation != "sdpa":
        return
    if not model._can_set_attn_implementation():
        return
    AttentionInterface.register(GROUPED, grouped_attention)
    AttentionMaskInterface.register(GROUPED, sdpa_mask)
    model.set_attn_implementation(GROUPED)


def grouped_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """As AttentionInterface has it: query [B, N, 1, D], key and value [B, H, S, D] to [B, 1, N, D]."""
    num_rows, num_heads, num_columns, size = query.shape
    is_plain = not dropout and settings.get("position_bias") is None and settings.get("cache") is None
    is_one_for_all_heads = attention_mask is None or attention_mask.shape[1] == 1
    if num_columns != 1 or num_heads == key.shape[1] or not (is_plain and is_one_for_all_heads):
        mixed: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **settings
        )
        return mixed
    # the heads of a group follow one another, as transformers' repeat_kv has it
    grouped_BHGD = query.reshape(num_rows, key.shape[1], -1, size)
    mixed_BHGD = scaled_dot_product_attention(grouped_BHGD, key, value, attn_mask=attention_mask, scale=scaling)
    return mixed_BHGD.reshape(num_rows, 1, num_heads, -1), None
