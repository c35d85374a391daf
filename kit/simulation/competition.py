"""The boundary under stress: every `predict` returns by its share and a stated slack, the whole by the limit.

In: a plan of `faulty`. Out: what the boundary answered and when, and whatever of its promise does not hold, in words.
It runs on a real clock, since the boundary is there for threads that block and loads that hang: seconds for each.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from kit.budget import Budget, Clock
from kit.kaggle.notebook.boundary import ANSWER_S, LOAD_S, SLACK_S, Competition
from kit.problem import ANSWER_MAX, Problem
from kit.sampling import FinishReason
from kit.simulation.faulty import NUM_PROBLEMS, CompetitionPlan, FaultyDisk, open_faulty, random_competition
from kit.solver.journal import Journal, Record, read_records
from kit.solver.solution import Solution
from kit.solver.stopping import StopReason

MACHINE_S = 5.0
"""What a busy machine may add to one answer, and to the whole."""
_CLOSE_S = 1.0
_POLL_S = 0.01
DISK_S = 0.5
"""How long a journal waits for its disk, in the loop, each time that it hangs."""
_LOOKS_S = 3 * ANSWER_S  # of one answer: whether the loop is stuck, at a disk that hangs, and at the journal's texts
_NUM_AT_ONCE = 8  # they wait more than they compute
PROBLEMS = tuple(Problem(f"{place}", f"What is {place} + {place}?") for place in range(NUM_PROBLEMS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One predict. allowed_s: its share, and the slack that the boundary states."""

    life: int
    solution: Solution
    seconds: float
    allowed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CompetitionOutcome:
    """How a competition went. seconds: all of it. records: the journal of all its processes."""

    plan: CompetitionPlan
    answered: tuple[Answered, ...]
    seconds: float
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCompetition:
    """One competition after its check. violations: empty for a good one."""

    seed: int
    num_predicts: int
    faults: tuple[str, ...]
    violations: tuple[str, ...]


def check_competitions(seeds: Iterable[int]) -> Iterator[CheckedCompetition]:
    """Check several at once, in the order of the seeds."""
    with ThreadPoolExecutor(_NUM_AT_ONCE) as pool:
        yield from pool.map(check_competition, seeds)


def check_competition(seed: int) -> CheckedCompetition:
    """Play and check the competition of this seed."""
    outcome = play(random_competition(seed))
    return CheckedCompetition(
        seed=seed,
        num_predicts=len(outcome.answered),
        faults=outcome.plan.faults,
        violations=tuple(competition_violations(outcome)),
    )


def play(plan: CompetitionPlan) -> CompetitionOutcome:
    """Let one process after another answer, in threads of this one, over one journal."""
    begun_s = time.monotonic()
    release = threading.Event()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        try:
            answered = [
                each
                for number in range(len(plan.lives))
                for each in play_life(plan, number, path, clock=lambda: time.monotonic() - begun_s, release=release)
            ]
            seconds = time.monotonic() - begun_s
        finally:
            release.set()
        return CompetitionOutcome(
            plan=plan, answered=tuple(answered), seconds=seconds, records=tuple(read_records(path))
        )


def play_life(
    plan: CompetitionPlan, number: int, path: Path, *, clock: Clock, release: threading.Event
) -> Iterator[Answered]:
    """Let one process answer, from the first problem on, until it is to be killed; its journal lies at `path`.

    A disk that hangs is there again when the process is over, and has to have lost nothing.
    """
    life, budget, is_over = plan.lives[number], Budget(plan.budget, clock), threading.Event()
    disk = FaultyDisk(life, release=is_over)
    journal = Journal.open(path, run={"competition": plan.seed}, patience_s=DISK_S, sync=disk.sync)
    load = partial(open_faulty, life, seed=plan.seed, release=release)
    competition = Competition(load, budget=budget, journal=journal, config=plan.solver)
    competition.start()
    for place, problem in enumerate(PROBLEMS[: life.end]):
        allowed_s, begun_s = _allowed_s(plan, budget, place), clock()
        solution = competition.answer(problem)
        yield Answered(life=number, solution=solution, seconds=clock() - begun_s, allowed_s=allowed_s)
    competition.close(timeout_s=_CLOSE_S)
    is_over.set()
    while not journal.is_on_disk:  # as the next process, which is a thread of this one, has to find it free
        time.sleep(_POLL_S)  # closing is behind the records that are still to be written


def _allowed_s(plan: CompetitionPlan, budget: Budget, place: int) -> float:
    """What a predict may take; the first of a process waits for the load as well."""
    left_s = max(0.0, plan.budget.limit_s - budget.clock())
    waiting_s = 0.0 if place else LOAD_S
    return min(budget.allot_s(place) + plan.solver.grace_s + SLACK_S + _LOOKS_S + waiting_s, left_s + ANSWER_S)


