"""Kaggle's facts stand in one module: nothing else in the kit spells a limit, port, path, name or time of theirs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.budget import BudgetConfig
from kit.kaggle import facts

SPELLED = re.compile(
    r"ai-mathematical-olympiad|submission\.parquet|test\.csv|\bKAGGLE_[A-Z]|(?<!\w)/kaggle|NvidiaH100|kagglegym"
    r"|(dataset|kernel|model)-metadata\.json|^kaggle_evaluation$|aimo_3_|AIMO3Inference|kaggle\.com|5005\d|600[56]\d"
    r"|GPL-3\.0|\.tar\.gz|access_token \(chmod"
)
NUMBERS = {*facts.EVALUATION_PORTS, *range(60053, 60064), facts.MAX_BYTES}


def constants(path: Path) -> Iterator[ast.Constant]:
    """Every constant of a module's code, texts within f-strings too, but no docstring and no comment."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in prose)


def test_no_other_module_of_the_kit_spells_one(repo: Path) -> None:
    found = [
        f"{path.relative_to(repo)}:{node.lineno}: {node.value!r}"
        for path in sorted((repo / "kit").rglob("*.py"))
        if path != repo / "kit" / "kaggle" / "facts.py"
        for node in constants(path)
        if (isinstance(node.value, str) and SPELLED.search(node.value))
        or (type(node.value) in (int, float) and node.value in NUMBERS)
    ]
    assert found == []


def test_the_cores_defaults_are_the_competitions() -> None:
    assert (BudgetConfig().limit_s, BudgetConfig().num_problems) == (facts.NOTEBOOK_S, facts.NUM_PROBLEMS)


def test_the_ports_are_those_that_the_real_gateway_asks() -> None:
    expected = (50051, 60053, 60054, 60055, 60056, 60057, 60058, 60059, 60060, 60061, 60062)
    assert expected == facts.EVALUATION_PORTS


@pytest.mark.parametrize(
    ("name", "kept"), [("torch-2.9.1+cu128-cp312.whl", "torch-2.9.1cu128-cp312.whl"), ("a~b=c é.txt", "abc .txt")]
)
def test_names_lose_what_kaggle_strips(name: str, kept: str) -> None:
    assert facts.name_on_kaggle(name) == kept
