"""The families' values against those of their cards, written out a second time."""

from __future__ import annotations

import pytest

from kit.models.recognition import FAMILIES

# Name: temperature, top_p, top_k, presence penalty; the least of new tokens that the card speaks of.
CARDS = {
    "gpt-oss": (1.0, 1.0, None, None, 65_536),
    "Qwen3.5": (1.0, 0.95, 20, 1.5, 32_768),
    "Qwen3": (0.6, 0.95, 20, None, 32_768),
    "Qwen3 Thinking": (0.6, 0.95, 20, None, 81_920),
    "Nemotron 3": (1.0, 1.0, None, None, 32_768),
    "GLM": (1.0, 0.95, None, None, 32_768),
    "Gemma 4": (1.0, 0.95, 64, None, 32_768),
    "DeepSeek-R1 distilled": (0.6, 0.95, None, None, 32_768),
    "AceReason": (0.6, 0.95, None, None, 32_768),
    "OpenMath-Nemotron": (0.6, 0.95, None, None, 32_768),
    "QwQ": (0.6, 0.95, 30, None, 32_768),
    "Phi-4-reasoning": (0.8, 0.95, 50, None, 32_768),
}


@pytest.mark.parametrize("name", CARDS)
def test_a_family_has_its_cards_values(name: str) -> None:
    (family,) = [each for each in FAMILIES if each.name == name]
    told = family.sampling
    *sampling, least = CARDS[name]
    assert [told.temperature, told.top_p, told.top_k, told.presence_penalty] == sampling
    assert family.max_new_tokens >= least


@pytest.mark.parametrize(
    "family", [each for each in FAMILIES if each.max_new_tokens > 20_000], ids=lambda each: each.name
)
def test_a_family_that_thinks_long_may_do_so_in_one_turn_with_tools(family: object) -> None:
    """12,288 tokens a turn cost Qwen3-14B 30 of 79 points on AIME24."""
    assert getattr(family, "turn_tokens", None) == 32_768 or getattr(family, "name", "") == "gpt-oss"


@pytest.mark.parametrize(
    ("name", "settings"), [(each.name, each.preset.settings) for each in FAMILIES if each.preset is not None]
)
def test_no_preset_limits_the_context_or_says_how_weights_are_quantised(name: str, settings: object) -> None:
    assert isinstance(settings, dict), name
    assert not {"max_model_len", "quantization"} & settings.keys()
