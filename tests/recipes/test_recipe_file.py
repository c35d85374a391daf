"""A recipe: read with places, refused with file and line, written with every setting."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from kit.config import flattened, replaced
from kit.errors import InputError, MissingError
from kit.recipes.recipe_file import Choices, chosen, recipe_text, write_recipe
from kit.recipes.settings import FIRST, Settings

RECIPE = """# mine
seed = 5
[budget]
num_problems = "null"

[solver]
width = 4
stop.rule = "votes(3)"
[engine.vllm]
settings = ["max_num_seqs=8"]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return written(tmp_path, RECIPE)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def applied(choices: Choices) -> Settings:
    with choices.located():
        return replaced(Settings(), choices.changes)


def test_a_recipe_changes_settings_and_set_wins_over_it(recipe: Path) -> None:
    settings = applied(chosen(recipe, ["solver.width=2", "budget.limit_s=900"]))
    assert (settings.seed, settings.solver.width, settings.solver.stop.rule) == (5, 2, "votes(3)")
    assert (settings.budget.num_problems, settings.budget.limit_s) == (None, 900)
    assert settings.engine.vllm.settings == ("max_num_seqs=8",)


def test_a_recipe_may_begin_with_the_mark_that_windows_writes(tmp_path: Path) -> None:
    path = tmp_path / "marked.toml"
    path.write_bytes(b"\xef\xbb\xbfsolver.width = 3\n")
    assert chosen(path, []).changes == {"solver": {"width": 3}}


def test_without_a_recipe_there_are_only_assignments() -> None:
    assert chosen(None, ["solver.width=2"]).changes == {"solver": {"width": 2}}
    assert chosen(None, []) == Choices({}, {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[solver]\n\nwidht = 3\n", "line 3: there is no setting 'solver.widht'; did you mean 'solver.width'?"),
        ("slover.width = 3\n", "line 1: there is no setting 'slover'; did you mean 'solver'?"),
        ("[slover]\nwidth = 3\n", "line 1: there is no setting 'slover'; did you mean 'solver'?"),
        (
            "temperature = 1.0\n",
            "line 1: there is no setting 'temperature'; did you mean 'solver.selection.temp",
        ),
        ('[solver]\nwidth = "3"\n', "line 2: solver.width must be an integer, got '3'"),
        ("[solver]\nwidth = 0\n", "line 2: solver.width must be >= 1, got 0"),
        ("[budget]\nlimit_s = 10.0\n", "line 2: budget.limit_s must be more than reserve_s"),
        ("[solver.stop]\nnum_samples = 3\nrule = 'vote(3)'\n", "line 3: solver.stop.rule: unknown stop rule 'vote'"),
        ("solver = {width = 0}\n", "line 1: solver.width must be >= 1, got 0"),
        (
            "[engine.vllm]\nsettings = ['max_num_seq=3']\n",
            "line 2: there is no setting 'engine.vllm.settings: max",
        ),
        ("[engine]\nkind = 2026-01-01\n", "line 2: engine.kind must be one of auto, transformers"),
        ("solver = 3\n", "line 1: solver is a group of settings"),
    ],
)
def test_what_is_refused_is_told_with_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=re.escape(f"{path}, {says}")):
        applied(chosen(path, []))


def test_an_assignment_that_is_refused_is_told_as_one(recipe: Path) -> None:
    with pytest.raises(InputError, match=r"^--set solver.width=0: solver.width must be >= 1, got 0$"):
        applied(chosen(recipe, ["solver.width=0"]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[solver\n", r"not TOML \(.*line 1.*\); write NAME = VALUE"),
        (b"a = 1\na = 2\n", r"not TOML \(Cannot overwrite a value .*line 2"),
        (b"\xff\xfe", "not a UTF-8 text"),
    ],
)
def test_an_unreadable_recipe_is_one_error_that_names_it(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: {says}"):
        chosen(path, [])


def test_a_recipe_that_is_absent_or_a_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no such recipe; `kit settings --write .*` writes one"):
        chosen(tmp_path / "recipe.toml", [])
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        chosen(tmp_path, [])


def test_a_written_recipe_holds_every_setting_and_sets_only_what_was_chosen(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    choices = chosen(None, ["solver.width=4", "seed=9"])
    write_recipe(path, choices)
    assert tomllib.loads(path.read_text()) == {
        "seed": 9,
        "budget": {},
        "solver": {name: {} for name in ("stop", "voting", "pacing", "selection", "sampling", "early_abort")}
        | {"width": 4},
        "engine": {"vllm": {"supervisor": {}}, "openai": {}},
        "reasoning": {},
        "sandbox": {},
        "prefetch": {},
    }
    assert applied(chosen(path, [])) == applied(choices)
    text = path.read_text()
    for helps in FIRST.values():
        for name, help_text in helps.items():
            assert re.search(rf"^(# )?{name.rpartition('.')[2]} = .*  # {re.escape(help_text)}$", text, re.MULTILINE)


def test_every_line_of_a_recipe_may_be_put_in_force(tmp_path: Path) -> None:
    """Nothing that --write makes is refused when it is read: all kinds of values survive TOML."""
    path = written(tmp_path, recipe_text(Settings(), is_set=lambda name: True, name="recipe.toml"))
    assert applied(chosen(path, [])) == Settings()
    assert "#" not in "".join(chosen(path, []).places)
    assert set(chosen(path, []).places) >= set(flattened(Settings()))


def test_a_recipe_is_never_written_over(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is there already; name another file"):
        write_recipe(recipe, chosen(None, []))
    assert recipe.read_text() == RECIPE
    with pytest.raises(InputError, match="did you mean"):
        write_recipe(tmp_path / "other.toml", chosen(None, ["solver.widht=3"]))
    assert not (tmp_path / "other.toml").exists()
