"""The kit's own toy model, which ships with it: a small qwen2 that was trained on one wording and on short texts.

Source: kit/assets/tiny, made by kit.training.tiny.
"""

from __future__ import annotations

from kit.models.family import CHATML, CardSampling, ModelFamily

_LARGEST_WIDTH, _LARGEST_VOCABULARY = 512, 2048

KIT_TINY = ModelFamily(
    name="the kit's toy",
    recognises=lambda facts: (
        facts.model_type == "qwen2"
        and CHATML in facts.chat_template
        and (facts.number("hidden_size") or _LARGEST_WIDTH + 1) <= _LARGEST_WIDTH
        and (facts.number("vocab_size") or _LARGEST_VOCABULARY + 1) <= _LARGEST_VOCABULARY
    ),
    sampling=CardSampling(temperature=1.0, top_p=1.0),
    max_new_tokens=128,
    prompt="plain",
)
