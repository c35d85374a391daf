"""Seed-OSS-36B: thoughts and calls in tags with a prefix, of any length unless its template is told a budget.

Source: the card of ByteDance-Seed/Seed-OSS-36B-Instruct.
"""

from __future__ import annotations

from kit.models.family import CardSampling, Markers, ModelFamily, ServingPreset

SEED_OSS = ModelFamily(
    name="Seed-OSS",
    recognises=lambda facts: facts.model_type == "seed_oss" or "<seed:think>" in facts.chat_template,
    sampling=CardSampling(temperature=1.1, top_p=0.95),
    max_new_tokens=65_536,
    turn_tokens=32_768,
    markers=Markers(
        thought=("<seed:think>", "</seed:think>"), call=("<seed:tool_call>", "</seed:tool_call>"), are_special=True
    ),
    preset=ServingPreset(name="seed-oss-h100", settings={"max_num_seqs": 32, "stream_interval": 10}),
)
