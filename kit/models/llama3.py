"""Llama 3, 3.1 to 3.3: calls as JSON without tags, or as Python (kit.models.calls.llama).

Source: generation_config.json of meta-llama/Llama-3.1-8B-Instruct.
"""

from __future__ import annotations

from kit.models.family import CardSampling, ModelFamily, ServingPreset

LLAMA3 = ModelFamily(
    name="Llama 3",
    recognises=lambda facts: facts.model_type == "llama" and "<|start_header_id|>" in facts.chat_template,
    sampling=CardSampling(temperature=0.6, top_p=0.9),
    max_new_tokens=16_384,
    preset=ServingPreset(name="llama3-h100", settings={"max_num_seqs": 64, "stream_interval": 10}),
)
