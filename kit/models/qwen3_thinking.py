"""Qwen3-2507 Thinking and Qwen3-Next Thinking: the template opens the thought and cannot leave it out.

Source: the card of Qwen/Qwen3-30B-A3B-Thinking-2507 (81,920 new tokens for mathematics; context 262144).
"""

from __future__ import annotations

from kit.models.family import CHATML, CardSampling, ModelFamily, ServingPreset, thinks

QWEN3_THINKING = ModelFamily(
    name="Qwen3 Thinking",
    recognises=lambda facts: (
        facts.model_type in {"qwen3", "qwen3_moe", "qwen3_next"}
        and CHATML in facts.chat_template
        and thinks(facts.chat_template)
        and "enable_thinking" not in facts.chat_template
    ),
    sampling=CardSampling(temperature=0.6, top_p=0.95, top_k=20, min_p=0.0),
    max_new_tokens=81_920,
    turn_tokens=32_768,
    preset=ServingPreset(name="qwen3-thinking-h100", settings={"max_num_seqs": 48, "stream_interval": 10}),
)
