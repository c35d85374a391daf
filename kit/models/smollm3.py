"""SmolLM3-3B: thinks or does not, as its template is told.

Source: the card of HuggingFaceTB/SmolLM3-3B.
"""

from __future__ import annotations

from kit.models.family import CardSampling, ModelFamily, ServingPreset

SMOLLM3 = ModelFamily(
    name="SmolLM3",
    recognises=lambda facts: facts.model_type == "smollm3",
    sampling=CardSampling(temperature=0.6, top_p=0.95),
    max_new_tokens=32_768,
    turn_tokens=32_768,
    template_values={"enable_thinking": True},
    preset=ServingPreset(name="smollm3-h100", settings={"max_num_seqs": 128, "stream_interval": 10}),
)
