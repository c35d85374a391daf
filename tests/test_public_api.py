"""What `from kit import …` gives, and what it costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import kit

README = Path(__file__).parent.parent / "README.md"


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


def test_the_readmes_lines_solve_a_problem_and_so_does_one_line() -> None:
    """In one process, since each has torch to import."""
    (shown,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.S | re.M)
    one_line = "import kit; print(kit.solve('What is $1+1$?', num_samples=2).answer)"
    answers = [int(line) for line in python(shown + one_line).split()]
    assert len(answers) == 2
    assert all(0 <= answer <= 99_999 for answer in answers)
