"""Qwen2.5-Math, and with it every model of the architecture qwen2. Its code stands in fences (kit.tools.formats).

Source: config.json of Qwen/Qwen2.5-Math-7B-Instruct: model_type qwen2, max_position_embeddings 4096.
"""

from __future__ import annotations

from kit.models.family import ModelFamily, ServingPreset

QWEN25_MATH = ModelFamily(
    name="Qwen2.5-Math",
    recognises=lambda config, _chat_template: config.get("model_type") == "qwen2",
    preset=ServingPreset(
        name="qwen2.5-math-7b-h100",
        settings={"max_model_len": 4096, "max_num_seqs": 128, "memory_share": 0.9, "stream_interval": 10},
    ),
)
