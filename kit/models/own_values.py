"""What a model says of itself, as settings: how it is sampled and asked where the user says nothing; pure.

In: what the model's folder says. Out: values by the names of kit.recipes.settings, each with where it comes from.
generation_config.json is the model's own word and comes first, then its family's card, then what fits any model of its
size. A greedy generation_config (`do_sample: false`) tells no temperature, since votes need samples that differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kit.models.facts import ModelFacts
from kit.models.family import ModelFamily
from kit.models.recognition import recognise

GENERATION_CONFIG = "generation_config.json"
MAX_NEW_TOKENS = 32_768
SMALL_MAX_NEW_TOKENS = 1024
SMALL_PARAMETERS = 1_000_000_000
"""Below so many, rules are left out of the prompt: benchmarks/results/small_model_prompts_2026-11-26.md."""
_SAMPLED = ("temperature", "top_p", "top_k", "min_p", "presence_penalty")
_OFF_UNLESS_SAMPLED = frozenset({"temperature", "top_p", "top_k", "min_p"})


class Setting(StrEnum):
    """The settings that a model has a say in."""

    PROMPT = "solver.prompt"
    MAX_NEW_TOKENS = "solver.sampling.max_new_tokens"
    MAX_TURN_TOKENS = "reasoning.max_turn_tokens"


@dataclass(frozen=True, slots=True)
class OwnValue:
    """A setting by its whole name, what the model has it at, and where that comes from."""

    name: str
    value: str | int | float
    source: str


def own_values(facts: ModelFacts) -> tuple[OwnValue, ...]:
    """All that the model says, each setting once."""
    family = recognise(facts)
    return (_prompt(facts, family), *_sampling(facts, family), *_lengths(facts, family))


def guesses(facts: ModelFacts) -> str:
    """What was guessed of a model of no known family, in one sentence; empty for a known one."""
    if recognise(facts) is not None:
        return ""
    prompt, length = _prompt(facts, None), next(iter(_lengths(facts, None)))
    read = [value.name.rpartition(".")[2] for value in _sampling(facts, None)]
    told = f"its {GENERATION_CONFIG} gives {', '.join(read)}" if read else f"its {GENERATION_CONFIG} gives no sampling"
    return (
        f"no family of the kit knows this model ({facts.model_type or 'no model_type'}): its own chat template is "
        f"used, {told}; guessed: the prompt {prompt.value!r} ({prompt.source}), attempts of {length.value} tokens "
        f"({length.source}); set what is wrong with --set"
    )


def _prompt(facts: ModelFacts, family: ModelFamily | None) -> OwnValue:
    if family is not None:
        return OwnValue(Setting.PROMPT, family.prompt, f"family {family.name}")
    if is_small(facts):
        return OwnValue(Setting.PROMPT, "plain", "small models cannot bear the contest's rules")
    return OwnValue(Setting.PROMPT, "boxed", "any model")


def _sampling(facts: ModelFacts, family: ModelFamily | None) -> Iterator[OwnValue]:
    is_greedy = facts.generation.get("do_sample") is False
    for name in _SAMPLED:
        own = None if is_greedy and name in _OFF_UNLESS_SAMPLED else _number(facts.generation.get(name), name)
        if own is not None:
            yield OwnValue(f"solver.sampling.{name}", own, GENERATION_CONFIG)
            continue
        card = None if family is None else getattr(family.sampling, name)
        if family is not None and card is not None:
            yield OwnValue(f"solver.sampling.{name}", card, f"family {family.name}")


def _lengths(facts: ModelFacts, family: ModelFamily | None) -> Iterator[OwnValue]:
    wanted, source = MAX_NEW_TOKENS, "any model"
    if family is not None:
        wanted, source = family.max_new_tokens, f"family {family.name}"
    elif is_small(facts):
        wanted, source = SMALL_MAX_NEW_TOKENS, "small models"
    context = facts.context_tokens
    if context is not None and context < wanted:
        wanted, source = context, "config.json"
    yield OwnValue(Setting.MAX_NEW_TOKENS, wanted, source)
    if family is not None and family.turn_tokens is not None:
        yield OwnValue(Setting.MAX_TURN_TOKENS, family.turn_tokens, f"family {family.name}")


def is_small(facts: ModelFacts) -> bool:
    """Whether a model is known to have fewer than SMALL_PARAMETERS."""
    num_parameters = facts.num_parameters
    return num_parameters is not None and num_parameters < SMALL_PARAMETERS


def _number(value: Any, name: str) -> float | int | None:
    """A number of a generation config that sampling can take; None for what is absent or makes no sense."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if name == "top_k":
        return max(0, int(value))  # -1 and 0 both stand for "off"
    fits = {"temperature": value > 0, "top_p": 0 < value <= 1, "min_p": 0 <= value < 1}
    return value if fits.get(name, -2 <= value <= 2) else None
