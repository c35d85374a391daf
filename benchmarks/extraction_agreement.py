"""How often extraction and normalisation agree with the verdicts that others recorded on real outputs.

    python benchmarks/extraction_agreement.py [--all]

Reads the public data beside the checkout (../shared/data, or KIT_SHARED_DATA); without them it says so. It
prints a line for each data set and grader suite, then each disagreement where the gold answer is an integer.
Golds that are negative or beyond 99,999 compare like the others (`normalisation.integer` has no range). A
gold that is no integer cannot be an answer of the contest: there the right outcome is that nothing is read,
and `--all` lists the texts from which an integer was read all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.answers.extraction import extract
from kit.answers.normalisation import Rejection, integer

OUTPUTS = ("gsm8k_openai_examples", "gsm8k_tora70b_first300", "math_nemo_rs3x50", "openmathinstruct2_sample")
GRADER_CASES = ("Math-Verify", "NeMo-Skills", "hendrycks-math")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One verdict of somebody else's beside ours."""

    id: str
    gold: str
    gold_is_integer: bool
    answer: str  # what extraction took
    reading: int | Rejection | None  # None: no answer was found
    recorded: bool
    ours: bool

    @property
    def is_disagreement(self) -> bool:
        return self.gold_is_integer and self.recorded is not self.ours

    @property
    def is_false_integer(self) -> bool:
        """An integer was read where someone judged an answer right that is none."""
        return not self.gold_is_integer and self.recorded and isinstance(self.reading, int)


def shared_data() -> Path:
    return Path(os.environ.get("KIT_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def output_cases(data: Path, name: str) -> list[Case]:
    """The recorded completions: whether what we read equals the gold, and whether others found it so."""
    cases = []
    for row in rows(data / "outputs" / f"{name}.jsonl"):
        gold = integer(row["gold"])
        raw = extract(row["output"])
        reading = integer(raw.text) if raw else None
        cases.append(
            Case(
                id=row["id"],
                gold=row["gold"],
                gold_is_integer=isinstance(gold, int),
                answer=raw.text if raw else "",
                reading=reading,
                recorded=row["correct"],
                ours=isinstance(gold, int) and reading == gold,
            )
        )
    return cases


# A gold of the "integer answer" kind, in the suites' own spellings; written apart from `normalise` on purpose.
_INTEGER_GOLD = re.compile(
    r"""[$\\\[\s]*(?:So[ ]the[ ]answer[ ]is:[ ]\\\[[ ]\\boxed\{)?(?:\\\$)?
    -?(?:\d+|[1-9]\d{0,2}(?:,\d{3})+)(?:\.0)?
    (?:\\?%|\^\\circ|\\text\{[^}]*\})?[\s$}\]\\]*""",
    re.VERBOSE,
)


def grader_cases(data: Path, name: str) -> list[Case]:
    """The peers' unit tests whose gold is an integer: (gold, prediction, equal or not).

    Predictions are single answers in some tests and sentences in others: where extraction finds an answer it
    is read, else the text is read as it stands.
    """
    cases = []
    for row in rows(data / "grader_cases" / f"{name}.jsonl"):
        gold, prediction = row.get("args") or (row.get("gold"), row.get("pred"))
        if gold is None or prediction is None or not _INTEGER_GOLD.fullmatch(str(gold)):
            continue
        golden = extract(str(gold))
        gold_value = integer(golden.text if golden else str(gold))
        raw = extract(str(prediction))
        reading = integer(raw.text if raw else str(prediction))
        cases.append(
            Case(
                id=f"{row['id']} {row['test']}",
                gold=str(gold),
                gold_is_integer=True,
                answer=raw.text if raw else str(prediction),
                reading=reading,
                recorded=bool(row["expected"]),
                ours=isinstance(gold_value, int) and reading == gold_value,
            )
        )
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description="agreement of extraction with recorded verdicts")
    parser.add_argument("--all", action="store_true", help="also list integers read where the gold is none")
    list_all = parser.parse_args().all
    data = shared_data()
    if not data.is_dir():
        print(f"no recorded outputs at {data}: nothing to compare (set KIT_SHARED_DATA)")
        return
    groups = {name: output_cases(data, name) for name in OUTPUTS}
    groups |= {name: grader_cases(data, name) for name in GRADER_CASES}
    print(f"{'data':26} {'texts':>6} {'integer gold':>12} {'agree':>6} {'disagree':>8} {'false integers':>14}")
    for name, cases in groups.items():
        integral = sum(case.gold_is_integer for case in cases)
        disagree = sum(case.is_disagreement for case in cases)
        false = sum(case.is_false_integer for case in cases)
        print(f"{name:26} {len(cases):6} {integral:12} {integral - disagree:6} {disagree:8} {false:14}")
    for name, cases in groups.items():
        for case in cases:
            if case.is_disagreement or (list_all and case.is_false_integer):
                print(
                    f"{name} {case.id}: gold {case.gold!r}, took {case.answer[:70]!r}, read {case.reading!r}, "
                    f"recorded {'right' if case.recorded else 'wrong'}"
                )


if __name__ == "__main__":
    main()
