"""A LoRA adapter in a vLLM server: its flags, and what vLLM does not serve.

Source: vLLM 0.32, config/lora.py (MaxLoRARanks) and lora/peft_helper.py (_validate_features).
"""

from __future__ import annotations

import json
from pathlib import Path

from kit.engines.text.adapter_folder import adapter_config, largest_rank
from kit.errors import InputError

ADAPTER_NAME = "adapter"
"""What the model with its adapter is called in requests; the model alone keeps its own name."""

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_NOT_SERVED = ("use_dora", "lora_bias", "modules_to_save", "alora_invocation_tokens", "layer_replication")


def lora_arguments(adapter: Path) -> tuple[str, ...]:
    """The flags by which a server takes the adapter, as `ADAPTER_NAME`.

    Raises: InputError for an adapter that vLLM does not serve.
    """
    config = adapter_config(adapter)
    fix = "merge it into a model of its own, or take engine.kind=transformers"
    if others := [name for name in _NOT_SERVED if config.get(name)]:
        raise InputError(f"vLLM does not serve the adapter in {adapter}: its config asks for {others[0]}; {fix}")
    rank = largest_rank(adapter)
    served = next((each for each in _RANKS if each >= rank), None)
    if served is None:
        raise InputError(f"vLLM does not serve the adapter in {adapter}: rank {rank} is above {_RANKS[-1]}; {fix}")
    module = json.dumps({"name": ADAPTER_NAME, "path": str(adapter.resolve())})
    return ("--enable-lora", "--max-lora-rank", str(served), "--lora-modules", module)
