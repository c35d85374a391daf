"""Agreement with recorded verdicts on public data, read from beside the checkout and skipped where absent."""

import csv
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kit.answers.modulus import stated_modulus

REPO = Path(__file__).resolve().parents[2]


def load_benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("agreement", REPO / "benchmarks" / "extraction_agreement.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


agreement = load_benchmark()
DATA: Path = agreement.shared_data()
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no public data at {DATA} (set KIT_SHARED_DATA)")


def disagreements(cases: list[object]) -> set[str]:
    return {case.id for case in cases if case.is_disagreement}  # type: ignore[attr-defined]


# Each was read by hand; `correct` in these files is the verdict of somebody's grader.
EXPLAINED = {
    "gsm8k_openai_examples": set(),
    # No box and no stated answer: their grader takes the printed output of the code, or a number from prose.
    "gsm8k_tora70b_first300": {f"tora-70b-v1.0/{index}" for index in (14, 98, 118, 288)},
    # All seven are recorded as wrong, and what we read is the gold.
    "math_nemo_rs3x50": {
        "train/number_theory/106.json/rs0",  # took the box of an invented question
        "train/prealgebra/888.json/rs0",  # took the box of an invented instruction, `\boxed{[answer]}`
        "train/prealgebra/888.json/rs1",  # took the box of an invented question
        "train/algebra/635.json/rs2",  # took an empty box of an invented instruction
        "train/number_theory/918.json/rs2",  # the same
        "train/prealgebra/737.json/rs0",  # did not read "1320 km"
        "train/algebra/2027.json/rs0",  # did not read "(x+y)^2=81"
        "train/number_theory/7086.json/rs1",  # did not know \fbox
    },
    "openmathinstruct2_sample": set(),
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_disagrees_with_recorded_verdicts_only_where_explained(name: str) -> None:
    cases = agreement.output_cases(DATA, name)
    assert len(cases) == {"gsm8k_openai_examples": 5276, "gsm8k_tora70b_first300": 300, "math_nemo_rs3x50": 150}.get(
        name, 100
    )
    assert disagreements(cases) == EXPLAINED[name]


@pytest.mark.parametrize("name", EXPLAINED)
def test_reads_no_integer_from_a_right_answer_that_is_none(name: str) -> None:
    assert [case for case in agreement.output_cases(DATA, name) if case.is_false_integer] == []


EXPLAINED_CASES = {
    "Math-Verify": {
        "Math-Verify-28 test_latex_notation",  # `$ ⏎ 9 ⏎ $` is no formula to them; to us it states 9
        "Math-Verify-29 test_latex_notation",
        "Math-Verify-98 test_relations_math",  # `x \approx 11`: we accept no approximation
        "Math-Verify-136 test_math_extraction_edge_cases",  # their last number in prose; ours is never from prose
        "Math-Verify-150 test_math_extraction_additional_cases",
        "Math-Verify-157 test_math_extraction_additional_cases",
        "Math-Verify-166 test_math_extraction_additional_cases",  # boxes two steps, states the end: our box wins
    },
    "NeMo-Skills": set(),
    "hendrycks-math": set(),
}


@pytest.mark.parametrize("name", EXPLAINED_CASES)
def test_disagrees_with_peers_grader_tests_only_by_policy(name: str) -> None:
    cases = agreement.grader_cases(DATA, name)
    assert len(cases) == {"Math-Verify": 57, "NeMo-Skills": 9, "hendrycks-math": 4}[name]
    assert disagreements(cases) == EXPLAINED_CASES[name]


def test_finds_the_modulus_of_every_reference_problem() -> None:
    with (DATA / "problems" / "aimo3_reference.csv").open(encoding="utf-8", newline="") as file:
        found = {row["id"]: stated_modulus(row["problem"]) for row in csv.DictReader(file)}
    assert found == {
        "0e644e": 10**5, "26de63": 5**7, "424e18": 10**5, "42d360": 10**5, "641659": 99_991, "86e8e5": 99_991,
        "92ba6a": None, "9c1c5f": None, "a295e9": 10**5, "dd7f5e": None,
    }  # fmt: skip


def problems(name: str) -> list[dict[str, str]]:
    lines = (DATA / "problems" / name).read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", ["aime24_nemo.jsonl", "amc23.jsonl", "math500_test.jsonl", "gsm8k_test.jsonl"])
def test_a_stated_modulus_never_changes_a_right_answer(name: str) -> None:
    """The test of a false find: the published answer would be reduced by it."""
    for problem in problems(name):
        modulus = stated_modulus(problem.get("problem") or problem["question"])
        if modulus is not None:
            answer = float(problem["answer"])
            assert answer == answer % modulus, problem


def test_finds_a_modulus_only_in_the_problems_that_ask_for_a_remainder() -> None:
    """Counted by hand: ten of MATH-500 (4 of them units digits or `mod` wordings), one of AIME 2024."""
    found = {
        name: sum(stated_modulus(problem["problem"]) is not None for problem in problems(name))
        for name in ("math500_test.jsonl", "aime24_nemo.jsonl", "amc23.jsonl")
    }
    assert found == {"math500_test.jsonl": 10, "aime24_nemo.jsonl": 1, "amc23.jsonl": 2}
