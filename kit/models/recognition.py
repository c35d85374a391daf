"""Which family a model is of: what its folder says in, the family out; pure."""

from __future__ import annotations

from kit.models.ace_reason import ACE_REASON
from kit.models.deepseek import DEEPSEEK
from kit.models.facts import ModelFacts
from kit.models.family import TAGS, Markers, ModelFamily
from kit.models.gemma import GEMMA3, GEMMA4
from kit.models.glm import GLM
from kit.models.gpt_oss import GPT_OSS
from kit.models.kit_tiny import KIT_TINY
from kit.models.llama3 import LLAMA3
from kit.models.magistral import MAGISTRAL
from kit.models.nemotron import NEMOTRON
from kit.models.open_math import OPEN_MATH
from kit.models.phi4 import PHI4_REASONING
from kit.models.qwen3 import QWEN3
from kit.models.qwen3_instruct import QWEN3_INSTRUCT
from kit.models.qwen3_thinking import QWEN3_THINKING
from kit.models.qwen25_math import QWEN25_MATH
from kit.models.qwen35 import QWEN35
from kit.models.qwq import QWQ
from kit.models.r1_distill import R1_DISTILL
from kit.models.seed_oss import SEED_OSS
from kit.models.smollm2 import SMOLLM2
from kit.models.smollm3 import SMOLLM3

FAMILIES = (
    GPT_OSS, QWEN35, QWEN3, QWEN3_THINKING, QWEN3_INSTRUCT, KIT_TINY, QWEN25_MATH, R1_DISTILL, QWQ, ACE_REASON,
    OPEN_MATH, DEEPSEEK, GLM, GEMMA4, GEMMA3, NEMOTRON, LLAMA3, SMOLLM2, SMOLLM3, PHI4_REASONING, MAGISTRAL, SEED_OSS,
)  # fmt: skip


def recognise(facts: ModelFacts) -> ModelFamily | None:
    """The first family that knows the model; None for any other model."""
    return next((family for family in FAMILIES if family.recognises(facts)), None)


def markers_of(facts: ModelFacts) -> Markers:
    """What marks the parts of the model's turns."""
    family = recognise(facts)
    return family.markers if family else TAGS
