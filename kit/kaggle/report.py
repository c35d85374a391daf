"""What a dry run came to: one row a problem, checked against the submission that Kaggle would score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.table import Table
from rich.text import Text

from kit.ballot import Solution
from kit.errors import InputError, MissingError
from kit.journal import Record
from kit.problem import ANSWER_MAX, Problem
from kit.solver import solution_of

_SHOWN_VOTES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One problem: what was submitted, what is right if known, and how it was solved if the journal knows."""

    problem_id: str
    answer: int
    gold: int | None
    solution: Solution | None

    @property
    def is_right(self) -> bool | None:
        """None where no gold is known."""
        return None if self.gold is None else self.answer == self.gold


@dataclass(frozen=True, slots=True)
class Report:
    """All problems in the order of the CSV."""

    lines: tuple[Line, ...]

    @property
    def num_right(self) -> int:
        """Problems answered right, of those with a known gold."""
        return sum(line.is_right is True for line in self.lines)

    @property
    def num_gold(self) -> int:
        """Problems with a known gold."""
        return sum(line.gold is not None for line in self.lines)

    @property
    def num_samples(self) -> int:
        """Samples that ended, over all problems."""
        return sum(line.solution.num_samples for line in self.lines if line.solution)

    @property
    def guesses(self) -> tuple[str, ...]:
        """Why answers had to be guessed, one text a guess."""
        return tuple(
            f"{line.problem_id}: {line.solution.guess}" for line in self.lines if line.solution and line.solution.guess
        )


def make_report(
    problems: Sequence[Problem], gold: Mapping[str, int], solutions: Sequence[Record], submission: Path
) -> Report:
    """Join problems, golds and the journal's solutions on what was really submitted.

    Raises: MissingError if there is no submission; InputError if Kaggle would not accept it.
    """
    submitted = read_submission(submission, problems)
    by_key = {record["problem"]: solution_of(record) for record in solutions}
    return Report(
        tuple(
            Line(
                problem_id=problem.id,
                answer=submitted[problem.id],
                gold=gold.get(problem.id),
                solution=by_key.get(problem.key),
            )
            for problem in problems
        )
    )


def read_submission(path: Path, problems: Sequence[Problem]) -> dict[str, int]:
    """The answers of a `submission.parquet` by problem id, checked as the competition would.

    Raises: MissingError if there is none; InputError for wrong columns or types, a problem missing or
    doubled, or an answer out of range.
    """
    if not path.is_file():
        raise MissingError(f"{path}: the run left no submission")
    frame = pl.read_parquet(path)
    expected = {"id": pl.String, "answer": pl.Int64}
    if dict(frame.schema) != expected:
        raise InputError(f"{path}: has the columns {dict(frame.schema)}, expected {expected}")
    if sorted(frame["id"]) != sorted(problem.id for problem in problems):
        raise InputError(f"{path}: its ids are not those of the problems")
    wrong = frame.filter(~pl.col("answer").is_between(0, ANSWER_MAX) | pl.col("answer").is_null())
    if len(wrong):
        raise InputError(f"{path}: the answer of {wrong['id'][0]!r} is {wrong['answer'][0]}, not an integer 0–99999")
    return dict(frame.iter_rows())


def as_table(report: Report) -> Table:
    """The report for a terminal."""
    table = Table(title="Dry run", title_justify="left")
    for name in ("problem", "answer", "gold", "", "votes", "samples", "seconds"):
        table.add_column(name, justify="left" if name in ("problem", "votes", "") else "right", no_wrap=True)
    recurses = any(line.solution and line.solution.depth is not None for line in report.lines)
    if recurses:
        table.add_column("T", justify="right")
    table.add_column("stopped because")
    for line in report.lines:
        *cells, reason = _cells(line)
        depth = line.solution.depth if line.solution else None
        table.add_row(*cells, *([str(depth)] if recurses else []), reason)
    return table


def _cells(line: Line) -> tuple[Text | str, ...]:
    mark = {True: Text("✓", "green"), False: Text("✗", "red"), None: Text("")}[line.is_right]
    gold = "" if line.gold is None else str(line.gold)
    known = (line.problem_id, str(line.answer), gold, mark)
    if line.solution is None:
        return (*known, "", "", "", Text("not in the journal", "red"))
    solution = line.solution
    reason = f"{solution.reason.value}; guessed: {solution.guess}" if solution.guess else solution.reason.value
    return (*known, _votes(solution), str(solution.num_samples), f"{solution.seconds:.1f}", reason)


def _votes(solution: Solution) -> str:
    shown = [f"{answer} ×{count}" for answer, count in solution.votes[:_SHOWN_VOTES]]
    hidden = len(solution.votes) - _SHOWN_VOTES
    return "  ".join(shown) + (f"  +{hidden}" if hidden > 0 else "")
