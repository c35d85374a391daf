"""Qwen2.5-Math: of the architecture qwen2, as many others are, and with a context of 4096. Its code stands in fences.

Source: config.json of Qwen/Qwen2.5-Math-7B-Instruct: model_type qwen2, max_position_embeddings 4096.
"""

from __future__ import annotations

from kit.models.family import ModelFamily, ServingPreset

QWEN25_MATH = ModelFamily(
    name="Qwen2.5-Math",
    recognises=lambda config, _chat_template: (
        config.get("model_type") == "qwen2" and config.get("max_position_embeddings") == 4096
    ),
    preset=ServingPreset(
        name="qwen2.5-math-7b-h100",
        settings={"max_model_len": 4096, "max_num_seqs": 128, "memory_share": 0.9, "stream_interval": 10},
    ),
)
