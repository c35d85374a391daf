"""Qwen3.5, 3.6 and 3.8, dense and with experts: calls in tags (kit.models.calls.xml); its text_config holds the
context.

Its prompt says nothing of "only the answer" in the box, which made it loop to the limit in 7 % of its samples.
Source: the cards of Qwen/Qwen3.5-27B and Qwen/Qwen3.5-35B-A3B, as copied on 2026-11-25 (second-hand).
"""

from __future__ import annotations

from kit.models.family import CardSampling, ModelFamily, ServingPreset

QWEN35 = ModelFamily(
    name="Qwen3.5",
    recognises=lambda facts: facts.model_type.startswith(("qwen3_5", "qwen3_6", "qwen3_8")),
    sampling=CardSampling(temperature=1.0, top_p=0.95, top_k=20, min_p=0.0, presence_penalty=1.5),
    max_new_tokens=81_920,
    turn_tokens=32_768,
    prompt="brief",
    template_values={"enable_thinking": True},
    preset=ServingPreset(name="qwen3.5-h100", settings={"max_num_seqs": 48, "stream_interval": 10}),
)
