"""Nemotron 3 Nano: a hybrid of Mamba and attention with experts; calls in Qwen3-Coder's tags.

Source: the card of nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B.
"""

from __future__ import annotations

from kit.models.family import CardSampling, ModelFamily, ServingPreset

NEMOTRON = ModelFamily(
    name="Nemotron 3",
    recognises=lambda facts: facts.model_type.startswith("nemotron_h"),
    sampling=CardSampling(temperature=1.0, top_p=1.0),
    max_new_tokens=65_536,
    turn_tokens=32_768,
    template_values={"enable_thinking": True},
    preset=ServingPreset(name="nemotron3-nano-h100", settings={"max_num_seqs": 64, "stream_interval": 10}),
)
