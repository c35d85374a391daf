"""What a dry run came to: one row a problem, checked against the submission that Kaggle would score."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.table import Table
from rich.text import Text

from kit.errors import InputError, MissingError
from kit.kaggle.notebook.outages import Outage, outages_during
from kit.problem import ANSWER_MAX, Problem
from kit.solver.journal import Record
from kit.solver.records import solution_of
from kit.solver.solution import Solution
from kit.voting.learned import LEARNED, Shape
from kit.voting.tally import TieBreak

_SHOWN_VOTES = 3
_LONG_LOAD = 0.2  # of the limit; in the five hours of the competition no load is


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One problem: what was submitted, what is right if known, and how it was solved if the journal knows.

    outages: when there was no engine during its time.
    """

    problem_id: str
    answer: int
    gold: int | None
    solution: Solution | None
    outages: tuple[Outage, ...] = ()

    @property
    def is_right(self) -> bool | None:
        """None where no gold is known."""
        return None if self.gold is None else self.answer == self.gold


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """When the engine was ready, and when the run's time was up; in seconds since the notebook's process started."""

    ready_s: float
    limit_s: float

    @property
    def is_long(self) -> bool:
        """Whether it took so much of a squeezed run's time that the answers tell of the load."""
        return self.ready_s >= _LONG_LOAD * self.limit_s

    def __str__(self) -> str:
        return (
            f"the engine was ready after {self.ready_s:.0f} of the run's {self.limit_s:.0f} s, which begin with its "
            "process as on Kaggle; for more, set budget.limit_s"
        )


def load_in(records: Iterable[Record], *, limit_s: float) -> Load | None:
    """The last load of an engine in a journal; None where none ended well."""
    ready = [
        record["ended_s"]
        for record in records
        if record["kind"] == "startup" and record["step"] == "engine" and record["outcome"] == "done"
    ]
    return Load(ready_s=ready[-1], limit_s=limit_s) if ready else None


@dataclass(frozen=True, slots=True)
class Report:
    """All problems in the order of the CSV. load: of the engine, if the journal knows."""

    lines: tuple[Line, ...]
    load: Load | None = None

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
        return tuple(line.solution.guess for line in self.lines if line.solution and line.solution.guess)

    @property
    def tie_breaks(self) -> tuple[TieBreak, ...]:
        """What decided where two answers had equally many votes, one entry a problem."""
        return tuple(line.solution.tie_break for line in self.lines if line.solution and line.solution.tie_break)

    @property
    def expected_right(self) -> float:
        """How many are right by the votes alone, as the learned prior judges their shapes; needs no gold."""
        return math.fsum(
            LEARNED.right_probability(Shape(tuple(count for _, count in solution.votes[:4])))
            for solution in (line.solution for line in self.lines)
            if solution is not None and solution.votes
        )

    @property
    def recurses(self) -> bool:
        """Whether any sample came from an engine that recurses."""
        return any(line.solution and line.solution.depth is not None for line in self.lines)


