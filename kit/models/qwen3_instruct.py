"""Qwen3-2507 Instruct, Qwen3-Next Instruct and Qwen3-Coder: without thoughts.

Source: the card of Qwen/Qwen3-30B-A3B-Instruct-2507 (16,384 new tokens; context 262144).
"""

from __future__ import annotations

from kit.models.family import CHATML, CardSampling, ModelFamily, ServingPreset, thinks

QWEN3_INSTRUCT = ModelFamily(
    name="Qwen3 Instruct",
    recognises=lambda facts: (
        facts.model_type in {"qwen3", "qwen3_moe", "qwen3_next"}
        and CHATML in facts.chat_template
        and not thinks(facts.chat_template)
    ),
    sampling=CardSampling(temperature=0.7, top_p=0.8, top_k=20, min_p=0.0),
    max_new_tokens=16_384,
    preset=ServingPreset(name="qwen3-instruct-h100", settings={"max_num_seqs": 64, "stream_interval": 10}),
)
