"""How often the kit's grades agree with the verdicts that others recorded: on real outputs, and in graders' own tests.

    python -m benchmarks.grading_agreement

Reads the public data beside the checkout (../shared/data, or KIT_SHARED_DATA); without them it says so. Prints a table
with a row for each suite, then each disagreement with its class. The classes are told by rules that look at the two
texts alone; what no rule tells is "other". In a grader's test the gold is what is boxed in it, or all of it, and so is
the answer, since many tests hold a bare answer and no completion.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.extraction_agreement import GRADER_CASES, OUTPUTS, rows, shared_data
from kit.answers.extraction import extract
from kit.data.examples import AnswerForm, MathExample
from kit.evaluation.expressions import bare
from kit.evaluation.grading import Grader
from kit.evaluation.records import Grade
from kit.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A text to grade and somebody's verdict.

    raw: the test's own gold and answer, as far as it is one of a grader. options: where its grader was set otherwise.
    """

    id: str
    text: str
    example: MathExample
    recorded: bool
    raw: str = ""
    options: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    case: Case
    strict: Grade
    lenient: Grade

    @property
    def agrees(self) -> bool:
        return self.strict.is_right is self.case.recorded


def example(gold: str, form: AnswerForm = AnswerForm.EXPRESSION) -> MathExample:
    return MathExample(problem=Problem("", ""), gold=gold, form=form)


def output_cases(data: Path, name: str) -> Iterator[Case]:
    for row in rows(data / "outputs" / f"{name}.jsonl"):
        form = AnswerForm.INTEGER if name.startswith("gsm8k") else AnswerForm.EXPRESSION
        yield Case(id=row["id"], text=row["output"], example=example(row["gold"], form), recorded=row["correct"])


def grader_cases(data: Path, name: str) -> Iterator[Case]:
    for row in rows(data / "grader_cases" / f"{name}.jsonl"):
        gold, answer = row.get("args") or (row.get("gold"), row.get("pred"))
        if gold is None or answer is None:
            continue  # a test of extraction alone, or one whose texts are made by code
        yield Case(
            id=f"{row['id']} {row['test']}",
            text=as_completion(str(answer)),
            example=example(as_gold(str(gold))),
            raw=f"{gold} <> {answer}",
            recorded=bool(row["expected"]),
            options=", ".join(f"{key}={row[key]}" for key in OPTIONS if key in row),
        )


def as_gold(text: str) -> str:
    """A test's gold alone: all that it boxes, else its answer, else all of it."""
    boxes = re.findall(r"\\boxed\{([^{}]*)\}", text)
    found = extract(text, prefers_integer=False)
    return ", ".join(boxes) if len(boxes) > 1 else found.text if found else bare(text)


OPTIONS = ("precision", "strict", "allow_set_relation_comp")  # of math-verify's own tests

# Two words in a row, outside of commands and `\\text{}`: a sentence, which is graded as the completion that it is.
_SENTENCE = re.compile(r"(?<![\\{A-Za-z])[A-Za-z]{2,}[ ,:]+[A-Za-z]{2,}\b(?!\})")


def as_completion(answer: str) -> str:
    is_completion = extract(answer, prefers_integer=False) is not None or _SENTENCE.search(answer) is not None
    return answer if is_completion else f"\\boxed{{{bare(answer)}}}"


def reason(graded: Graded) -> str:
    """The class of a disagreement, from its texts alone."""
    case = graded.case
    whole = case.raw or case.text
    return next((told for told, holds in _classes(graded, whole) if holds), "other")


def _classes(graded: Graded, whole: str) -> Iterator[tuple[str, bool]]:
    case, answer = graded.case, graded.strict.answer
    yield f"their grader was set otherwise ({case.options})", bool(case.options)
    yield "neither boxed nor stated: strict reads nothing", answer is None and "\\boxed" not in case.text
    yield "the box cannot be read", answer is None
    yield "we read the gold, their reader another piece or none", not case.raw and graded.strict.is_right
    has_several = any(text.count("\\boxed") > 1 for text in whole.split(" <> "))
    yield "several boxes: they join them, we read the last", has_several
    yield "a comma for the decimal point", re.search(r"\d,\d{1,2}(?!\d)", whole) is not None and bool(case.raw)
    is_list = "," in case.example.gold
    yield "a list in another order", is_list and _parts(case.example.gold) == _parts(answer or "")
    yield "a statement after the box contradicts it", "\\boxed" in case.text and "nswer" in case.text
    yield "a formula broken over lines, which they do not read", re.search(r"(?:\$|\\\()\s*\n", whole) is not None
    yield "`32, 349` and its like are one number for our reader", graded.strict.is_right
    yield "math-verify gives no verdict, or another, on what we read", not graded.strict.is_right


def _parts(answer: str) -> list[str]:
    return sorted(part.strip().removeprefix("0") for part in answer.split(","))


def main() -> None:
    data = shared_data()
    if not data.is_dir():
        print(f"no recorded outputs at {data}: nothing to compare (set KIT_SHARED_DATA)")
        return
    suites: dict[str, Any] = {name: output_cases(data, name) for name in OUTPUTS}
    suites |= {name: grader_cases(data, name) for name in GRADER_CASES}
    graded: dict[str, list[Graded]] = {}
    print(f"{'suite':26} {'cases':>6} {'agree':>6} {'disagree':>8} {'lenient right, strict not':>26} {'ms a case':>9}")
    with Grader() as grader:
        for name, cases in suites.items():
            begun_s = time.perf_counter()
            graded[name] = [_grade(grader, case) for case in cases]
            ms = 1000 * (time.perf_counter() - begun_s) / len(graded[name])
            agree = sum(found.agrees for found in graded[name])
            gained = sum(found.lenient.is_right and not found.strict.is_right for found in graded[name])
            num = len(graded[name])
            print(f"{name:26} {num:6} {agree:6} {num - agree:8} {gained:26} {ms:9.2f}", flush=True)
    for name, found in graded.items():
        _print_disagreements(name, [one for one in found if not one.agrees])


def _grade(grader: Grader, case: Case) -> Graded:
    strict, lenient = grader.grade(case.text, case.example)
    return Graded(case=case, strict=strict, lenient=lenient)


def _print_disagreements(name: str, found: list[Graded]) -> None:
    if not found:
        return
    print(f"\n{name}: {', '.join(f'{count} {told}' for told, count in Counter(map(reason, found)).most_common())}")
    for one in found:
        read = f"{one.strict.answer!r}{' (lenient right)' if one.lenient.is_right else ''}"
        verdict = "right" if one.case.recorded else "wrong"
        print(f"  {one.case.id}: {reason(one)}: gold {one.case.example.gold[:60]!r}, read {read}, recorded {verdict}")


if __name__ == "__main__":
    main()
