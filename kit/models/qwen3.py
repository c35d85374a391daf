"""Qwen3 that thinks or does not, as its template is told: 0.6B to 32B and 30B-A3B; calls in Hermes' form.

Source: the card, config.json (max_position_embeddings 40960) and generation_config.json of Qwen/Qwen3-30B-A3B; 38,912
new tokens are the card's advice for competition problems.
"""

from __future__ import annotations

from kit.models.family import CHATML, CardSampling, ModelFamily, ServingPreset, thinks

QWEN3 = ModelFamily(
    name="Qwen3",
    recognises=lambda facts: (
        facts.model_type in {"qwen3", "qwen3_moe"}
        and CHATML in facts.chat_template
        and thinks(facts.chat_template)
        and "enable_thinking" in facts.chat_template
    ),
    sampling=CardSampling(temperature=0.6, top_p=0.95, top_k=20, min_p=0.0),
    max_new_tokens=38_912,
    turn_tokens=32_768,
    template_values={"enable_thinking": True},
    # what the weights are in stays the checkpoint's own choice: vLLM refuses `fp8` over GPTQ and AWQ
    preset=ServingPreset(name="qwen3-h100", settings={"max_num_seqs": 64, "stream_interval": 10}),
)
