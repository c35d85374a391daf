"""`kit settings`: the list, and the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit import cli
from kit.assets import TINY_MODEL
from kit.config import flattened
from kit.recipes.settings import FIRST, Settings


def test_what_matters_first_has_help_and_everything_is_listed_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings"]) == 0
    out = capsys.readouterr().out
    lines = [line.strip() for line in out.splitlines()]
    listed = [line.partition("=")[0] for line in lines if line.partition("=")[0] in flattened(Settings())]
    assert sorted(listed) == sorted(flattened(Settings()))
    assert listed[:25] == [name for helps in FIRST.values() for name in helps]
    assert any(
        line.startswith("solver.width=8  ") and line.endswith("where time is short they are fewer, each faster")
        for line in lines
    )
    assert any(line.startswith("budget.limit_s=18000.0") and line.endswith("(dry run: 240.0)") for line in lines)


def test_what_is_chosen_is_listed_as_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings", "--set", "solver.width=2"]) == 0
    assert "solver.width=2 " in capsys.readouterr().out


def test_what_a_model_says_of_itself_is_listed_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings", "--model", str(TINY_MODEL), "--set", "solver.sampling.top_p=0.9"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.endswith("family the kit's toy")
    told = {line.split()[0]: " ".join(line.split()[1:]) for line in lines}
    assert told["solver.sampling.temperature=1.0"] == "generation_config.json"
    assert told["solver.sampling.top_p=0.9"] == "set by you"
    assert told["solver.sampling.max_new_tokens=128"] == "family the kit's toy"
    assert told["solver.sampling.presence_penalty=0.0"] == "nobody says otherwise"


def test_a_model_of_no_known_family_is_listed_with_what_was_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "newcomer"}')
    assert cli.main(["settings", "--model", str(tmp_path)]) == 0
    assert "no family of the kit knows this model (newcomer)" in capsys.readouterr().out


def test_a_recipe_is_written_for_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.toml"
    assert cli.main(["settings", "--write", str(recipe), "--set", "solver.width=2"]) == 0
    assert f"kit dry-run --config {recipe}" in capsys.readouterr().out
    assert cli.main(["settings", "--config", str(recipe)]) == 0
    assert "solver.width=2 " in capsys.readouterr().out
    assert cli.main(["settings", "--write", str(recipe)]) == 1
    assert f"{recipe}: is there already" in capsys.readouterr().err


def test_a_setting_that_is_not_there_is_one_error_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[solver]\nwidht = 2\n")
    assert cli.main(["settings", "--config", str(recipe)]) == 1
    says = f"kit: {recipe}, line 2: there is no setting 'solver.widht'; did you mean 'solver.width'?\n"
    assert capsys.readouterr().err == says
