"""The form in which a model family is described; pure data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kit.models.facts import ModelFacts

Recogniser = Callable[[ModelFacts], bool]
"""Whether a model is of the family: by architecture, size, context and chat template together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Markers:
    """The texts around the parts of a turn: a pair each, for the beginning and the end.

    are_special: whether they are special tokens; an engine must then keep these in the text.
    """

    thought: tuple[str, str]
    call: tuple[str, str]
    are_special: bool = False


TAGS = Markers(thought=("<think>", "</think>"), call=("<tool_call>", "</tool_call>"))
"""Of Qwen3, DeepSeek-R1 and QwQ, and the kit's own: an engine brings other forms into this one.
Source: the chat templates of these models on Hugging Face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPreset:
    """How vLLM serves a model. settings: fields of kit.engines.vllm.server.settings.ServerSettings, by name."""

    name: str
    settings: Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSampling:
    """What a model's card says of sampling, in the words of kit.sampling.SamplingParams; None where it says nothing."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """One family of models.

    sampling: of its card. max_new_tokens: that its authors give an attempt. turn_tokens: that one turn may want where
    it runs code; None: no more than any model. prompt: the name of the variant in kit.prompting that it is asked by.
    template_values: what its chat template is told, unless the user says otherwise. preset: on one H100 of 80 GB.
    """

    name: str
    recognises: Recogniser
    sampling: CardSampling
    max_new_tokens: int
    prompt: str = "boxed"
    turn_tokens: int | None = None
    markers: Markers = TAGS
    template_values: Mapping[str, str | bool | int] = field(default_factory=dict)
    preset: ServingPreset | None = None


CHATML = "<|im_start|>"
"""What tells a chat template in ChatML."""


def thinks(chat_template: str) -> bool:
    """Whether a chat template knows thoughts in the kit's own tags."""
    return TAGS.thought[0] in chat_template
