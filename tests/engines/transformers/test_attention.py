"""Grouped attention against transformers' own, and which models get it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from kit.engines.transformers.attention import GROUPED, grouped_attention, use_grouped_attention
from kit.engines.transformers.batch import Batch
from kit.engines.trm.engine import TRMEngine
from tests.engines import tiny
from tests.trm import tiny_trm


class Groups(nn.Module):
    """What transformers' function reads of a layer."""

    is_causal = True

    def __init__(self, num_key_value_groups: int) -> None:
        super().__init__()
        self.num_key_value_groups = num_key_value_groups


@given(
    num_rows=st.integers(1, 4),
    num_heads=st.integers(1, 3),
    num_groups=st.integers(1, 4),
    num_columns=st.integers(1, 9),
    num_new=st.integers(1, 2),
    pads=st.lists(st.integers(0, 8), min_size=4, max_size=4),
    is_masked=st.booleans(),
)
def test_it_equals_the_attention_with_repeated_heads(
    num_rows: int,
    num_heads: int,
    num_groups: int,
    num_columns: int,
    num_new: int,
    pads: list[int],
    is_masked: bool,
) -> None:
    """With columns that are a view of a wider buffer, as the cache gives them."""
    num_new = min(num_new, num_columns)
    query = torch.randn(num_rows, num_heads * num_groups, num_new, 4, dtype=torch.float64)
    key, value = torch.randn(2, num_rows, num_heads, num_columns + 5, 4, dtype=torch.float64)[:, :, :, 2:-3]
    mask = None
    if is_masked:
        pads_R1 = torch.tensor(pads[:num_rows])[:, None].clamp(max=num_columns - 1)
        mask = (torch.arange(num_columns) >= pads_R1)[:, None, None].expand(-1, 1, num_new, -1)
    layer = Groups(num_groups)
    expected, _ = sdpa_attention_forward(layer, query, key, value, mask, scaling=0.3)
    mixed, _ = grouped_attention(layer, query, key, value, mask, scaling=0.3)
    assert mixed.shape == expected.shape
    assert torch.allclose(mixed, expected, rtol=0, atol=1e-12)


def test_a_bias_on_positions_is_left_to_transformers() -> None:
    query = torch.randn(2, 4, 1, 4)
    key, value = torch.randn(2, 2, 2, 5, 4)
    bias = torch.randn(1, 4, 1, 5)
    expected, _ = sdpa_attention_forward(Groups(2), query, key, value, None, position_bias=bias)
    mixed, _ = grouped_attention(Groups(2), query, key, value, None, position_bias=bias)
    assert torch.equal(mixed, expected)


@pytest.mark.parametrize("kind", ["qwen2", "llama", "gpt2"])
def test_a_batch_makes_its_model_decode_with_it(kind: str) -> None:
    model = tiny.build(kind)
    Batch(model)
    assert model.config._attn_implementation == GROUPED


def test_another_choice_of_attention_stays() -> None:
    model = tiny.build("qwen2")
    model.set_attn_implementation("eager")
    use_grouped_attention(model)
    assert model.config._attn_implementation == "eager"


def test_the_backbone_of_a_recursive_model_decodes_with_it() -> None:
    model = tiny_trm.language_model()
    TRMEngine(model, tiny.tokenizer())
    assert model.backbone.config._attn_implementation == GROUPED
