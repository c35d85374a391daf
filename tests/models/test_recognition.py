"""Which family a model is of, and what a family says."""

from __future__ import annotations

from typing import Any

import pytest

from kit.assets import TINY_MODEL
from kit.engines.text.model_folder import read_facts
from kit.engines.vllm.server.settings import PRESETS
from kit.models.facts import ModelFacts
from kit.models.family import TAGS
from kit.models.gpt_oss import HARMONY
from kit.models.recognition import FAMILIES, markers_of, recognise
from kit.prompting import VARIANTS
from kit.sampling import SamplingParams

CHATML = "{{ '<|im_start|>assistant' }}"
THINKING = CHATML + "{{ '<think>' }}"
CALLING = "{{ '<tool_call>' }}"
DEEPSEEK = "{{ '<｜Assistant｜><think>' }}"
HARMONY_TEMPLATE = "{{ '<|start|>assistant<|channel|>final<|message|>' }}"
LLAMA = "{{ '<|start_header_id|>assistant<|end_header_id|>' }}"

MODELS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"model_type": "gpt_oss"}, HARMONY_TEMPLATE, "gpt-oss"),
    ({"model_type": "gpt_oss"}, "", "gpt-oss"),
    ({"model_type": "another"}, HARMONY_TEMPLATE, "gpt-oss"),
    ({"model_type": "qwen3_moe"}, THINKING + "{{ enable_thinking }}", "Qwen3"),
    ({"model_type": "qwen3_moe", "max_position_embeddings": 262144}, THINKING, "Qwen3 Thinking"),
    ({"model_type": "qwen3_next"}, THINKING, "Qwen3 Thinking"),
    ({"model_type": "qwen3"}, CHATML, "Qwen3 Instruct"),
    ({"model_type": "qwen3_5_moe", "text_config": {"max_position_embeddings": 262144}}, THINKING, "Qwen3.5"),
    # six models of one architecture
    ({"model_type": "qwen2", "max_position_embeddings": 4096, "hidden_size": 3584}, CHATML, "Qwen2.5-Math"),
    (
        {"model_type": "qwen2", "max_position_embeddings": 131072, "hidden_size": 5120},
        DEEPSEEK,
        "DeepSeek-R1 distilled",
    ),
    ({"model_type": "qwen2", "max_position_embeddings": 40960}, THINKING + CALLING, "QwQ"),
    ({"model_type": "qwen2", "max_position_embeddings": 131072}, THINKING, "AceReason"),
    ({"model_type": "qwen2", "max_position_embeddings": 131072, "hidden_size": 5120}, CHATML, "OpenMath-Nemotron"),
    (
        {"model_type": "qwen2", "max_position_embeddings": 4096, "hidden_size": 256, "vocab_size": 487},
        CHATML,
        "the kit's toy",
    ),
    ({"model_type": "qwen2", "max_position_embeddings": 32768, "hidden_size": 3584}, CHATML, None),
    ({"model_type": "llama"}, DEEPSEEK, "DeepSeek-R1 distilled"),
    ({"model_type": "llama"}, LLAMA, "Llama 3"),
    ({"model_type": "llama", "vocab_size": 49152}, CHATML, "SmolLM2"),
    ({"model_type": "llama"}, CHATML, None),
    ({"model_type": "smollm3"}, THINKING, "SmolLM3"),
    ({"model_type": "deepseek_v3"}, DEEPSEEK, "DeepSeek"),
    ({"model_type": "glm4_moe_lite"}, "[gMASK]<sop>", "GLM"),
    ({"model_type": "gemma3"}, "", "Gemma 3"),
    ({"model_type": "gemma4"}, "", "Gemma 4"),
    ({"model_type": "nemotron_h"}, THINKING, "Nemotron 3"),
    ({"model_type": "phi3"}, "<think>", "Phi-4-reasoning"),
    ({"model_type": "phi3"}, "", None),
    ({"model_type": "mistral"}, "[THINK]", "Magistral"),
    ({"model_type": "seed_oss"}, "<seed:think>", "Seed-OSS"),
    ({"model_type": ["qwen2"]}, CHATML, None),
    ({}, "", None),
]


@pytest.mark.parametrize(("config", "chat_template", "name"), MODELS)
def test_a_model_is_known_by_architecture_size_context_and_template_together(
    config: dict[str, Any], chat_template: str, name: str | None
) -> None:
    family = recognise(ModelFacts(config=config, chat_template=chat_template))
    assert (family.name if family else None) == name


def test_every_family_has_a_model_that_is_known_to_be_of_it() -> None:
    assert {family.name for family in FAMILIES} == {name for _, _, name in MODELS} - {None}


def test_the_shipped_model_is_known() -> None:
    family = recognise(read_facts(TINY_MODEL))
    assert family is not None
    assert (family.name, family.prompt, family.max_new_tokens) == ("the kit's toy", "plain", 128)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_what_a_family_says_can_be_asked_for(family: Any) -> None:
    assert family.prompt in VARIANTS
    told = {
        name: getattr(family.sampling, name) for name in ("temperature", "top_p", "top_k", "min_p", "presence_penalty")
    }
    SamplingParams(
        max_new_tokens=family.max_new_tokens, **{name: value for name, value in told.items() if value is not None}
    )


def test_the_template_tells_how_turns_are_marked() -> None:
    assert markers_of(ModelFacts(chat_template=HARMONY_TEMPLATE)) is HARMONY
    assert markers_of(ModelFacts(chat_template=CHATML)) is markers_of(ModelFacts()) is TAGS
    assert markers_of(ModelFacts(chat_template="[THINK]")).are_special


def test_every_preset_is_settings_of_a_server_and_none_shrinks_the_context() -> None:
    names = [family.preset.name for family in FAMILIES if family.preset]
    assert len(set(names)) == len(names)
    assert list(PRESETS) == ["cpu", *names]
    assert {PRESETS[name].max_model_len for name in names} == {"auto"}
