"""The kit's stand-in for AIMO3Gateway: asks every question of a CSV over gRPC and writes the submission.

In: a CSV with the columns id, problem and perhaps answer; a listening inference server (ours or the real one).
Out: submission.parquet with the columns id and answer (Int64), rows in the order of asking.

Within one process it is run by `LocalInferenceServer.run_local_gateway`; as a process of its own it plays the
gateway of the competition rerun against a kernel that serves:
    python -m kit.kaggle.evaluation_double.gateway --csv test.csv --out submission.parquet

It reads the CSV as the real one does: ids that all look like numbers arrive as numbers, and a blank id as a null.
Unlike the real one it names a wrong or second server instead of asking whichever answers first and, unless told to be
lenient, refuses at once what would be scored wrong: a question that does not arrive as it was written, too.

Source: kaggle_evaluation/{aimo_3_gateway.py,core/base_gateway.py,core/relay.py} 0.9.0, behaviour only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from kit.errors import InputError, KitError, MissingError
from kit.kaggle.evaluation_double.answer_sheet import AnswerSheet, GatewayError, GatewayErrorType
from kit.kaggle.evaluation_double.client import Client
from kit.kaggle.facts import ANSWER_DEADLINE_S, EVALUATION_PORTS, STARTUP_LIMIT_S, SUBMISSION_NAME
from kit.problem import Problem, read_problems

_COLUMNS = (["id", "problem"], ["id", "problem", "answer"])
_SHOWN = 60  # characters of a text in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """How to ask. The defaults are the public run's, in the strict way."""

    out: Path = Path(SUBMISSION_NAME)
    strict: bool = True  # False lets pass what the real gateway lets pass
    ports: tuple[int, ...] = EVALUATION_PORTS
    startup_limit_s: float = STARTUP_LIMIT_S
    answer_deadline_s: float = ANSWER_DEADLINE_S  # not for the first question, which has none

    def __post_init__(self) -> None:
        if not self.ports:
            raise InputError("ports: expected at least one port to ask")
        if self.startup_limit_s < 0 or self.answer_deadline_s <= 0:
            raise InputError("startup_limit_s and answer_deadline_s: expected seconds greater than 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One question was answered and accepted."""

    question_id: str
    position: int  # from 1
    num_questions: int
    seconds: float  # that the answer took
    answer: Any  # as predict returned it


class LocalGateway:
    """Asks a listening server every question of `csv` once, a row at a time, and writes the submission at the end."""

    def __init__(
        self,
        csv: Path,
        *,
        settings: GatewaySettings | None = None,
        on_answer: Callable[[Progress], None] | None = None,
    ) -> None:
        self._csv = csv
        self._settings = settings or GatewaySettings()
        self._on_answer = on_answer

    def run(self) -> pl.DataFrame:
        """Ask everything; returns what was written. A failed run leaves no file, nor an earlier run's.

        Raises: GatewayError, StaleServerError; InputError or MissingError for the CSV.
        """
        if not self._settings.out.parent.is_dir():  # found out now rather than after the last question
            raise MissingError(f"the folder {self._settings.out.parent} of the submission is not there; make it")
        self._settings.out.unlink(missing_ok=True)
        questions = read_questions(self._csv)
        if self._settings.strict:
            check_questions(self._csv, read_problems(self._csv), questions)
        questions = questions.sample(fraction=1.0, shuffle=True, seed=int.from_bytes(os.urandom(4), "big"))
        sheet = AnswerSheet(strict=self._settings.strict)
        client = Client(
            ports=self._settings.ports,
            startup_limit_s=self._settings.startup_limit_s,
            answer_deadline_s=self._settings.answer_deadline_s,
        )
        try:
            self._ask_all(client, questions, sheet)
        finally:
            client.close()
        sheet.write(self._settings.out)
        return pl.read_parquet(self._settings.out)

    def _ask_all(self, client: Client, questions: pl.DataFrame, sheet: AnswerSheet) -> None:
        client.connect()
        for position, row in enumerate(questions.iter_slices(n_rows=1), start=1):
            asked_at_s = time.monotonic()
            answer = client.send("predict", *row.get_columns())
            seconds = time.monotonic() - asked_at_s
            sheet.add(answer, row["id"][0])
            if self._on_answer:
                self._on_answer(
                    Progress(
                        question_id=str(row["id"][0]),
                        position=position,
                        num_questions=questions.height,
                        seconds=seconds,
                        answer=answer,
                    )
                )


def read_questions(csv: Path) -> pl.DataFrame:
    """The questions of a file as the real gateway reads them, their types guessed. Raises: MissingError, InputError."""
    if not csv.is_file():
        raise MissingError(f"the questions' file {csv} is not there; expected a CSV with id,problem[,answer]")
    questions = as_the_gateway_reads(csv, csv)
    if questions.columns not in _COLUMNS:
        raise InputError(f"{csv} has the columns {questions.columns}; expected id,problem[,answer] in this order")
    if questions.is_empty():
        raise InputError(f"{csv} holds no question")
    return questions


def as_the_gateway_reads(csv: Path, source: Path | bytes) -> pl.DataFrame:
    """A table read without options, as the real gateway does. source: the file `csv`, or other bytes for it.

    Raises: InputError where the real gateway would end the run, naming the row if one is to blame.
    """
    try:
        return pl.read_csv(source)
    except pl.exceptions.PolarsError as error:
        read_problems(csv)  # which names the row
        told = str(error).partition("\n")[0]
        raise InputError(f"{csv}: Kaggle's gateway cannot read it ({told}); write every id with a letter") from error


def check_questions(csv: Path, problems: Sequence[Problem], questions: pl.DataFrame) -> None:
    """Compare what the real gateway asks with the problems that are written in the file.

    Raises: InputError naming the first row that arrives otherwise.
    """
    if len(problems) != questions.height:
        raise InputError(f"{csv}: Kaggle's gateway reads {questions.height} rows where {len(problems)} are written")
    asked = zip(questions["id"], questions["problem"], strict=True)
    for number, (problem, values) in enumerate(zip(problems, asked, strict=True), start=1):
        for written, value in zip((problem.id, problem.text), values, strict=True):
            if written != str(value):
                fix = "write ids with a letter, and a problem with words"
                told = f"Kaggle's gateway reads {written[:_SHOWN]!r} as {str(value)[:_SHOWN]!r}"
                raise InputError(f"{csv}: row {number}: {told}; {fix}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit status: 0, 1 after a fault it tells, 130 after Ctrl-C.

    Beside the submission it leaves result.json, with the keys of the real gateway's.
    """
    options = _parser().parse_args(arguments)
    try:
        settings = GatewaySettings(
            out=options.out,
            ports=options.ports,
            startup_limit_s=options.startup_limit_s,
        )
        LocalGateway(options.csv, settings=settings, on_answer=_tell).run()
    except KitError as error:
        _write_result(options.out.parent, error)
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; no submission was written\n")
        return 130
    _write_result(options.out.parent, None)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kit.kaggle.evaluation_double.gateway", description=main.__doc__)
    defaults = GatewaySettings()
    parser.add_argument("--csv", type=Path, required=True, help="questions: id,problem[,answer]")
    parser.add_argument("--out", type=Path, default=defaults.out)
    parser.add_argument("--ports", type=_ports, default=defaults.ports, help="asked in order, with commas between")
    parser.add_argument("--startup-limit-s", type=float, default=defaults.startup_limit_s)
    return parser


def _ports(text: str) -> tuple[int, ...]:
    return tuple(int(port) for port in text.split(","))


def _tell(progress: Progress) -> None:
    answer = progress.answer
    shown = answer["answer"][0] if isinstance(answer, pl.DataFrame) and "answer" in answer.columns else answer
    place = f"{progress.position}/{progress.num_questions}"
    sys.stdout.write(f"{place} {progress.question_id}: {shown} ({progress.seconds:.1f} s)\n")
    sys.stdout.flush()


def _write_result(folder: Path, error: KitError | None) -> None:
    result: dict[str, object] = {"Succeeded": error is None}
    if error is not None:
        kind = error.error_type if isinstance(error, GatewayError) else GatewayErrorType.GATEWAY_RAISED_EXCEPTION
        result |= {"ErrorType": kind.value, "ErrorName": kind.name, "ErrorDetails": str(error)[:8000]}
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
