"""OpenMath-Nemotron, the winner's of AIMO2: of the architecture qwen2, in plain ChatML; it thinks without being told.

Its context of 131072 tells it from Qwen2.5-Instruct, whose config says 32768.
Source: config.json and card of nvidia/OpenMath-Nemotron-14B-Kaggle; sampling second-hand.
"""

from __future__ import annotations

from kit.models.family import CHATML, CardSampling, ModelFamily, ServingPreset, thinks

OPEN_MATH = ModelFamily(
    name="OpenMath-Nemotron",
    recognises=lambda facts: (
        facts.model_type == "qwen2"
        and CHATML in facts.chat_template
        and not thinks(facts.chat_template)
        and (facts.context_tokens or 0) >= 131_072
    ),
    sampling=CardSampling(temperature=0.6, top_p=0.95),
    max_new_tokens=32_768,
    turn_tokens=32_768,
    preset=ServingPreset(name="openmath-nemotron-h100", settings={"max_num_seqs": 64, "stream_interval": 10}),
)
