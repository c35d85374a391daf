"""Phi-4-reasoning and -plus: of the architecture phi3, with a long system prompt of the template's own,
by which a thought ends with a backslash in its tag (kit.answers.channels).

Source: the card of microsoft/Phi-4-reasoning-plus.
"""

from __future__ import annotations

from kit.models.family import CardSampling, ModelFamily, ServingPreset, thinks

PHI4_REASONING = ModelFamily(
    name="Phi-4-reasoning",
    recognises=lambda facts: facts.model_type == "phi3" and thinks(facts.chat_template),
    sampling=CardSampling(temperature=0.8, top_p=0.95, top_k=50),
    max_new_tokens=32_768,
    turn_tokens=32_768,
    preset=ServingPreset(name="phi4-reasoning-h100", settings={"max_num_seqs": 64, "stream_interval": 10}),
)
