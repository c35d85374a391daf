from __future__ import annotations

import re
from typing import Any

import pytest

from kit.errors import EngineError, is_out_of_memory
from kit.evaluation.memory import MOST_AT_ONCE, check_memory, num_at_once
from kit.models.facts import ModelFacts

SMOLLM2 = {
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
}
GIB = 1 << 30


def at_once(config: dict[str, Any], *, gib: float, max_new_tokens: int = 256) -> int | None:
    facts = ModelFacts(config=config)
    return num_at_once(facts, max_new_tokens=max_new_tokens, available_bytes=int(gib * GIB))


def test_as_many_samples_are_drawn_at_once_as_half_of_the_memory_holds_beside_the_weights() -> None:
    """A token takes 30 layers x 3 heads x 64 x keys and values x 4 bytes = 46,080; the weights 4 x 134.5 million."""
    weight_bytes = 4 * (30 * (2 * 576 * 64 * (9 + 3) + 3 * 576 * 1536) + 49_152 * 576)
    assert at_once(SMOLLM2, gib=5) == (5 * GIB // 2 - weight_bytes) // ((2048 + 256) * 46_080) == 20
    assert at_once(SMOLLM2, gib=100) == MOST_AT_ONCE


def test_one_sample_is_drawn_where_not_even_the_weights_fit() -> None:
    assert at_once(SMOLLM2, gib=0.1) == 1


def test_no_sample_is_longer_than_the_models_context() -> None:
    assert at_once({**SMOLLM2, "max_position_embeddings": 1152}, gib=5) == 2 * 20


def test_a_model_whose_config_tells_too_little_is_left_to_the_default() -> None:
    assert at_once({"hidden_size": 576}, gib=5) is None


def test_out_of_memory_is_seen_in_what_an_error_came_from() -> None:
    error = EngineError("the model broke")
    error.__cause__ = MemoryError()
    assert is_out_of_memory(error)
    assert not is_out_of_memory(EngineError("the model broke"))


@pytest.mark.parametrize(
    ("batch_size", "fix"), [(64, "lower --batch-size, which is 64"), (1, "lower --max-new-tokens")]
)
def test_what_ran_out_of_memory_is_told_in_one_line_with_what_to_lower(batch_size: int, fix: str) -> None:
    cause = RuntimeError("CUDA error: out of memory\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n")
    error = EngineError(f"the model broke: {cause!r}")  # as the decoding thread says it
    error.__cause__ = cause
    with pytest.raises(EngineError, match=re.escape(f"{fix}; ")) as caught:
        check_memory(error, batch_size=batch_size)
    assert str(caught.value).endswith("goes on where it was (CUDA error: out of memory)")
    check_memory(EngineError("the model broke"), batch_size=batch_size)
