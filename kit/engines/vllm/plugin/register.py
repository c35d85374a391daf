"""vLLM's entry point: registers our architectures. Cheap and repeatable, since every process of vLLM calls it."""

from __future__ import annotations

from kit.engines.vllm.plugin.names import ARCHITECTURES, joined_type


def register() -> None:
    """Register the architectures, without importing a model."""
    from transformers import AutoConfig
    from vllm import ModelRegistry

    from kit.engines.vllm.plugin.config import CONFIGS

    known = ModelRegistry.get_supported_archs()
    for backbone, architecture in ARCHITECTURES.items():
        AutoConfig.register(joined_type(backbone), CONFIGS[backbone], exist_ok=True)
        if architecture not in known:
            ModelRegistry.register_model(architecture, f"kit.engines.vllm.plugin.model:{architecture}")
