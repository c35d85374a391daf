"""What `from kit import …` gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kit

SIX_LINES = """
import trio
from kit import Budget, Problem, Solver, SolverConfig, open_engine

async def main() -> None:
    async with open_engine() as engine:  # or open_engine("path/to/model")
        solver = Solver(engine, Budget(), config=SolverConfig(prompt="plain"))
        print((await solver.solve(Problem("mine", "What is $1+1$?"))).answer)

trio.run(main)
"""


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_kit_imports_nothing_else() -> None:
    heavy = "'torch', 'transformers', 'trio', 'numpy', 'rich', 'sympy', 'anyio', 'dataclasses'"
    told = python(
        "import sys, kit; "
        f"print([m for m in ({heavy}) if m in sys.modules], [m for m in sys.modules if m[:4] == 'kit.'])"
    )
    assert told == "[] []\n"


def test_each_public_name_is_there_and_no_other() -> None:
    for name in kit.__all__:
        assert getattr(kit, name).__name__ == name
    assert set(kit.__all__) < set(dir(kit))
    assert kit._MODULES.keys() == set(kit.__all__)
    with pytest.raises(AttributeError, match=r"no attribute 'Solvre'; public are Budget, "):
        kit.Solvre  # noqa: B018


def test_a_problem_is_solved_in_a_few_lines_and_in_one() -> None:
    """In one process, since each has torch to import."""
    one_line = "import kit; print(kit.solve('What is $1+1$?', num_samples=2).answer)"
    answers = [int(line) for line in python(SIX_LINES + one_line).split()]
    assert len(answers) == 2
    assert all(0 <= answer <= 99_999 for answer in answers)
