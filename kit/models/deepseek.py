"""DeepSeek-V3 to V3.2 and R1 themselves: too large for one H100; served by others, or on several.

Source: generation_config.json of deepseek-ai/DeepSeek-V3.1 and -R1; the chat template's `thinking`.
"""

from __future__ import annotations

from kit.models.family import CardSampling, ModelFamily

DEEPSEEK = ModelFamily(
    name="DeepSeek",
    recognises=lambda facts: facts.model_type.startswith("deepseek_v"),
    sampling=CardSampling(temperature=0.6, top_p=0.95),
    max_new_tokens=32_768,
    turn_tokens=32_768,
    template_values={"thinking": True},
)
