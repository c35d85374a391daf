"""Which family a model is of, and what a family says."""

from __future__ import annotations

from typing import Any

import pytest

from kit.engines.vllm.server.settings import CPU_TINY, PRESETS, ServerSettings
from kit.models.family import TAGS
from kit.models.gpt_oss import GPT_OSS, HARMONY
from kit.models.qwen3 import QWEN3_MOE
from kit.models.qwen25_math import QWEN25_MATH
from kit.models.recognition import FAMILIES, markers_of, recognise

CHATML = "{{ '<|im_start|>assistant' }}"
HARMONY_TEMPLATE = "{{ '<|start|>assistant<|channel|>final<|message|>' }}"


@pytest.mark.parametrize(
    ("config", "chat_template", "family"),
    [
        ({"model_type": "gpt_oss"}, HARMONY_TEMPLATE, GPT_OSS),
        ({"model_type": "gpt_oss"}, "", GPT_OSS),
        ({"model_type": "another"}, HARMONY_TEMPLATE, GPT_OSS),
        ({"model_type": "qwen3_moe"}, CHATML, QWEN3_MOE),
        ({"model_type": "qwen2", "max_position_embeddings": 4096}, CHATML, QWEN25_MATH),
        ({"model_type": "llama"}, CHATML, None),
        ({"model_type": ["qwen2"]}, CHATML, None),
        ({}, "", None),
    ],
)
def test_a_model_is_of_the_family_that_knows_its_config_or_template(
    config: dict[str, Any], chat_template: str, family: object
) -> None:
    assert recognise(config, chat_template) is family


def test_the_template_tells_how_turns_are_marked() -> None:
    assert markers_of(HARMONY_TEMPLATE) is HARMONY
    assert markers_of(CHATML) is markers_of("") is TAGS


def test_every_preset_is_settings_of_a_server() -> None:
    names = [family.preset.name for family in FAMILIES if family.preset]
    assert len(set(names)) == len(names)
    assert list(PRESETS) == ["cpu-tiny", *names]
    assert PRESETS["cpu-tiny"] is CPU_TINY


def test_the_presets_of_the_readme() -> None:
    """Its table, and what was measured on an H100 in the competition of 2026."""
    assert PRESETS["gpt-oss-120b-h100"] == ServerSettings(
        max_model_len=65536, max_num_seqs=64, memory_share=0.96, kv_cache_dtype="fp8", stream_interval=20
    )
    assert PRESETS["qwen3-30b-h100"] == ServerSettings(
        max_model_len=40960, max_num_seqs=64, quantization="fp8", stream_interval=10
    )
    assert PRESETS["qwen2.5-math-7b-h100"] == ServerSettings(
        max_model_len=4096, max_num_seqs=128, memory_share=0.9, stream_interval=10
    )
