"""SmolLM2, 135M to 1.7B: Llama's architecture in ChatML, with a context of 8192. A real model for a test on a CPU.

It cannot bear the rules of the contest: benchmarks/results/small_model_prompts_2026-11-26.md.
Source: the card of HuggingFaceTB/SmolLM2-135M-Instruct.
"""

from __future__ import annotations

from kit.models.family import CHATML, CardSampling, ModelFamily

SMOLLM2 = ModelFamily(
    name="SmolLM2",
    recognises=lambda facts: (
        facts.model_type == "llama" and CHATML in facts.chat_template and facts.number("vocab_size") == 49_152
    ),
    sampling=CardSampling(temperature=0.2, top_p=0.9),
    max_new_tokens=512,
    prompt="short",
)
