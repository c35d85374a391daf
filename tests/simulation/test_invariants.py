"""Every check can fail: an outcome that is wrong in one way is told by the check that is there for it, and no other."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from kit.budget import BudgetConfig
from kit.problem import Problem
from kit.simulation import invariants
from kit.simulation.engine import Fault, FaultKind, ReplayEngine, marked
from kit.simulation.invariants import violations
from kit.simulation.recording import RecordedAttempt, Recording
from kit.simulation.run import Outcome, Scenario, run
from kit.solver.config import SolverConfig
from kit.solver.journal import Record
from kit.solver.pacing import PacingConfig
from kit.solver.records import solution_record
from kit.solver.stopping import StopConfig, StopReason


def recorded(*answers: int | None, gold: int = 7) -> Recording:
    attempts = tuple(
        RecordedAttempt(answer=answer, work_s=10.0 + 3 * place, num_tokens=100) for place, answer in enumerate(answers)
    )
    return Recording(name="a", gold=gold, attempts=attempts)


CONTEST = Scenario(
    # Four of eight are enough, with attempts in flight that are cut; contested to the end; nothing to vote for.
    recordings=(
        recorded(7, 7, 7, 7, 7, 7),
        recorded(7, 8, 7, 9, 8, 7, 1, 2),
        recorded(None, None, None, None),
    ),
    budget=BudgetConfig(limit_s=1000.0, reserve_s=100.0, floor_s=0.0, num_problems=3),
    solver=SolverConfig(
        stop=StopConfig(num_samples=8, rule="votes(4)"), pacing=PacingConfig(kind="off"), width=4, retry_s=2.0
    ),
    seed=1,
    faults=(Fault(FaultKind.CRASH, 1.0, 1.5),),
    keeps_journal=True,
)
GOOD = run(CONTEST)
DEAD = run(dataclasses.replace(CONTEST, faults=(Fault(FaultKind.CRASH, 0.0, 5000.0),)))
VOTED, CONTESTED, EMPTY = 0, 1, 2


def telling(place: int, outcome: Outcome = GOOD, **changes: Any) -> Outcome:
    """The outcome with another solution of one problem, which the journal tells too."""
    solutions = list(outcome.solutions)
    solutions[place] = dataclasses.replace(solutions[place], **changes)
    problem = Problem(f"{place}", marked(place))
    records = [
        solution_record(problem, solutions[place]) if is_of("solution", place, record) else record
        for record in outcome.records
    ]
    return dataclasses.replace(outcome, solutions=tuple(solutions), records=tuple(records))


def is_of(kind: str, place: int, record: Record) -> bool:
    return record["kind"] == kind and record["problem"] == Problem(f"{place}", marked(place)).key


def with_engine(**counts: int) -> Outcome:
    engine: ReplayEngine = copy.copy(GOOD.engine)
    for name, more in counts.items():
        setattr(engine, name, getattr(engine, name) + more)
    return dataclasses.replace(GOOD, engine=engine)


def with_records(change: Callable[[list[dict[str, Any]]], object]) -> Outcome:
    records = [dict(record) for record in GOOD.records]
    change(records)
    return dataclasses.replace(GOOD, records=tuple(records))


def with_scenario(**changes: Any) -> Outcome:
    return dataclasses.replace(GOOD, scenario=dataclasses.replace(CONTEST, **changes))


def with_solver(**changes: Any) -> Outcome:
    return with_scenario(solver=dataclasses.replace(CONTEST.solver, **changes))


def with_budget(**changes: Any) -> Outcome:
    return with_scenario(budget=dataclasses.replace(CONTEST.budget, **changes))


def first(records: list[dict[str, Any]], kind: str, place: int = VOTED, **values: Any) -> dict[str, Any]:
    return next(
        record
        for record in records
        if is_of(kind, place, record) and all(record[name] == value for name, value in values.items())
    )


def seen(outcome: Outcome) -> Mapping[str, list[str]]:
    """What each check finds, by its name; those that find nothing left out."""
    found = {check.__name__.strip("_"): list(check(outcome)) for check in invariants._CHECKS}
    return {name: each for name, each in found.items() if each}


def test_a_good_scenario_has_no_violations_and_something_of_everything() -> None:
    assert violations(GOOD) == []
    engine = GOOD.engine
    assert min(engine.num_returned, engine.num_broken, engine.num_cancelled) > 0
    assert [solution.reason for solution in GOOD.solutions] == [
        StopReason.CONFIDENT,
        StopReason.ALL_SAMPLED,
        StopReason.ALL_SAMPLED,
    ]
    assert GOOD.solutions[EMPTY].guess


def second_of(records: list[dict[str, Any]]) -> None:
    """Gives the attempt that was cut the number of one that ended."""
    first(records, "cancelled")["number"] = first(records, "sample", finish="stop")["number"]


def twisted_weight(records: list[dict[str, Any]]) -> None:
    """8 has two votes at 1.25, 7 has three at 0.75: 8 leads, and 7 was answered."""
    for record in records:
        if is_of("sample", CONTESTED, record) and record["finish"] == "stop":
            record["weight"] = {7: 0.75, 8: 1.25}.get(record["answer"], 1.0)


RANGE = "every_problem_is_answered_in_range"
TIMES = "times_follow_each_other"
CAP = "no_problem_takes_more_than_its_cap"
STARVES = "no_problem_starves"
LOST = "no_sample_is_lost"
JOURNAL = "answers_follow_from_the_journal"
WHY = "problems_stop_when_and_why_they_say"
SLOTS = "slots_are_at_work"

BROKEN: tuple[tuple[str, Callable[[], Outcome], str, str], ...] = (
    (
        "a problem is not answered",
        lambda: with_scenario(recordings=(*CONTEST.recordings, recorded(1))),
        RANGE,
        "4 problems were asked and 3 answered",
    ),
    ("an answer is too large", lambda: telling(EMPTY, answer=100_000), RANGE, "answered 100000"),
    ("an answer is negative", lambda: telling(EMPTY, answer=-1), RANGE, "answered -1"),
    ("an answer is a truth", lambda: telling(EMPTY, answer=False), RANGE, "answered False"),
    ("an answer is a float", lambda: telling(EMPTY, answer=0.0), RANGE, "answered 0.0"),
    (
        "the scenario ends later than its last problem",
        lambda: dataclasses.replace(GOOD, ended_s=GOOD.ended_s + 1),
        TIMES,
        "the last problem ended at",
    ),
    ("the scenario began earlier", lambda: with_scenario(start_s=-1.0), TIMES, "problem 0 began at 0.000 s"),
    (
        "a problem took longer than it might",
        lambda: telling(CONTESTED, allotted_s=GOOD.solutions[CONTESTED].seconds - 0.1),
        CAP,
        "and 0 s of grace",
    ),
    (
        "a problem is allotted less than its floor",
        lambda: telling(CONTESTED, with_budget(floor_s=100.0), allotted_s=GOOD.solutions[CONTESTED].seconds + 1),
        STARVES,
        "100.000 s were due",
    ),
    ("a problem is allotted more than is left", lambda: telling(EMPTY, allotted_s=901.0), STARVES, "of a share of"),
    ("a problem is allotted more than its stretch", lambda: with_budget(stretch=1.0), STARVES, "of a share of"),
    ("a whole sample is lost", lambda: with_engine(num_returned=1), LOST, "attempts returned, and the journal"),
    ("a broken sample is lost", lambda: with_engine(num_broken=1), LOST, "attempts broke, and the journal"),
    ("a cut sample is lost", lambda: with_engine(num_cancelled=1), LOST, "attempts were cut, and the journal"),
    ("an attempt is told twice", lambda: with_records(second_of), LOST, "is in the journal 2 times"),
    (
        "a solution is not in the journal",
        lambda: with_records(lambda records: records.remove(first(records, "solution"))),
        JOURNAL,
        "another solution, or none, or several",
    ),
    (
        "a solution is in the journal twice",
        lambda: with_records(lambda records: records.append(first(records, "solution"))),
        JOURNAL,
        "another solution, or none, or several",
    ),
    (
        "the journal tells another solution",
        lambda: with_records(lambda records: first(records, "solution").update(guess="why not")),
        JOURNAL,
        "another solution, or none, or several",
    ),
    ("a vote is counted twice", lambda: telling(VOTED, votes=((7, 5),)), JOURNAL, "but the journal's samples give"),
    ("a vote is dropped", lambda: telling(CONTESTED, votes=((7, 3), (8, 2))), JOURNAL, "but the journal's samples"),
    ("the second best is answered", lambda: telling(CONTESTED, answer=8), JOURNAL, "answered 8, but 7 leads"),
    ("nobody's answer is given", lambda: telling(CONTESTED, answer=1), JOURNAL, "answered 1, but 7 leads"),
    ("weights are not heeded", lambda: with_records(twisted_weight), JOURNAL, "the journal's samples give ((8, 2)"),
    ("samples are told wrongly", lambda: telling(VOTED, num_samples=9), JOURNAL, "tells 9 samples"),
    ("tokens are told wrongly", lambda: telling(VOTED, num_tokens=9), JOURNAL, "9 tokens, not"),
    (
        "a text is misread",
        lambda: with_records(lambda records: first(records, "sample", EMPTY, finish="stop").update(text="\\boxed{5}")),
        JOURNAL,
        "says 5 and was counted as None",
    ),
    (
        "a problem is given up early",
        lambda: telling(EMPTY, GOOD, reason=StopReason.OUT_OF_TIME),
        WHY,
        "out of time after",
    ),
    (
        "time was not to be weighed",
        lambda: telling(VOTED, reason=StopReason.NOT_WORTH),
        WHY,
        "which was not to be asked",
    ),
    (
        "a reason does not hold",
        lambda: telling(VOTED, reason=StopReason.DECIDED),
        WHY,
        "stopped as 'decided', but its samples say 'confident'",
    ),
    (
        "an engine is given up early",
        lambda: dataclasses.replace(
            telling(0, telling(1, telling(2, DEAD, allotted_s=799.0), allotted_s=549.0), allotted_s=466.0),
            scenario=dataclasses.replace(DEAD.scenario, budget=dataclasses.replace(CONTEST.budget, limit_s=1500.0)),
        ),
        "no_engine_is_given_up_too_soon",
        "was given up after",
    ),
    (
        "a vote goes on although it is enough",
        lambda: with_solver(stop=StopConfig(num_samples=8, rule="votes(3)")),
        WHY,
        "went on although 'confident' held before",
    ),
    ("a slot stands idle", lambda: with_solver(width=5), SLOTS, "in flight"),
    ("a slot too many is at work", lambda: with_solver(width=3), SLOTS, "in flight"),
    ("a broken attempt is replaced at once", lambda: with_solver(retry_s=5.0), SLOTS, "in flight"),
)


@pytest.mark.parametrize(("make", "check", "says"), [pytest.param(*case, id=name) for name, *case in BROKEN])
def test_what_is_broken_is_told_by_its_check_and_no_other(make: Callable[[], Outcome], check: str, says: str) -> None:
    found = seen(make())
    assert list(found) == [check], found
    assert any(says in violation for violation in found[check]), found
    assert violations(make()) == found[check]


def test_every_check_is_seen_to_fail() -> None:
    names = {check.__name__.strip("_") for check in invariants._CHECKS}
    assert names - {check for *_, check, _ in BROKEN} == {"all_is_over_before_the_limit"}  # below


def test_a_scenario_that_ends_after_its_limit_is_told() -> None:
    """A reserve shorter than the grace: a hang to the end takes the one problem over the limit, and it alone."""
    outcome = run(
        dataclasses.replace(
            CONTEST,
            recordings=CONTEST.recordings[:1],
            budget=BudgetConfig(limit_s=40.0, reserve_s=2.0, floor_s=0.0, num_problems=1),
            faults=(Fault(FaultKind.HANG, 1.0, 1e6),),
        )
    )
    assert outcome.ended_s == pytest.approx(43.0)
    assert seen(outcome) == {
        "all_is_over_before_the_limit": ["the scenario ended at 43.000 s, after its limit of 40 s"]
    }


def test_grace_is_allowed_only_where_a_fault_made_it_necessary() -> None:
    hang = dataclasses.replace(
        CONTEST, budget=BudgetConfig(limit_s=100.0, reserve_s=50.0, floor_s=0.0, num_problems=3), faults=HANG
    )
    outcome = run(hang)
    assert any(solution.seconds > solution.allotted_s + 1 for solution in outcome.solutions)
    assert violations(outcome) == []
    without = dataclasses.replace(outcome, scenario=dataclasses.replace(hang, faults=()))
    assert list(seen(without)) == [CAP]


HANG = (Fault(FaultKind.HANG, 5.0, 1e6),)


def test_a_wrapped_engine_is_not_held_to_the_inner_ones_counts() -> None:
    outcome = with_engine(num_returned=5, num_broken=5, num_cancelled=5)
    wrapped = dataclasses.replace(outcome, scenario=dataclasses.replace(CONTEST, wrap=lambda engine: engine))
    assert violations(wrapped) == []


def test_counting_in_order_is_held_to_its_order() -> None:
    """Attempt 0 is by far the slowest of those that decide; an outcome that counted past it is told."""
    slow_first = Recording(
        name="a",
        gold=7,
        attempts=tuple(RecordedAttempt(answer=7, work_s=10.0, num_tokens=100) for _ in range(6)),
    )
    scenario = dataclasses.replace(
        CONTEST, recordings=(slow_first,), solver=dataclasses.replace(CONTEST.solver, in_order=True)
    )
    good = run(scenario)
    assert violations(good) == []
    records = [dict(record) for record in good.records]
    whole = [record for record in records if record["kind"] == "sample" and record["finish"] == "stop"]
    cut = [record for record in records if record["kind"] == "cancelled"]
    assert cut
    lowest = min(whole, key=lambda record: int(record["number"]))
    lowest["number"], cut[0]["number"] = cut[0]["number"], lowest["number"]
    assert "counted an attempt before its turn" in " ".join(
        seen(dataclasses.replace(good, records=tuple(records)))[JOURNAL]
    )
