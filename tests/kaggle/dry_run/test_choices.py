"""Which settings a dry run has."""

from __future__ import annotations

import json
from pathlib import Path

from kit.assets import TINY_MODEL
from kit.config import replaced
from kit.kaggle.dry_run.choices import dry_run_settings, limit_s
from kit.recipes.settings import Settings
from kit.solver.config import SamplingChoice


def settings(changes: dict[str, object], *, model: Path = TINY_MODEL, in_order: bool = False) -> Settings:
    made = dry_run_settings(
        changes, engine="transformers", model=model, num_problems=7, has_wheels=False, in_order=in_order
    )
    return replaced(Settings(), made)


def test_a_dry_run_of_the_shipped_model_is_squeezed_and_leaves_sampling_and_prompt_to_the_model() -> None:
    made = settings({})
    assert (made.budget.limit_s, made.budget.num_problems, made.solver.prompt) == (240, 7, "auto")
    assert made.solver.sampling == SamplingChoice()


def model_of_size(folder: Path, *, layers: int) -> Path:
    shape = {"hidden_size": 1024, "num_hidden_layers": layers, "num_attention_heads": 8, "vocab_size": 32_000}
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **shape}))
    return folder


def test_the_clock_of_a_users_own_model_follows_its_size_and_its_attempts(tmp_path: Path) -> None:
    small = settings({}, model=model_of_size(tmp_path, layers=2)).budget
    large = settings({}, model=model_of_size(tmp_path, layers=96)).budget
    assert 240 < small.limit_s < large.limit_s == 5 * 3600
    short = {"solver": {"sampling": {"max_new_tokens": 16}}}
    assert settings(short, model=tmp_path).budget.limit_s < large.limit_s
    assert settings({"budget": {"limit_s": 99.0}}, model=tmp_path).budget.limit_s == 99
    assert settings({}, model=tmp_path).engine.dtype == "float32"


def test_a_dry_run_lasts_no_less_than_four_minutes_and_no_more_than_the_competition() -> None:
    assert limit_s(0, Settings(), num_problems=1) >= 240
    assert limit_s(10**12, Settings(), num_problems=50) == 5 * 3600


def test_what_the_user_sets_wins_over_everything() -> None:
    made = settings({"budget": {"limit_s": 60.0}, "solver": {"prompt": "boxed", "in_order": False}}, in_order=True)
    assert (made.budget.limit_s, made.solver.prompt, made.solver.in_order) == (60, "boxed", False)
    assert made.budget.reserve_s == 20


def test_a_given_seed_counts_samples_in_order() -> None:
    assert settings({}, in_order=True).solver.in_order
    assert not settings({}).solver.in_order
