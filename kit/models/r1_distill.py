"""DeepSeek-R1's distilled models, and what was trained on from them (Light-R1, AceReason 1.0): DeepSeek's turns on
another's architecture. No system prompt.

Source: the card of deepseek-ai/DeepSeek-R1-Distill-Qwen-14B.
"""

from __future__ import annotations

from kit.models.family import CardSampling, ModelFamily, ServingPreset

ASSISTANT = "<｜Assistant｜>"

R1_DISTILL = ModelFamily(
    name="DeepSeek-R1 distilled",
    recognises=lambda facts: facts.model_type in {"qwen2", "llama", "qwen3"} and ASSISTANT in facts.chat_template,
    sampling=CardSampling(temperature=0.6, top_p=0.95),
    max_new_tokens=32_768,
    turn_tokens=32_768,
    preset=ServingPreset(name="r1-distill-h100", settings={"max_num_seqs": 64, "stream_interval": 10}),
)
