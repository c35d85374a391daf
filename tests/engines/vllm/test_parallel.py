"""Over how many GPUs a model is spread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.engines.vllm.server.parallel import check_tensor_parallel, sizes, tensor_parallel_size
from kit.errors import InputError
from kit.models.facts import ModelFacts


def heads(attention: int, key_value: int, **others: Any) -> ModelFacts:
    return ModelFacts(config={"num_attention_heads": attention, "num_key_value_heads": key_value, **others})


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (heads(64, 8), (1, 2, 4, 8)),
        (heads(14, 2), (1, 2)),  # Qwen2.5-0.5B
        (heads(9, 3), (1, 3)),  # SmolLM2-135M
        (heads(32, 2), (1, 2, 4, 8)),  # four GPUs share two key-value heads
        (heads(12, 4), (1, 2, 4)),  # 3 and 6 neither divide four key-value heads nor are multiples of them
        (heads(16, 16, linear_num_key_heads=16, linear_num_value_heads=36), (1, 2, 4)),  # 8 does not divide 36
        (ModelFacts(config={"num_attention_heads": 16}), (1, 2, 4, 8)),  # every head has its own keys and values
        (ModelFacts(), (1,)),
    ],
)
def test_the_sizes_that_divide_the_heads(facts: ModelFacts, expected: tuple[int, ...]) -> None:
    assert sizes(facts, num_gpus=8) == expected
    assert tensor_parallel_size(facts, num_gpus=8) == max(expected)


@given(
    st.integers(1, 128).flatmap(lambda kv: st.tuples(st.just(kv), st.integers(1, 16).map(lambda group: kv * group))),
    st.integers(1, 16),
)
def test_what_is_chosen_is_what_vllm_accepts(counts: tuple[int, int], num_gpus: int) -> None:
    """The oracle is vLLM's own assertions, one by one."""
    key_value, attention = counts
    facts = heads(attention, key_value)

    def accepts(size: int) -> bool:
        fits = key_value % size == 0 if key_value >= size else size % key_value == 0
        return attention % size == 0 and fits

    assert sizes(facts, num_gpus=num_gpus) == tuple(size for size in range(1, num_gpus + 1) if accepts(size))
    check_tensor_parallel(tensor_parallel_size(facts, num_gpus=num_gpus), facts, model=Path("model"), num_gpus=num_gpus)


def test_a_refusal_names_the_heads_and_the_sizes_that_fit() -> None:
    with pytest.raises(InputError, match=r"heads 14, num_key_value_heads 2\); take one of 1, 2, or leave it out"):
        check_tensor_parallel(4, heads(14, 2), model=Path("model"), num_gpus=4)
    with pytest.raises(InputError, match="tensor_parallel_size=2, but 1 GPU is visible"):
        check_tensor_parallel(2, heads(64, 8), model=Path("model"), num_gpus=1)
    check_tensor_parallel(2, ModelFacts(), model=Path("model"), num_gpus=2)  # vLLM may know what its config hides
