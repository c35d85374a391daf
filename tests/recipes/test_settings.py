from __future__ import annotations

from kit.config import flattened
from kit.recipes.settings import FIRST, Settings


def test_each_help_names_a_setting_that_is_there_and_the_first_are_twenty_five() -> None:
    names = [name for helps in FIRST.values() for name in helps]
    assert set(names) <= set(flattened(Settings()))
    assert len(names) == len(set(names)) == 25


def test_every_help_is_one_line() -> None:
    for helps in FIRST.values():
        for text in helps.values():
            assert "\n" not in text
            assert 5 < len(text) < 90


def test_attempts_have_the_runs_seed_and_everything_else_as_it_is_set() -> None:
    settings = Settings()
    attempts = settings.attempts(seed=11)
    assert attempts.solver.seed == 11
    assert (attempts.engine, attempts.reasoning, attempts.tools) == (
        settings.engine,
        settings.reasoning,
        settings.sandbox,
    )
