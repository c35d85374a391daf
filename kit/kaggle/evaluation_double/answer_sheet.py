"""The answers of a run as they become submission.parquet: what the real gateway refuses, and what it should.

In: each value that `predict` returned, with the id of its question. Out: a parquet file with the columns id
(String, or a number where all ids of the CSV are numbers) and answer. Two ways: lenient does what the real gateway
does, faults that pass silently into a broken file included; strict (the dry run's way) refuses at the first answer
that would not be scored as meant.

Not here: asking the questions (`gateway`).

Source: kaggle_evaluation/core/base_gateway.py 0.9.0 (error types; what is checked per answer and what only at
the end), and trials with it (docs/kaggle.md#evaluation).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Never

import numpy as np
import polars as pl

from kit.errors import KitError
from kit.problem import ANSWER_MAX


class GatewayErrorType(enum.Enum):
    """Why a run failed, as Kaggle tells the participant; numbers and names are those of the real gateway."""

    UNSPECIFIED = 0
    SERVER_NEVER_STARTED = 1
    SERVER_CONNECTION_FAILED = 2
    SERVER_RAISED_EXCEPTION = 3
    SERVER_MISSING_ENDPOINT = 4
    GATEWAY_RAISED_EXCEPTION = 5
    INVALID_SUBMISSION = 6
    GRPC_DEADLINE_EXCEEDED = 7


class GatewayError(KitError, RuntimeError):
    """The gateway gave up; no submission was written. On Kaggle the whole run would score nothing."""

    def __init__(self, error_type: GatewayErrorType, error_details: str) -> None:
        super().__init__(f"{error_type.name}: {error_details}")
        self.error_type = error_type
        self.error_details = error_details


class AnswerSheet:
    """The answers so far, in the order of asking."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._answers: list[Any] = []
        self._ids: list[str | int | float | None] = []

    def add(self, answer: Any, question_id: str | int | float | None) -> None:
        """Take one answer. Raises: GatewayError (INVALID_SUBMISSION) when it is not acceptable."""
        _refuse_what_the_gateway_refuses(answer)
        if self._strict:
            fault = _fault(answer, str(question_id)) or self._mixture(answer)
            if fault:
                _invalid(f"question {question_id}: {fault}")
        self._answers.append(answer)
        self._ids.append(question_id)

    def write(self, path: Path) -> None:
        """Write the file; a failure leaves none. Raises: GatewayError."""
        try:
            frame = _assembled(self._answers, self._ids)
            if self._strict:
                frame = frame.with_columns(pl.Series("answer", frame["answer"].to_list(), dtype=pl.Int64))
            _write_parquet(frame, path)
        except (pl.exceptions.PolarsError, TypeError) as error:
            raise GatewayError(
                GatewayErrorType.GATEWAY_RAISED_EXCEPTION,
                f"the answers do not make a table: {type(error).__name__}: {error}",
            ) from error

    def _mixture(self, answer: Any) -> str | None:
        """The real gateway concatenates all answers at the end, and fails if they are not of one make."""
        if not self._answers:
            return None
        first, now = _make(self._answers[0]), _make(answer)
        if first == now:
            return None
        return f"predict returned {now}, but {first} for the first question; return the same every time"


def _invalid(details: str) -> Never:
    raise GatewayError(GatewayErrorType.INVALID_SUBMISSION, details)


def _refuse_what_the_gateway_refuses(answer: Any) -> None:
    """The one check that the real gateway makes after every answer. Bare scalars pass it."""
    if answer is None:
        _invalid("predict returned None; return a DataFrame of one row with the column answer")
    if isinstance(answer, (int, float, str, bool, np.int_)):
        return
    if not isinstance(answer, (pl.DataFrame, pl.Series)):
        _invalid(f"predict returned a value of type {_type_name(answer)}; return a DataFrame of one row")
    if len(answer) != 1:
        _invalid(f"predict was asked 1 question and returned {len(answer)} rows")


def _fault(answer: Any, question_id: str) -> str | None:
    """What is wrong with an answer that the real gateway accepts; it would fail at the end or not at all."""
    if not isinstance(answer, pl.DataFrame):
        return (
            f"predict returned a bare value of type {_type_name(answer)}, which the real gateway notices only after "
            "the last question, if at all; return a DataFrame of one row with the column answer"
        )
    if "answer" not in answer.columns or not set(answer.columns) <= {"id", "answer"}:
        return f"the columns are {answer.columns}; expected id and answer (id may be left out)"
    if "id" in answer.columns and (given := answer["id"][0]) != question_id:
        return f"the answer bears the id {given!r}; the gateway would overwrite it, so it may be another's answer"
    value = answer["answer"][0]
    if type(value) is not int:
        return f"the answer is {value!r} ({type(value).__qualname__}); expected an int"
    if not 0 <= value <= ANSWER_MAX:
        return f"the answer is {value}; expected 0 to {ANSWER_MAX}"
    return None


def _make(answer: Any) -> str:
    return f"a {_type_name(answer)} with the columns {answer.columns}"


def _type_name(value: Any) -> str:
    """Such as polars.DataFrame: the public name, whatever inner module defines it."""
    package = type(value).__module__.partition(".")[0]
    name = type(value).__qualname__
    return name if package == "builtins" else f"{package}.{name}"


def _assembled(answers: list[Any], ids: Sequence[str | int | float | None]) -> pl.DataFrame:
    """One table of all answers, id first."""
    if not isinstance(answers[0], pl.DataFrame):
        raise TypeError("the gateway knows no name for the answers' column; return DataFrames")
    try:
        table: pl.DataFrame = pl.concat(answers, how="vertical_relaxed")
    except pl.exceptions.SchemaError as error:
        _invalid(f"the answers are of different types: {error}")
    except pl.exceptions.ComputeError as error:
        _invalid(f"the answers have different columns: {error}")
    others = [name for name in table.columns if name != "id"]
    return table.with_columns(pl.Series("id", ids)).select(["id", *others])


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write beside the target and move, so that a killed run leaves no half file."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        frame.write_parquet(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
