"""GLM-4.5 to 5, GLM-4.7-Flash among them: calls in tags of their own (kit.models.calls.xml).

The card's values are those without tools; with them it advises T = 0.7 and top_p = 1.0, to be set by hand.
Source: the card of zai-org/GLM-4.7-Flash (context 202752; output to 131,072 tokens).
"""

from __future__ import annotations

from kit.models.family import CardSampling, ModelFamily, ServingPreset

GLM = ModelFamily(
    name="GLM",
    recognises=lambda facts: facts.model_type.startswith("glm") and "[gMASK]" in facts.chat_template,
    sampling=CardSampling(temperature=1.0, top_p=0.95),
    max_new_tokens=65_536,
    turn_tokens=32_768,
    preset=ServingPreset(name="glm-flash-h100", settings={"max_num_seqs": 48, "stream_interval": 10}),
)
