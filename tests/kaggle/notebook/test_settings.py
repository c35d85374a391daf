from __future__ import annotations

import pytest

from kit.config import flattened
from kit.errors import InputError
from kit.kaggle.environment import SETTINGS_VARIABLE
from kit.kaggle.notebook.settings import FIRST, Settings, overridden


def test_each_help_names_a_setting_that_is_there_and_the_first_are_twenty_five() -> None:
    names = [name for helps in FIRST.values() for name in helps]
    assert set(names) <= set(flattened(Settings()))
    assert len(names) == len(set(names)) == 25


def test_every_help_is_one_line() -> None:
    for helps in FIRST.values():
        for text in helps.values():
            assert "\n" not in text
            assert 5 < len(text) < 90


def test_the_environment_changes_settings() -> None:
    assert overridden(Settings(), {}) == Settings()
    assert overridden(Settings(), {SETTINGS_VARIABLE: '{"seed": 3}'}).seed == 3
    for text, says in (("{", "is not JSON"), ("[]", "must be a JSON object"), ('{"sed": 1}', "did you mean 'seed'")):
        with pytest.raises(InputError, match=says):
            overridden(Settings(), {SETTINGS_VARIABLE: text})


def test_a_recipe_has_the_runs_seed_and_everything_else_as_it_is_set() -> None:
    settings = Settings()
    recipe = settings.recipe(seed=11)
    assert recipe.solver.seed == 11
    assert (recipe.engine, recipe.reasoning, recipe.tools) == (settings.engine, settings.reasoning, settings.sandbox)
