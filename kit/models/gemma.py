"""Gemma 3 and 4. Gemma 4 thinks in a channel of special tokens, if its template is told to.

Source: generation_config.json of google/gemma-3-27b-it; the card of google/gemma-4-31b-it (second-hand).
"""

from __future__ import annotations

from kit.models.family import CardSampling, Markers, ModelFamily, ServingPreset

GEMMA3 = ModelFamily(
    name="Gemma 3",
    recognises=lambda facts: facts.model_type.startswith("gemma3"),
    sampling=CardSampling(temperature=1.0, top_p=0.95, top_k=64),
    max_new_tokens=16_384,
    preset=ServingPreset(name="gemma3-h100", settings={"max_num_seqs": 48, "stream_interval": 10}),
)

GEMMA4 = ModelFamily(
    name="Gemma 4",
    recognises=lambda facts: facts.model_type.startswith("gemma4") or "<|channel>thought" in facts.chat_template,
    sampling=CardSampling(temperature=1.0, top_p=0.95, top_k=64),
    max_new_tokens=32_768,
    turn_tokens=32_768,
    markers=Markers(
        thought=("<|channel>thought", "<channel|>"), call=("<|tool_call>", "<tool_call|>"), are_special=True
    ),
    template_values={"enable_thinking": True},
    preset=ServingPreset(name="gemma4-h100", settings={"max_num_seqs": 32, "stream_interval": 10}),
)
