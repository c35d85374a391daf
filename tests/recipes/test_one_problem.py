"""One problem by the submission's solver, as `kit solve` and `kit.solve` ask it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.errors import EngineError, InputError, MissingError
from kit.recipes.one_problem import Question, ask, solve
from kit.solver.journal import Record

SUM = "What is $1+1$?"


def test_a_problem_is_answered_the_same_each_time() -> None:
    first, again = (solve(SUM, num_samples=3, settings={"solver": {"in_order": True}}) for _ in range(2))
    assert 0 <= first.answer <= 99_999
    assert first.num_samples <= 3
    assert (first.answer, first.votes) == (again.answer, again.votes)


def test_each_attempt_is_shown_as_it_ends() -> None:
    records: list[Record] = []
    solution = ask(Question(text=SUM, num_samples=3), on_record=records.append)
    ended = [record for record in records if record["kind"] == "sample"]
    assert len(ended) == solution.num_samples
    assert all(record["text"] for record in ended)


def test_the_recursive_engine_recurses_by_the_shipped_trm() -> None:
    changes = {"solver": {"depths": [2]}}
    solution = ask(Question(text=SUM, engine="trm", num_samples=1, changes=changes))
    assert solution.depth == 2


@pytest.mark.slow
def test_a_prompt_with_python_has_sandboxes() -> None:
    """The shipped model writes no code; but the pool is opened, and closed again."""
    assert solve(SUM, num_samples=2, settings={"solver": {"prompt": "python"}}).num_samples


def test_settings_are_a_submissions_with_time_for_one_problem() -> None:
    settings = Question(text=SUM).settings
    assert (settings.budget.limit_s, settings.budget.num_problems, settings.seed) == (300, 1, 0)
    assert (settings.solver.prompt, settings.engine.dtype) == ("auto", "float32")
    settings = Question(text=SUM, model=Path("else"), num_samples=5, changes={"seed": 4}).settings
    assert (settings.solver.prompt, settings.solver.stop.num_samples, settings.seed) == ("auto", 5, 4)
    assert settings.solver.sampling.max_new_tokens is None


def test_a_number_of_samples_says_more_than_a_recipe_and_an_engine_that_is_set_more_than_the_argument() -> None:
    changes = {"solver": {"stop": {"num_samples": 2}}, "engine": {"kind": "trm"}}
    settings = Question(text=SUM, num_samples=9, changes=changes).settings
    assert (settings.solver.stop.num_samples, settings.engine.kind) == (9, "trm")
    assert settings.solver.depths == (3, 5, 10)


def test_bad_input_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the problem is empty"):
        solve(" \n")
    with pytest.raises(MissingError, match="no model folder at"):
        solve(SUM, model=tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"did you mean 'solver\.width'"):
        solve(SUM, settings={"solver": {"widht": 1}})
    with pytest.raises(InputError, match=r"solver.stop.num_samples must be >= 1, got 0"):
        solve(SUM, num_samples=0)


def test_no_time_for_any_attempt_is_an_error_and_no_guess() -> None:
    with pytest.raises(EngineError, match=r"out of time.*--set budget.limit_s"):
        solve(SUM, settings={"budget": {"limit_s": 0.001}})
