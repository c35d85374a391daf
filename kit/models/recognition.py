"""Which family a model is of: its config.json and its chat template in, the family out; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.models.family import TAGS, Markers, ModelFamily
from kit.models.gpt_oss import GPT_OSS
from kit.models.qwen3 import QWEN3_MOE
from kit.models.qwen25_math import QWEN25_MATH

FAMILIES = (GPT_OSS, QWEN3_MOE, QWEN25_MATH)


def recognise(config: Mapping[str, Any], chat_template: str) -> ModelFamily | None:
    """The first family that knows the model; None for any other model."""
    return next((family for family in FAMILIES if family.recognises(config, chat_template)), None)


def markers_of(chat_template: str) -> Markers:
    """What marks the parts of a turn that follows this template."""
    family = recognise({}, chat_template)
    return family.markers if family else TAGS
