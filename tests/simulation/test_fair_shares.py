"""The plan's shares on the virtual clock where problems are slow and all alike."""

from __future__ import annotations

import pytest

from kit.budget import BudgetConfig
from kit.simulation.recording import RecordedAttempt, Recording
from kit.simulation.run import Outcome, Scenario, run
from kit.solver.config import SolverConfig
from kit.solver.solution import Solution

NUM_PROBLEMS = 8
SHARE_S = 100.0


def slow_problem(name: str, work_s: float, answers: tuple[int | None, ...]) -> Recording:
    attempts = tuple(RecordedAttempt(answer=answer, work_s=work_s, num_tokens=100) for answer in answers)
    return Recording(name=name, gold=7, attempts=attempts)


def answered(work_s: float, *, answers: tuple[int | None, ...], stretch: float = 3.0) -> Outcome:
    """Eight equal problems of which an attempt at full width takes `work_s`, under an even share of SHARE_S."""
    limit_s = NUM_PROBLEMS * SHARE_S + 10
    return run(
        Scenario(
            recordings=tuple(slow_problem(f"{place}", work_s, answers) for place in range(NUM_PROBLEMS)),
            budget=BudgetConfig(
                limit_s=limit_s, reserve_s=10.0, floor_s=2.0, stretch=stretch, num_problems=NUM_PROBLEMS
            ),
            solver=SolverConfig(),
        )
    )


def guesses(outcome: Outcome) -> list[Solution]:
    return [each for each in outcome.solutions if each.guess]


@pytest.mark.parametrize("work_s", [40.0, 60.0, 80.0, 99.0])
def test_where_an_even_share_holds_an_attempt_every_problem_gets_one(work_s: float) -> None:
    """The answers all differ, so that each problem would take what it can get."""
    outcome = answered(work_s, answers=(7, *range(101, 108)))
    assert guesses(outcome) == []
    assert min(each.allotted_s for each in outcome.solutions) >= work_s - 1e-6


def test_the_first_of_slow_problems_does_not_take_a_third_of_the_whole() -> None:
    """A regression test: the first took three of eight shares, and the last three, with 2 s each, were guesses."""
    outcome = answered(80.0, answers=(None,) * 4 + (7,) * 4)
    assert outcome.solutions[0].allotted_s == pytest.approx(1.35 * SHARE_S)
    assert outcome.score == NUM_PROBLEMS


def test_the_first_of_eight_leaves_the_others_nearly_their_shares() -> None:
    """Its attempts never end by themselves, so that it takes all that it may."""
    slow = slow_problem("first", 10_000.0, (7,) * 8)
    quick = tuple(slow_problem(f"{place}", 90.0, (7,) * 8) for place in range(NUM_PROBLEMS - 1))
    outcome = run(
        Scenario(
            recordings=(slow, *quick),
            budget=BudgetConfig(limit_s=NUM_PROBLEMS * SHARE_S + 10, reserve_s=10.0, floor_s=2.0,
                                num_problems=NUM_PROBLEMS),
            solver=SolverConfig(),
        )
    )  # fmt: skip
    assert outcome.solutions[0].seconds == pytest.approx(1.35 * SHARE_S)
    assert outcome.score == NUM_PROBLEMS - 1


@pytest.mark.parametrize(("work_s", "num_right"), [(130.0, 4), (250.0, 1)])
def test_where_an_even_share_holds_no_attempt_some_are_answered_all_the_same(work_s: float, num_right: int) -> None:
    """Evenness would leave all of them without an answer."""
    assert answered(work_s, answers=(7,) * 8).score >= num_right
