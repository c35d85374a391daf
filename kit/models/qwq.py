"""QwQ-32B: of the architecture qwen2, with thoughts and Hermes' calls in ChatML.

Source: the card of Qwen/QwQ-32B, which gives top_k 20 to 40.
"""

from __future__ import annotations

from kit.models.family import CHATML, TAGS, CardSampling, ModelFamily, ServingPreset, thinks

QWQ = ModelFamily(
    name="QwQ",
    recognises=lambda facts: (
        facts.model_type == "qwen2"
        and CHATML in facts.chat_template
        and thinks(facts.chat_template)
        and TAGS.call[0] in facts.chat_template
    ),
    sampling=CardSampling(temperature=0.6, top_p=0.95, top_k=30, min_p=0.0),
    max_new_tokens=32_768,
    turn_tokens=32_768,
    preset=ServingPreset(name="qwq-32b-h100", settings={"max_num_seqs": 32, "stream_interval": 10}),
)
