"""Magistral: Mistral's models that think, in `[THINK]`, which are special tokens from its second version on.

Source: the card of mistralai/Magistral-Small-2509.
"""

from __future__ import annotations

from kit.models.family import CardSampling, Markers, ModelFamily, ServingPreset

MAGISTRAL = ModelFamily(
    name="Magistral",
    recognises=lambda facts: "[THINK]" in facts.chat_template,
    sampling=CardSampling(temperature=0.7, top_p=0.95),
    max_new_tokens=40_960,
    turn_tokens=32_768,
    markers=Markers(thought=("[THINK]", "[/THINK]"), call=("[TOOL_CALLS]", ""), are_special=True),
    preset=ServingPreset(name="magistral-h100", settings={"max_num_seqs": 48, "stream_interval": 10}),
)
