"""Which settings a dry run has: the submission's, squeezed to this machine, and the user's on top.

In: what was asked for by flags and by name. Out: settings, nested as in `Settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.config import merged, replaced
from kit.errors import InputError
from kit.recipes.choices import AS_TRAINED, SQUEEZED, engine_changes, is_shipped
from kit.recipes.settings import Settings

IN_ORDER: Mapping[str, Any] = {"solver": {"in_order": True}}
"""So that answers follow from the samples alone, and not from which of them ended first."""


def dry_run_settings(
    changes: Mapping[str, Any], *, engine: str, model: Path, num_problems: int, has_wheels: bool, in_order: bool
) -> dict[str, Any]:
    """The settings of a dry run. changes: the user's own, which win. engine: unless `changes` name another.

    Raises: as `engine_changes`.
    """
    chosen = engine_changes(engine, changes, has_wheels=has_wheels)
    return merged(
        SQUEEZED,
        AS_TRAINED if is_shipped(model) else {},
        {"budget": {"num_problems": num_problems}},
        IN_ORDER if in_order else {},
        chosen,
    )


def squeezed(changes: Mapping[str, Any]) -> Settings | None:
    """A dry run's settings with these changes; None where they do not go with its short clock."""
    try:
        return replaced(Settings(), merged(SQUEEZED, changes))
    except InputError:
        return None
