"""vLLM's entry point: registers our architecture. Cheap and repeatable, since every process of vLLM calls it."""

from __future__ import annotations

from kit.engines.vllm.plugin.names import ARCHITECTURE, MODEL_TYPE


def register() -> None:
    """Register the architecture, without importing the model."""
    from transformers import AutoConfig
    from vllm import ModelRegistry

    from kit.engines.vllm.plugin.config import RecursiveQwen2Config

    AutoConfig.register(MODEL_TYPE, RecursiveQwen2Config, exist_ok=True)
    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, f"kit.engines.vllm.plugin.model:{ARCHITECTURE}")
