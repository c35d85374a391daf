"""Names that the plugin shares with those who start vLLM."""

from __future__ import annotations

MODEL_TYPE = "recursive_qwen2"
ARCHITECTURE = "RecursiveQwen2ForCausalLM"
# What a request says in `vllm_xargs`, and an engine in `--hf-overrides`.
DEPTH = "trm_depth"
# Given to vLLM as `--logits-processors`.
PROCESSOR = "kit.engines.vllm.plugin.processor:DepthProcessor"
TRM_WEIGHTS = "trm.safetensors"
