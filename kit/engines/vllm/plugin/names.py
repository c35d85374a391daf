"""Names that the plugin shares with those who start vLLM."""

from __future__ import annotations

# By the backbone's model_type, the class that serves it with a TRM.
ARCHITECTURES = {
    "llama": "RecursiveLlamaForCausalLM",
    "qwen2": "RecursiveQwen2ForCausalLM",
    "qwen3": "RecursiveQwen3ForCausalLM",
}
# What a request says in `vllm_xargs`, and an engine in `--hf-overrides`.
DEPTH = "trm_depth"
# Given to vLLM as `--logits-processors`.
PROCESSOR = "kit.engines.vllm.plugin.processor:DepthProcessor"
TRM_WEIGHTS = "trm.safetensors"


def joined_type(backbone: str) -> str:
    """The model_type of a joined folder: `recursive_qwen2` for a `qwen2`."""
    return f"recursive_{backbone}"
