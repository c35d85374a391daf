"""How many samples an evaluation draws at once in a CPU's memory; and where memory ran out, what to lower."""

from __future__ import annotations

from kit.errors import EngineError, is_out_of_memory, memory_words
from kit.models.facts import ModelFacts

MOST_AT_ONCE = 64
"""On a CPU: twice as many tokens a second as with 16 (benchmarks/results/engine_2026-11-25.md); more were not tried."""
_PROMPT_TOKENS = 2048  # of which worked examples take most


def num_at_once(facts: ModelFacts, *, max_new_tokens: int, available_bytes: int) -> int | None:
    """As many samples as fit into half of a CPU's memory beside the weights, 1 to MOST_AT_ONCE.

    Weights and cache are counted in float32. None where the model's config tells too little.
    """
    token_bytes, num_parameters = facts.cache_bytes_a_token, facts.num_parameters
    if token_bytes is None or num_parameters is None:
        return None
    num_tokens = _PROMPT_TOKENS + max_new_tokens
    if facts.context_tokens is not None:
        num_tokens = min(num_tokens, facts.context_tokens)
    free_bytes = available_bytes // 2 - 4 * num_parameters
    return max(1, min(MOST_AT_ONCE, free_bytes // (num_tokens * token_bytes)))


def check_memory(error: BaseException, *, batch_size: int) -> None:
    """Raise EngineError, with what to lower, where this error says that memory ran out."""
    if is_out_of_memory(error):
        fix = "lower --max-new-tokens" if batch_size == 1 else f"lower --batch-size, which is {batch_size}"
        raise EngineError(
            f"out of memory while drawing: {fix}; the same command goes on where it was ({memory_words(error)})"
        ) from error