def make_report(
    problems: Sequence[Problem],
    gold: Mapping[str, int],
    solutions: Sequence[Record],
    submission: Path,
    *,
    outages: Sequence[Outage] = (),
    load: Load | None = None,
) -> Report:
    """Join problems, golds and the journal's solutions on what was really submitted.

    outages, load: of the engine, by the journal.
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
                solution=solution,
                outages=outages_during(solution, outages) if solution else (),
            )
            for problem, solution in ((problem, by_key.get(problem.key)) for problem in problems)
        ),
        load,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoRuns:
    """Two runs of one competition, as AIMO3 scores them: a problem counts 1 if both are right and 1/2 if one is.

    num_same: problems answered alike. num_same_votes: those with the very same votes, too. expected: the score, as the
    votes' shapes promise it.
    score, num_gold: None and 0 where no gold is known.
    """

    num_same: int
    num_same_votes: int
    num_problems: int
    num_gold: int
    expected: float
    score: float | None


def compare_runs(first: Report, second: Report) -> TwoRuns:
    """What two reports on the same problems come to together."""
    pairs = list(zip(first.lines, second.lines, strict=True))
    rights = [line.is_right for pair in pairs for line in pair if line.is_right is not None]
    return TwoRuns(
        num_same=sum(one.answer == other.answer for one, other in pairs),
        num_same_votes=sum(_votes_of(one) == _votes_of(other) for one, other in pairs),
        num_problems=len(pairs),
        num_gold=first.num_gold,
        expected=(first.expected_right + second.expected_right) / 2,
        score=sum(rights) / 2 if rights else None,
    )


def _votes_of(line: Line) -> tuple[tuple[int, int], ...]:
    return line.solution.votes if line.solution else ()


def read_submission(path: Path, problems: Sequence[Problem]) -> dict[str, int]:
    """The answers of a `submission.parquet` by problem id, checked as the competition would.

    Raises: MissingError if there is none; InputError for wrong columns or types, a problem missing or
    doubled, or an answer out of range.
    """
    if not path.is_file():
        raise MissingError(f"{path}: the run left no submission")
    frame = pl.read_parquet(path)
    if frame.schema.get("id", pl.String()).is_numeric():  # so the gateway reads ids that all are
        frame = frame.with_columns(pl.col("id").cast(pl.String))
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
    """The report for a terminal; columns that nothing is known for are left out."""
    columns = {"problem": "left", "answer": "right"}
    if report.num_gold:
        columns |= {"gold": "right", "": "left"}
    columns |= {"votes": "left", "belief": "right", "samples": "right", "seconds": "right"}
    if report.recurses:
        columns["T"] = "right"
    columns["stopped because"] = "left"
    table = Table(title="Dry run", title_justify="left")
    for name, justify in columns.items():
        # Folded: in a narrow terminal a reason takes several lines, and nothing of it is cut.
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    for line in report.lines:
        cells = _cells(line)
        table.add_row(*(cells[name] for name in columns))
    return table


def notes_on(report: Report) -> list[str]:
    """What the table does not say: a long load, why answers had to be guessed, and how ties were broken."""
    notes = [str(report.load)] if report.load is not None and report.load.is_long else []
    notes += [f"{count} guessed: {why}" for why, count in Counter(report.guesses).most_common()]
    notes += [f"{count} tied in votes: {why} won" for why, count in Counter(report.tie_breaks).most_common()]
    return notes


def _cells(line: Line) -> dict[str, Text | str]:
    """One row by column; blank where the journal does not know."""
    cells: dict[str, Text | str] = {
        "problem": line.problem_id,
        "answer": str(line.answer),
        "gold": "" if line.gold is None else str(line.gold),
        "": {True: Text("✓", "green"), False: Text("✗", "red"), None: Text("")}[line.is_right],
    }
    solution = line.solution
    if solution is None:
        blank = dict.fromkeys(("votes", "belief", "samples", "seconds", "T"), "")
        return cells | blank | {"stopped because": Text("not in the journal", "red")}
    return cells | {
        "votes": _votes(solution),
        "belief": "" if solution.posterior is None else f"{100 * solution.posterior:.0f} %",
        "samples": str(solution.num_samples),
        "seconds": f"{solution.seconds:.1f}",
        "T": "" if solution.depth is None else str(solution.depth),
        "stopped because": "; ".join(
            [
                solution.reason.value + _price(solution),
                *(["guessed"] if solution.guess else []),
                *map(str, line.outages),
            ]
        ),
    }


def _price(solution: Solution) -> str:
    """What the next attempt promised and what its time was worth elsewhere; blank where time had no price."""
    if solution.gain is None or not solution.price:
        return ""
    return f" (next attempt +{solution.gain:.3f}, price {solution.price:.3f})"


def _votes(solution: Solution) -> str:
    shown = [f"{answer} ×{count}" for answer, count in solution.votes[:_SHOWN_VOTES]]
    hidden = len(solution.votes) - _SHOWN_VOTES
    return "  ".join(shown) + (f"  +{hidden}" if hidden > 0 else "")