def competition_violations(outcome: CompetitionOutcome) -> Iterator[str]:
    """Everything that does not hold, in words; nothing for a good competition."""
    for check in _CHECKS:
        yield from check(outcome)


def _every_predict_is_a_valid_answer(outcome: CompetitionOutcome) -> Iterator[str]:
    due = [problem.id for life in outcome.plan.lives for problem in PROBLEMS[: life.end]]
    if [each.solution.problem_id for each in outcome.answered] != due:
        yield f"{len(due)} problems were asked, {len(outcome.answered)} answered, or others, or in another order"
    for each in outcome.answered:
        answer = each.solution.answer
        if type(answer) is not int or not 0 <= answer <= ANSWER_MAX:
            yield f"{_name(each)} was answered {answer!r}"


def _every_predict_is_in_time(outcome: CompetitionOutcome) -> Iterator[str]:
    for each in outcome.answered:
        if each.seconds > each.allowed_s + MACHINE_S:
            yield f"{_name(each)} took {each.seconds:.3f} s; its share and the slack are {each.allowed_s:.3f} s"


def _the_whole_is_in_time(outcome: CompetitionOutcome) -> Iterator[str]:
    """Each process may find its loop stuck once, after the limit too; closing it looks at loop and disk again."""
    each_s = ANSWER_S + _LOOKS_S + ANSWER_S + _CLOSE_S + DISK_S
    due_s = outcome.plan.budget.limit_s + len(outcome.plan.lives) * each_s + MACHINE_S
    if outcome.seconds > due_s:
        yield f"the competition took {outcome.seconds:.3f} s; the limit and the slack are {due_s:.3f} s"


def _every_answer_is_on_record(outcome: CompetitionOutcome) -> Iterator[str]:
    """What was answered and not guessed is what some sample in the journal says, and nothing is there twice."""
    for problem in PROBLEMS:
        own = [record for record in outcome.records if record.get("problem") == problem.key]
        num_solutions = sum(record["kind"] == "solution" for record in own)
        num_asked = sum(each.solution.problem_id == problem.id for each in outcome.answered)
        if not num_solutions:
            yield f"problem {problem.id} has no solution in the journal"
        if num_solutions > num_asked:
            yield f"problem {problem.id} was asked {num_asked} times and has {num_solutions} solutions in the journal"
        whole = [record for record in own if record["kind"] == "sample" and record["finish"] != FinishReason.FAILED]
        for number, count in Counter(record["number"] for record in whole).items():
            if count > 1:
                yield f"attempt {number} of problem {problem.id} is in the journal {count} times"
        said = {record["answer"] for record in whole}
        for each in outcome.answered:
            is_own = each.solution.problem_id == problem.id and not each.solution.guess
            if is_own and each.solution.answer not in said:
                yield f"{_name(each)} was answered {each.solution.answer}, which no sample in the journal says"


def _what_is_on_record_is_not_guessed(outcome: CompetitionOutcome) -> Iterator[str]:
    """A process answers by the votes that the ones before it left, whether or not it has an engine."""
    begun_s: dict[int, float] = {}
    for each in outcome.answered:
        begun_s.setdefault(each.life, each.solution.begun_s)
        key = PROBLEMS[int(each.solution.problem_id)].key
        known = {
            record["answer"]
            for record in outcome.records
            if record["kind"] == "sample" and record["problem"] == key and record["ended_s"] < begun_s[each.life]
        }
        if each.solution.guess and known - {None}:
            yield f"{_name(each)} was guessed ({each.solution.guess}), and the journal held {known}"


def _what_was_answered_stays_answered(outcome: CompetitionOutcome) -> Iterator[str]:
    """A process that has its engine repeats what the one before it had settled."""
    settled: dict[str, int] = {}
    for each in outcome.answered:
        solution = each.solution
        if solution.guess or solution.reason in (StopReason.ENGINE_FAILED, StopReason.INTERRUPTED):
            continue
        first = settled.setdefault(solution.problem_id, solution.answer)
        if solution.answer != first:
            yield f"{_name(each)} was answered {solution.answer}, and {first} by a process before it"


def _name(each: Answered) -> str:
    return f"problem {each.solution.problem_id}, asked of process {each.life + 1},"


_CHECKS: Sequence[Callable[[CompetitionOutcome], Iterator[str]]] = (
    _every_predict_is_a_valid_answer,
    _every_predict_is_in_time,
    _the_whole_is_in_time,
    _every_answer_is_on_record,
    _what_is_on_record_is_not_guessed,
    _what_was_answered_stays_answered,
)
