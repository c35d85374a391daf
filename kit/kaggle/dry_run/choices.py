"""Which settings a dry run has: the submission's, squeezed to this machine, and the user's on top.

In: what was asked for by flags and by name. Out: settings, nested as in `Settings`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.config import merged, replaced
from kit.engines.text.model_folder import read_facts
from kit.errors import InputError
from kit.models.facts import ModelFacts
from kit.recipes.choices import SQUEEZED, engine_changes, is_shipped
from kit.recipes.of_model import filled
from kit.recipes.settings import Settings

IN_ORDER: Mapping[str, Any] = {"solver": {"in_order": True}}
"""So that answers follow from the samples alone, and not from which of them ended first."""

ON_CPU: Mapping[str, Any] = {"budget": {"reserve_s": 20.0, "floor_s": 2.0}, "engine": {"dtype": "float32"}}
"""How a dry run of the user's own model differs from a submission, its clock apart."""

_READ_BYTES_S = 4e9  # of weights, by two slow cores; each token of a batch reads them all once
_TOKEN_S = 0.01  # what a token costs besides
_START_S = 120.0
_LONGEST_S = 5 * 3600.0


def dry_run_settings(
    changes: Mapping[str, Any], *, engine: str, model: Path, num_problems: int, has_wheels: bool, in_order: bool
) -> dict[str, Any]:
    """The settings of a dry run. changes: the user's own, which win. engine: unless `changes` name another.

    Raises: as `engine_changes`; MissingError or InputError for a model folder without a config.json.
    """
    chosen = engine_changes(engine, changes, has_wheels=has_wheels)
    squeezed = SQUEEZED if is_shipped(model) else _for_model(read_facts(model), chosen, num_problems=num_problems)
    return merged(squeezed, {"budget": {"num_problems": num_problems}}, IN_ORDER if in_order else {}, chosen)


def squeezed(changes: Mapping[str, Any]) -> Settings | None:
    """A dry run's settings with these changes; None where they do not go with its short clock."""
    try:
        return replaced(Settings(), merged(SQUEEZED, changes))
    except InputError:
        return None


def limit_s(num_parameters: int, settings: Settings, *, num_problems: int) -> float:
    """How long a dry run may take, at most: as long as a CPU takes for all attempts at full length, from four minutes
    to the competition's own five hours.

    settings: with the model's own values.
    """
    params = settings.solver.sampling.params(seed=0)
    num_waves = math.ceil(settings.solver.stop.num_samples / settings.solver.width)
    token_s = 4 * num_parameters / _READ_BYTES_S + _TOKEN_S
    whole_s = _START_S + num_problems * num_waves * params.max_new_tokens * token_s
    return float(round(min(_LONGEST_S, max(SQUEEZED["budget"]["limit_s"], whole_s))))


def _for_model(facts: ModelFacts, chosen: Mapping[str, Any], *, num_problems: int) -> dict[str, Any]:
    try:
        settings = filled(replaced(Settings(), merged(ON_CPU, chosen)), facts)
    except InputError:  # refused by whoever applies them, who knows where they were set
        settings = filled(Settings(), facts)
    clock = limit_s(facts.num_parameters or 0, settings, num_problems=num_problems)
    return merged(ON_CPU, {"budget": {"limit_s": clock}})
