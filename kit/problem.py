"""What is asked, and what an answer may be: Problem, and the CSV files it comes in.

A `Problem` never carries its gold answer, so that nothing downstream can peek; a problem with its gold is a
`kit.data.examples.MathExample`, and only evaluation and training hold one.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kit.errors import InputError, MissingError

ANSWER_MAX = 99_999
"""Answers are integers from 0 to this one, both included. Source: AIMO3 rules."""

_SHOWN_LETTERS = 40  # of a value in a message

_WANTED = "give a CSV with the columns id,problem and, if known, answer"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem as the competition serves it: its id and its LaTeX text."""

    id: str
    text: str

    @property
    def key(self) -> str:
        """Names this very text under this id, so that a journal never mixes two problems up."""
        return f"{self.id}:{hashlib.sha256(self.text.encode('utf-8', 'replace')).hexdigest()[:12]}"


def read_problems(path: Path) -> tuple[Problem, ...]:
    """The problems of an AIMO CSV (`id,problem` with or without `answer`), in the file's order.

    Raises: MissingError if there is no such file; InputError for a file that is empty, not UTF-8,
    without the columns, with a row that is too long, short or blank, or with an id that stands twice.
    """
    problems = tuple(Problem(row["id"], row["problem"]) for row in _rows(path))
    doubled = [id_ for id_, count in Counter(problem.id for problem in problems).items() if count > 1]
    if doubled:
        raise InputError(f"{path}: id {doubled[0]!r} stands more than once; every problem needs its own id")
    return problems


def read_gold(path: Path) -> Mapping[str, int]:
    """Gold answers by problem id; empty if the CSV has no `answer` column.

    Raises: as `read_problems`, and InputError for an answer that is not an integer 0–99999.
    """
    return {row["id"]: _gold(path, row) for row in _rows(path) if "answer" in row}


def _gold(path: Path, row: Mapping[str, str]) -> int:
    text = row["answer"].strip()
    digits = text.lstrip("0") or text[-1:]  # Python makes no number of thousands of digits
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(ANSWER_MAX)) and text.isascii()):
        expected = f"expected an integer 0–{ANSWER_MAX}"
        shown = repr(text if len(text) <= _SHOWN_LETTERS else text[:_SHOWN_LETTERS] + "…")
        raise InputError(f"{path}: the answer of {row['id']!r} is {shown}, {expected}")
    return int(digits)


@contextmanager
def fields_of_any_length() -> Iterator[None]:
    """Let `csv` read fields of more than 131,072 characters, as Kaggle's gateway does; its limit is the process's."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _rows(path: Path) -> Sequence[Mapping[str, str]]:
    rows: list[list[str]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file, fields_of_any_length():
            reader = csv.reader(file, strict=True)
            columns = next(reader, [])
            _check_columns(path, columns)
            rows.extend(reader)  # those before a fault stay
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; {_WANTED}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; {_WANTED}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a UTF-8 CSV file ({error})") from None
    except csv.Error as error:
        raise InputError(f"{path}: row {len(rows) + 1} {_malformed(str(error))}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {_WANTED}") from None
    if not rows:
        raise InputError(f"{path}: has a header but no problem; add rows below {','.join(columns)}")
    return [_row(path, number, fields, columns) for number, fields in enumerate(rows, start=1)]


def _malformed(error: str) -> str:
    """What is wrong with a row, from `csv`'s own words: it says of an open quote that the file ended."""
    if error == "unexpected end of data":
        return 'opens a double quote that is never closed; close it, and write "" for one within a field'
    return f"is no CSV ({error})"


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if not columns:
        raise InputError(f"{path}: the file is empty; {_WANTED}")
    absent = [name for name in ("id", "problem") if name not in columns]
    if absent:
        raise InputError(f"{path}: no column {absent[0]!r}, found {','.join(columns)}; {_WANTED}")
    doubled = [name for name, count in Counter(columns).items() if count > 1]
    if doubled:
        raise InputError(f"{path}: the column {doubled[0]!r} stands more than once; {_WANTED}")


def _row(path: Path, number: int, fields: Sequence[str], columns: Sequence[str]) -> Mapping[str, str]:
    """One row by its columns, those that it leaves out empty.

    Kaggle's gateway fails at a row with more fields than the header, and asks a blank line as a problem.
    """
    if not fields:
        raise InputError(f"{path}: row {number} is a blank line, which Kaggle's gateway asks as a problem; remove it")
    if len(fields) > len(columns):
        found = f"row {number} has {len(fields)} fields, the header {len(columns)}"
        raise InputError(f"{path}: {found}; put a field with a comma into double quotes")
    row = dict(zip(columns, (*fields, *[""] * (len(columns) - len(fields))), strict=True))
    if not row["id"].strip() or not row["problem"].strip():
        raise InputError(f"{path}: row {number} has a blank id or problem; fill it or remove the row")
    return row
