"""A dry run's journal in, the page's contents out: every sample with its vote, every problem with its solution.

Does not look for folders: the caller says where the journal and the problems are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.answers.extraction import RawAnswer, extract
from kit.errors import EngineError, InputError, MissingError
from kit.evaluation.report.contents import AnswerRead, Attempt, Contents, Item
from kit.problem import Problem
from kit.sampling import Sample
from kit.solver.journal import Record, read_records
from kit.solver.records import sample_of, solution_of
from kit.solver.solution import Solution


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalledRun:
    """What a run of the solver left. samples: by problem key and attempt number. solutions: by problem key."""

    name: str
    problems: tuple[Problem, ...]
    samples: Mapping[tuple[str, int], tuple[Sample, int | None]]
    solutions: Mapping[str, Solution]

    @property
    def is_whole(self) -> bool:
        """Whether every problem was answered."""
        return all(problem.key in self.solutions for problem in self.problems)


def read_journal(name: str, journal: Path, problems: Sequence[Problem]) -> JournalledRun:
    """Read the journal of a run on these problems; of an attempt that was drawn twice the last is kept.

    Raises: MissingError without a journal; InputError for one that cannot be read, holds nothing, or is of other
    problems.
    """
    try:
        records = tuple(read_records(journal))
    except FileNotFoundError:
        raise MissingError(
            f"{journal}: no such journal; expected the folder of a dry run (`kit dry-run --out`)"
        ) from None
    except OSError as error:
        raise InputError(f"{journal}: cannot be read ({error.strerror})") from error
    try:
        samples = dict(_sample(each) for each in records if each["kind"] == "sample")
        solutions = {each["problem"]: solution_of(each) for each in records if each["kind"] == "solution"}
    except (KeyError, TypeError, ValueError, EngineError) as error:
        raise InputError(f"{journal}: a damaged record ({error!r}); it is no journal of the kit's") from error
    if not samples and not solutions:
        raise InputError(f"{journal}: holds no sample yet; let the run go on, or give another one")
    known = {problem.key for problem in problems}
    unknown = {key for key, _ in samples} - known
    if unknown:
        raise InputError(f"{journal}: speaks of the problem {min(unknown)!r}, which is not among those of the run")
    return JournalledRun(name=name, problems=tuple(problems), samples=samples, solutions=solutions)


def contents_of_journal(run: JournalledRun, gold: Mapping[str, int]) -> Contents:
    """The page's contents of one run under one condition. gold: right answers by problem id, where they are known."""
    attempts: dict[str, list[Attempt]] = {}
    golds = {problem.key: gold.get(problem.id) for problem in run.problems}
    for (key, number), (sample, vote) in sorted(run.samples.items(), key=lambda each: each[0][1]):
        read = _read(sample, vote, golds[key])
        attempts.setdefault(key, []).append(Attempt(condition=0, number=number, sample=sample, read=(read,)))
    return Contents(
        conditions=(run.name,),
        gradings=("vote",),
        items=tuple(_item(run, each, golds[each.key], attempts.get(each.key, ())) for each in run.problems),
    )


def _sample(record: Record) -> tuple[tuple[str, int], tuple[Sample, int | None]]:
    answer = record["answer"]
    if answer is not None and type(answer) is not int:
        raise ValueError(f"the answer {answer!r} is no integer")
    return (str(record["problem"]), int(record["number"])), (sample_of(record), answer)


def _read(sample: Sample, vote: int | None, gold: int | None) -> AnswerRead:
    """The vote as the journal has it; where in the text it stands is found again."""
    raw: RawAnswer | None = None if vote is None else extract(sample.text)
    return AnswerRead(
        answer=None if vote is None else str(vote),
        is_right=None if gold is None else vote == gold,
        read_from="nowhere" if raw is None else raw.source.value,
        span=None if raw is None else raw.span,
    )


def _item(run: JournalledRun, problem: Problem, gold: int | None, attempts: Iterable[Attempt]) -> Item:
    solution = run.solutions.get(problem.key)
    return Item(
        key=problem.key,
        name=problem.id,
        text=problem.text,
        gold="" if gold is None else str(gold),
        remarks=(f"{run.name}: {_told(solution)}",),
        attempts=tuple(attempts),
        submitted={} if solution is None else {0: _submitted(solution, gold)},
    )


def _submitted(solution: Solution, gold: int | None) -> AnswerRead:
    return AnswerRead(answer=str(solution.answer), is_right=None if gold is None else solution.answer == gold)


def _told(solution: Solution | None) -> str:
    if solution is None:
        return "not answered yet"
    guess = f", a guess: {solution.guess}" if solution.guess else ""
    return f"submitted {solution.answer} after {solution.seconds:.1f} s ({solution.reason.value}{guess})"
