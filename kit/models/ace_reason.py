"""AceReason-Nemotron 1.1: of the architecture qwen2, with thoughts in ChatML and without calls.

Its first version has DeepSeek's template, and is known by that (kit.models.r1_distill).
Source: the card of nvidia/AceReason-Nemotron-1.1-7B.
"""

from __future__ import annotations

from kit.models.family import CHATML, TAGS, CardSampling, ModelFamily, ServingPreset, thinks

ACE_REASON = ModelFamily(
    name="AceReason",
    recognises=lambda facts: (
        facts.model_type == "qwen2"
        and CHATML in facts.chat_template
        and thinks(facts.chat_template)
        and TAGS.call[0] not in facts.chat_template
    ),
    sampling=CardSampling(temperature=0.6, top_p=0.95),
    max_new_tokens=32_768,
    turn_tokens=32_768,
    preset=ServingPreset(name="acereason-h100", settings={"max_num_seqs": 64, "stream_interval": 10}),
)
