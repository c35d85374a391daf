"""How often extraction and normalisation agree with the verdicts that others recorded on real outputs.

    python benchmarks/extraction_agreement.py [--all] [--math-verify PYTHON]

Reads the public data beside the checkout (../shared/data, or KIT_SHARED_DATA); without them it says so. It
prints a line for each data set and grader suite, then each disagreement where the gold answer is an integer.
Golds that are negative or beyond 99,999 compare like the others (`normalisation.integer` has no range). A
gold that is no integer cannot be an answer of the competition: there the right outcome is that nothing is read,
and `--all` lists the texts from which an integer was read all the same.

`--math-verify` names a Python that has math-verify (in an environment of its own) and adds a table of both readers side
by side, over every text of which it is known what it says: completions that were judged right, the problems' own
solutions, graders' predictions that equal an integer, and the texts of `faults/`. Where the gold is no integer, reading
none is right. Of completions that were judged wrong nobody knows what they say; they are counted below the table, by
whether the readers agree.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.answers.extraction import extract
from kit.answers.normalisation import integer
from kit.answers.rejection import Rejection

OUTPUTS = ("gsm8k_openai_examples", "gsm8k_tora70b_first300", "math_nemo_rs3x50", "openmathinstruct2_sample")
SOLUTIONS = {"gsm8k_train": "answer", "gsm8k_test": "answer", "math500_test": "solution"}  # by the field they are in
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A text of which it is known what it says; None: no integer."""

    group: str
    text: str
    says: int | None


@dataclass(frozen=True, slots=True)
class Reader:
    """What one reader made of the texts, and the CPU milliseconds of each."""

    name: str
    answers: list[int | None]
    ms: list[float]


def known_texts(data: Path) -> Iterator[Known]:
    for name in OUTPUTS:
        for row in rows(data / "outputs" / f"{name}.jsonl"):
            gold = integer(row["gold"])
            if row["correct"]:
                yield Known(group=name, text=row["output"], says=gold if isinstance(gold, int) else None)
    for name, solution in SOLUTIONS.items():
        for row in rows(data / "problems" / f"{name}.jsonl"):
            gold = integer(row["answer"].rpartition("####")[2].strip())
            yield Known(group=name, text=row[solution], says=gold if isinstance(gold, int) else None)
    for name in GRADER_CASES:
        for row in rows(data / "grader_cases" / f"{name}.jsonl"):
            gold_text, prediction = row.get("args") or (row.get("gold"), row.get("pred"))
            if prediction is None or not row["expected"] or not _INTEGER_GOLD.fullmatch(str(gold_text)):
                continue
            golden = extract(str(gold_text))
            gold = integer(golden.text if golden else str(gold_text))
            if isinstance(gold, int):
                yield Known(group=name, text=str(prediction), says=gold)
    for row in rows(data / "faults" / "answers.jsonl"):
        yield Known(group="faults", text=row["text"], says=row["expect"])


def unknown_texts(data: Path) -> Iterator[Known]:
    """Completions that were judged wrong."""
    for name in OUTPUTS:
        for row in rows(data / "outputs" / f"{name}.jsonl"):
            if not row["correct"]:
                yield Known(group=name, text=row["output"], says=None)


def print_agreement(texts: list[Known], ours: Reader, theirs: Reader) -> None:
    pairs = list(zip(ours.answers, theirs.answers, strict=True))
    same = sum(our == their for our, their in pairs)
    only_ours = sum(their is None and our is not None for our, their in pairs)
    only_theirs = sum(our is None and their is not None for our, their in pairs)
    print(
        f"judged wrong: {len(texts)} texts, read alike {same}, an integer by {ours.name} alone {only_ours}, "
        f"by {theirs.name} alone {only_theirs}, two integers {len(texts) - same - only_ours - only_theirs}"
    )


def kit_reader(texts: list[Known]) -> Reader:
    answers: list[int | None] = []
    ms = []
    for known in texts:
        start = time.process_time()
        raw = extract(known.text)
        # A grader's prediction may be a bare answer, which no completion is.
        said = raw.text if raw else known.text if known.group in GRADER_CASES else ""
        number = integer(said)
        ms.append(1000 * (time.process_time() - start))
        answers.append(number if isinstance(number, int) else None)
    return Reader("kit", answers, ms)


def math_verify_reader(python: str, texts: list[Known]) -> Reader:
    child = Path(__file__).with_name("math_verify_reader.py")
    lines = "".join(json.dumps({"text": known.text}) + "\n" for known in texts)
    done = subprocess.run([python, str(child)], input=lines, capture_output=True, text=True, check=True)
    read = [json.loads(line) for line in done.stdout.splitlines()]
    return Reader("math-verify", [row["answer"] for row in read], [row["ms"] for row in read])


def print_side_by_side(texts: list[Known], readers: list[Reader]) -> None:
    print()
    print(
        f"{'data':26} {'texts':>6} {'reader':12} {'right':>6} {'wrong':>6} {'refused':>8} {'mean ms':>8} {'max ms':>7}"
    )
    for group in dict.fromkeys(known.group for known in texts):
        places = [place for place, known in enumerate(texts) if known.group == group]
        for reader in readers:
            right = sum(reader.answers[place] == texts[place].says for place in places)
            refused = sum(reader.answers[place] is None and texts[place].says is not None for place in places)
            ms = [reader.ms[place] for place in places]
            print(
                f"{group:26} {len(places):6} {reader.name:12} {right:6} {len(places) - right - refused:6} {refused:8} "
                f"{sum(ms) / len(ms):8.3f} {max(ms):8.1f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="agreement of extraction with recorded verdicts")
    parser.add_argument("--all", action="store_true", help="also list integers read where the gold is none")
    parser.add_argument("--math-verify", metavar="PYTHON", help="a Python that has math-verify, to compare with")
    options = parser.parse_args()
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
            if case.is_disagreement or (options.all and case.is_false_integer):
                print(
                    f"{name} {case.id}: gold {case.gold!r}, took {case.answer[:70]!r}, read {case.reading!r}, "
                    f"recorded {'right' if case.recorded else 'wrong'}"
                )
    if options.math_verify:
        texts = list(known_texts(data))
        print_side_by_side(texts, [kit_reader(texts), math_verify_reader(options.math_verify, texts)])
        wrong = list(unknown_texts(data))
        print_agreement(wrong, kit_reader(wrong), math_verify_reader(options.math_verify, wrong))


if __name__ == "__main__":
    main()
