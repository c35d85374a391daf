r"""A row of any of the sets in, a MathExample out, or why it is none.

Columns that are known: `question` or `problem`; `answer`, the gold alone or a worked solution that ends in `#### N`
(GSM8K); `solution`, whose last whole box is the gold where there is no `answer` (MATH, NuminaMath); `id` or
`unique_id`; `level` (`Level 5` is `5`); `subject` or `type`; `steps`, a list of the results before the gold (in CSV
as JSON), which GSM8K tells by its calculator marks. A gold such as `27.0` is the integer 27.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from kit.answers.extraction import last_boxed
from kit.answers.normalisation import integer
from kit.data.examples import AnswerForm, MathExample
from kit.data.solutions import calculated, hashed_gold, repaired, straight_quotes
from kit.errors import InputError
from kit.json_text import read_json
from kit.problem import Problem

Row = Mapping[str, Any]

QUESTIONS, ANSWERS = ("problem", "question"), ("answer", "solution")
_IDS, _SUBJECTS = ("id", "unique_id"), ("subject", "type")
_WANTED = "expected problem or question, and answer (the gold, or GSM8K's `#### N`) or solution (with a \\boxed{})"


class LeftOut(StrEnum):
    """Why a row of a set with mixed rows is no example."""

    PROOF = "proofs"
    NO_GOLD = "without a final answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the rows of one set are read.

    form: of every gold; None: each by what it looks like. is_mixed: whether the set has rows without a gold, which are
    then left out, where in other sets they are an error.
    """

    form: AnswerForm | None = None
    is_mixed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a row stands: its set or file, and its number from 1."""

    source: str
    number: int

    def __str__(self) -> str:
        return f"{self.source}: row {self.number}"


def example_of(row: Row, *, id_: str, place: Place, rules: Rules) -> MathExample | LeftOut:
    """Read one row. id_: for a row without its own.

    Raises: InputError for a column that is missing, an empty problem or gold, a gold that is no integer in a set of
        integers, and a character that no text has.
    """
    check_columns(row, place)
    question = next(name for name in QUESTIONS if name in row)
    as_written = _said(row, question, place)
    if not as_written:
        raise InputError(f"{place}: {question!r} is empty; fill it or remove the row")
    texts = {name: _sound(_said(row, name, place), place) for name in (question, *ANSWERS)}
    problem, raw_gold = straight_quotes(texts[question]), _raw_gold(texts)
    if rules.is_mixed and (why := _left_out(problem, raw_gold)):
        return why
    form, gold = _gold(raw_gold, place, rules.form)
    level = re.search(r"\d+", _text(row, "level"))
    return MathExample(
        problem=Problem(_first(row, _IDS) or id_, problem),
        gold=gold,
        form=form,
        solution=_solution(texts),
        steps=_steps(row, _solution(texts), gold, place),
        level=level[0] if level else "",
        subject=_first(row, _SUBJECTS),
        as_written=as_written if as_written != problem else "",
    )


def check_columns(columns: Iterable[str], place: Place) -> None:
    """Raise InputError unless a question and an answer are among the columns."""
    found = list(columns)
    for kinds in (QUESTIONS, ANSWERS):
        if not any(name in found for name in kinds):
            raise InputError(f"{place}: no column {kinds[0]!r}, found {', '.join(map(str, found))}; {_WANTED}")


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value).strip()


_EXACT_BELOW = 2**53  # a float of this size or more may stand for another integer


def _said(row: Row, name: str, place: Place) -> str:
    """A problem or an answer: a text or a number; NaN is how pandas writes that there is none."""
    value = row.get(name)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and math.isfinite(value) and abs(value) < _EXACT_BELOW:
        return str(int(value) if value.is_integer() else value)
    if isinstance(value, float):
        raise InputError(f"{place}: {name!r} is {value!r}, which no float holds exactly; write the number as a text")
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise InputError(f"{place}: {name!r} is {value!r}; expected a text or a number")
    return _text(row, name)


def _first(row: Row, names: Iterable[str]) -> str:
    return next(filter(None, (_text(row, name) for name in names)), "")


def _sound(text: str, place: Place) -> str:
    text = repaired(text)
    if "\x08" in text:
        raise InputError(
            f"{place}: holds a backspace character before {text[text.index(chr(8)) + 1 :][:10]!r}; a backslash was not "
            "doubled where the file was written: write `\\\\b` for `\\b` and make it again"
        )
    return text


# -------------------------------------------------------------------------------------------- golds

_NUMBER = re.compile(r"\$?[-−]?\$?\d[\d,]*(?:\.0*)?\$?", re.ASCII)


def _solution(texts: Mapping[str, str]) -> str:
    is_worked = hashed_gold(texts["answer"]) is not None
    return texts["answer"] if is_worked else texts["solution"]


def _steps(row: Row, solution: str, gold: str, place: Place) -> tuple[str, ...]:
    """Results before the gold: the column's, else the calculator marks'. The last one may be the gold itself."""
    told = row.get("steps")
    if isinstance(told, str):
        told = _listed(told)
    if told is None:
        found = calculated(solution)
    elif isinstance(told, (list, tuple)) and all(isinstance(each, (int, str)) for each in told):
        found = tuple(str(each).strip() for each in told)
    else:
        raise InputError(f"{place}: 'steps' is {told!r}; expected a list of results, such as [24, 72]")
    return found[:-1] if found and found[-1] == gold else found


def _listed(text: str) -> object:
    """A list as a field of a CSV file holds it, in JSON; None for a blank one."""
    try:
        return read_json(text) if text.strip() else None
    except ValueError:
        return text  # which is refused


def _raw_gold(texts: Mapping[str, str]) -> str:
    answer, solution = texts["answer"], texts["solution"]
    hashed = hashed_gold(answer)
    if hashed is not None:
        return hashed
    return answer or last_boxed(solution) or hashed_gold(solution) or ""


def _gold(raw: str, place: Place, form: AnswerForm | None) -> tuple[AnswerForm, str]:
    if not raw.strip():
        raise InputError(
            f"{place}: no gold answer: 'answer' is empty or absent, and 'solution' has no whole \\boxed{{}}; "
            "fill it or remove the row"
        )
    number = integer(raw)
    if form is AnswerForm.EXPRESSION or (form is None and not _NUMBER.fullmatch(raw.strip())):
        return AnswerForm.EXPRESSION, raw.strip()
    if isinstance(number, int):
        return AnswerForm.INTEGER, str(number)
    if form is None:
        return AnswerForm.EXPRESSION, raw.strip()
    raise InputError(
        f"{place}: the gold answer is {raw!r} ({number}); this set's answers are integers, such as -3 or 18"
    )


_ASKS_FOR_PROOF = re.compile(r"\b(?:prove|show) that\b|\bprove\b", re.IGNORECASE)
_ASKS_FOR_VALUE = re.compile(
    r"\b(?:find|determine|compute|calculate|evaluate|what|which|how many|how much)\b|\?", re.IGNORECASE
)
_NO_ANSWERS = frozenset({"proof", "notfound", ""})  # NuminaMath-1.5 writes these words as answers


def _left_out(problem: str, raw_gold: str) -> LeftOut | None:
    is_proof = _ASKS_FOR_PROOF.search(problem) and not _ASKS_FOR_VALUE.search(problem)
    if is_proof or raw_gold.lower() == "proof":
        return LeftOut.PROOF
    return LeftOut.NO_GOLD if raw_gold.lower() in _NO_ANSWERS else None
