"""What the GSM8K benchmark prints of runs: which arms are compared, and problems by their number of steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import recursion_gsm8k
from benchmarks.recursion_gsm8k import Condition, draw, pairs, pairs_table, steps_table
from kit.data.sets import load
from tests.evaluation.runs import completion, run

RIGHTS = {0: (False, False, False), 3: (True, False, False), 10: (True, True, False)}  # by depth, a problem each


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Three problems, of one, two and three calculator marks."""
    marks = ["<<1+1=2>>", "<<2+1=3>>", "<<3+4=7>>"]
    rows = [{"question": f"What is it, {n}?", "answer": f"{' '.join(marks[-n:])}\n#### 7"} for n in (1, 2, 3)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def found(place: Path) -> list[Condition]:
    examples = load(f"gsm8k={place}", split="test").examples

    def drawn(rights: tuple[bool, ...], depth: int | None) -> list[object]:
        return [
            completion(of, 0, "7" if right else "1", depth=depth) for of, right in zip(examples, rights, strict=True)
        ]

    swept = run(
        examples, [each for depth, rights in RIGHTS.items() for each in drawn(rights, depth)], depths=tuple(RIGHTS)
    )
    tuned = run(examples, drawn((False, False, True), None))
    return [*(Condition("trm", swept, depth) for depth in RIGHTS), Condition("finetune", tuned, None)]


def test_all_are_compared_with_the_backbone_and_the_deepest_with_what_might_do_as_well(found: list[Condition]) -> None:
    named = [(first.name, second.name) for first, second in pairs(found)]
    assert named == [
        ("trm, T = 0", "trm, T = 3"),
        ("trm, T = 0", "trm, T = 10"),
        ("trm, T = 0", "finetune"),
        ("trm, T = 3", "trm, T = 10"),
        ("finetune", "trm, T = 10"),
    ]
    last = pairs_table(found).splitlines()[-1]
    assert "| 33.3 | 66.7 | +33.3 [" in last
    assert "| 1, 2 | 1 |" in last


def test_arms_without_a_recursion_have_no_pairs_and_no_fault(found: list[Condition]) -> None:
    assert not list(pairs([each for each in found if each.depth is None]))


def test_accuracy_is_told_by_the_marks_of_the_sets_own_solution(found: list[Condition], place: Path) -> None:
    heads, _, *rows = [line.strip("| ").split(" | ") for line in steps_table(found, place).splitlines()]
    assert heads == ["arm", "1–2 steps (2)", "3 steps (1)", "4 steps (0)", "5 steps and more (0)"]
    by_name = {name: [cell.split(" ")[0] for cell in cells] for name, *cells in rows}
    assert by_name["trm, T = 10"] == ["100.0", "0.0", "–", "–"]
    assert by_name["finetune"] == ["0.0", "100.0", "–", "–"]


def test_a_picture_is_drawn(found: list[Condition], tmp_path: Path) -> None:
    draw({"gsm8k": found, "math500": found}, tmp_path / "accuracy.png")
    assert (tmp_path / "accuracy.png").stat().st_size > 10_000


def test_every_arm_is_one_that_kit_train_knows() -> None:
    assert recursion_gsm8k.OWN.keys() == recursion_gsm8k.RESULTS.keys()
