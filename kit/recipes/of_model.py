"""A model's own values in the settings that the user left open, and where each value in force comes from; pure.

In: settings, in which null and `auto` stand for "the model's own", and what the model's folder says. Out: settings
without such places, as far as anybody says what to put there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kit.config import flattened, merged, replaced
from kit.models.facts import ModelFacts
from kit.models.own_values import OwnValue, own_values
from kit.recipes.settings import Settings
from kit.solver.config import OWN_PROMPT, UNTOLD

USER = "set by you"
NOBODY = "nobody says otherwise"


def filled(settings: Settings, facts: ModelFacts) -> Settings:
    """The settings with the model's own values where the user set none."""
    return replaced(settings, merged(*(_nested(each.name, each.value) for each in _wanted(settings, facts))))


def origins(settings: Settings, facts: ModelFacts, chosen: Collection[str]) -> Mapping[str, tuple[Any, str]]:
    """The value in force of every setting that a model has a say in, and where it comes from.

    chosen: the names that the user has set.
    """
    values, own = flattened(settings), {each.name: each for each in own_values(facts)}
    names = [name for name in values if name.startswith("solver.sampling.") and not name.endswith((".depth", ".stop"))]
    names += [name for name in own if name not in names]
    return {name: _origin(name, values, own.get(name), is_chosen=name in chosen) for name in names}


def _origin(name: str, values: Mapping[str, Any], own: OwnValue | None, *, is_chosen: bool) -> tuple[Any, str]:
    if not _is_open(values[name]):
        return values[name], USER if is_chosen else "the command's own"
    if own is not None:
        return own.value, own.source
    return getattr(UNTOLD, name.rpartition(".")[2], values[name]), NOBODY


def _wanted(settings: Settings, facts: ModelFacts) -> list[OwnValue]:
    values = flattened(settings)
    return [each for each in own_values(facts) if _is_open(values[each.name])]


def _is_open(value: object) -> bool:
    return value is None or value == OWN_PROMPT


def _nested(name: str, value: object) -> dict[str, Any]:
    for part in reversed(name.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value
