"""Over how many GPUs one model is spread by tensor parallelism; pure.

In: what the model's folder says and how many GPUs there are. Out: the largest number that vLLM can split the model by.
It must divide the attention heads and those of linear attention. It must divide the key-value heads, too, or be a
multiple of them, since vLLM copies a head that several GPUs need.
Source: vllm 0.32.0, `verify_with_parallel_config` in config/model.py, `QKVParallelLinear`, and the assertions in
model_executor/models/qwen3.py, qwen3_next.py and layers/mamba/mamba_mixer2.py.
"""

from __future__ import annotations

from pathlib import Path

from kit.errors import InputError
from kit.models.facts import ModelFacts

_SETTING = "engine.vllm.settings: tensor_parallel_size"
_DIVIDED = ("num_attention_heads", "linear_num_key_heads", "linear_num_value_heads", "mamba_num_heads")
"""Heads that a GPU has an equal share of; those that a model does not tell, it has not."""
_SHARED = "num_key_value_heads"


def tensor_parallel_size(facts: ModelFacts, *, num_gpus: int) -> int:
    """The largest number of at most `num_gpus` GPUs that divides the model; 1 if its config tells no heads."""
    return max(sizes(facts, num_gpus=num_gpus), default=1)


def sizes(facts: ModelFacts, *, num_gpus: int) -> tuple[int, ...]:
    """All numbers of at most `num_gpus` GPUs that divide the model, ascending."""
    if facts.number("num_attention_heads") is None:
        return (1,)
    return tuple(size for size in range(1, num_gpus + 1) if _divides(size, facts))


def check_tensor_parallel(size: int, facts: ModelFacts, *, model: Path, num_gpus: int) -> None:
    """Raise InputError for a size that exceeds the GPUs, or that does not divide the heads of the model in `model`."""
    if size > num_gpus:
        raise InputError(
            f"{_SETTING}={size}, but {num_gpus} GPU{'s are' if num_gpus > 1 else ' is'} visible; take a smaller size, "
            "or a machine with more (CUDA_VISIBLE_DEVICES hides those that it does not name)"
        )
    if facts.number("num_attention_heads") is not None and not _divides(size, facts):
        heads = ", ".join(f"{name} {number}" for name in (*_DIVIDED, _SHARED) if (number := facts.number(name)))
        fitting = ", ".join(map(str, sizes(facts, num_gpus=num_gpus)))
        raise InputError(
            f"{_SETTING}={size} does not divide the heads of {model / 'config.json'} ({heads}); take one of {fitting}, "
            "or leave it out"
        )


def _divides(size: int, facts: ModelFacts) -> bool:
    divided = all((facts.number(name) or 0) % size == 0 for name in _DIVIDED)
    shared = facts.number(_SHARED) or facts.number("num_attention_heads") or size
    return divided and (shared % size == 0 or size % shared == 0)
