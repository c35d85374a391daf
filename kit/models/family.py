"""The form in which a model family is described; pure data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Recogniser = Callable[[Mapping[str, Any], str], bool]
"""Whether a model is of the family, by its config.json and its chat template."""


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
class ModelFamily:
    """One family of models.

    template_values: what its chat template is told, unless the user says otherwise. preset: on one H100 of 80 GB.
    """

    name: str
    recognises: Recogniser
    markers: Markers = TAGS
    template_values: Mapping[str, str | bool | int] = field(default_factory=dict)
    preset: ServingPreset | None = None
