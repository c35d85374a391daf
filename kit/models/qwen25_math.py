"""Qwen2.5-Math: of the architecture qwen2, as many others are, and with a context of 4096. Its code stands in fences.

The shipped toy has that architecture and context too, and is told apart by its size.
Source: config.json of Qwen/Qwen2.5-Math-1.5B-Instruct (hidden_size 1536), -7B-Instruct and -72B-Instruct:
max_position_embeddings 4096; generation_config.json of Qwen/Qwen2.5-7B-Instruct.
"""

from __future__ import annotations

from kit.models.family import CHATML, CardSampling, ModelFamily, ServingPreset

_SMALLEST_WIDTH = 1536

QWEN25_MATH = ModelFamily(
    name="Qwen2.5-Math",
    recognises=lambda facts: (
        facts.model_type == "qwen2"
        and facts.context_tokens == 4096
        and CHATML in facts.chat_template
        and (facts.number("hidden_size") or 0) >= _SMALLEST_WIDTH
    ),
    sampling=CardSampling(temperature=0.7, top_p=0.8, top_k=20),
    max_new_tokens=4096,
    preset=ServingPreset(
        name="qwen2.5-math-h100", settings={"max_num_seqs": 128, "memory_share": 0.9, "stream_interval": 10}
    ),
)
