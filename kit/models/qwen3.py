"""Qwen3 as a mixture of experts: Qwen3-30B-A3B and its kin. Calls are written as kit.models.calls.hermes reads them.

Source: config.json of Qwen/Qwen3-30B-A3B: model_type qwen3_moe, max_position_embeddings 40960.
"""

from __future__ import annotations

from kit.models.family import ModelFamily, ServingPreset

QWEN3_MOE = ModelFamily(
    name="Qwen3 MoE",
    recognises=lambda config, _chat_template: config.get("model_type") == "qwen3_moe",
    preset=ServingPreset(
        name="qwen3-30b-h100",
        # FP8 halves the 61 GB of the weights, which leaves room for the cache
        settings={"max_model_len": 40960, "max_num_seqs": 64, "quantization": "fp8", "stream_interval": 10},
    ),
)
