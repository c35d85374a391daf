"""Which settings a dry run has."""

from __future__ import annotations

from pathlib import Path

from kit.assets import TINY_MODEL
from kit.config import replaced
from kit.kaggle.dry_run.choices import dry_run_settings
from kit.recipes.settings import Settings


def settings(changes: dict[str, object], *, model: Path = TINY_MODEL, in_order: bool = False) -> Settings:
    made = dry_run_settings(
        changes, engine="transformers", model=model, num_problems=7, has_wheels=False, in_order=in_order
    )
    return replaced(Settings(), made)


def test_a_dry_run_is_squeezed_and_asks_the_shipped_model_as_it_was_trained(tmp_path: Path) -> None:
    made = settings({})
    assert (made.budget.limit_s, made.budget.num_problems, made.solver.prompt) == (240, 7, "plain")
    assert settings({}, model=tmp_path).solver.prompt == "boxed"


def test_what_the_user_sets_wins_over_everything() -> None:
    made = settings({"budget": {"limit_s": 60.0}, "solver": {"prompt": "boxed", "in_order": False}}, in_order=True)
    assert (made.budget.limit_s, made.solver.prompt, made.solver.in_order) == (60, "boxed", False)
    assert made.budget.reserve_s == 20


def test_a_given_seed_counts_samples_in_order() -> None:
    assert settings({}, in_order=True).solver.in_order
    assert not settings({}).solver.in_order
