"""One scenario in virtual time: fixed by its seed, and leaving trio as it was."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from typing import Any

import pytest
import trio

from kit.budget import BudgetConfig
from kit.sampling import Engine
from kit.simulation.engine import Fault, FaultKind
from kit.simulation.random_scenarios import random_scenario
from kit.simulation.recording import RecordedAttempt, Recording
from kit.simulation.run import Scenario, run
from kit.solver.config import SolverConfig
from kit.solver.pacing import PacingConfig
from kit.solver.stopping import StopConfig

SEEDS = range(8)


def alike(*works_s: float, answer: int = 7) -> Recording:
    attempts = tuple(RecordedAttempt(answer=answer, work_s=work_s, num_tokens=10) for work_s in works_s)
    return Recording(name="a", gold=answer, attempts=attempts)


def small(**changes: Any) -> Scenario:
    scenario = Scenario(
        recordings=(alike(8.0), alike(16.0)),
        budget=BudgetConfig(limit_s=1000.0, reserve_s=100.0, num_problems=2),
        solver=SolverConfig(stop=StopConfig(num_samples=8, rule="votes(4)"), pacing=PacingConfig(kind="off"), width=8),
    )
    return dataclasses.replace(scenario, **changes)


def test_a_scenario_takes_the_time_of_its_attempts_and_counts_what_is_right() -> None:
    """Eight at once that take the same time all count, though four were enough."""
    outcome = run(small())
    assert outcome.score == 2
    assert outcome.ended_s == pytest.approx(24.0)
    assert [solution.votes for solution in outcome.solutions] == [((7, 8),), ((7, 8),)]
    assert [solution.begun_s for solution in outcome.solutions] == pytest.approx([0.0, 8.0])


def test_a_scenario_begins_when_it_is_told_to() -> None:
    outcome = run(small(start_s=500.0))
    assert outcome.solutions[0].begun_s == 500.0
    assert outcome.ended_s == pytest.approx(524.0)


def test_a_problem_without_a_known_answer_is_never_right() -> None:
    recording = dataclasses.replace(alike(8.0), gold=None)
    assert run(small(recordings=(recording,))).score == 0


def test_the_journal_is_kept_only_if_asked_for() -> None:
    assert run(small()).records == ()
    kinds = [record["kind"] for record in run(small(keeps_journal=True)).records]
    assert kinds == ["run", *["sample"] * 8, "solution", *["sample"] * 8, "solution"]


def test_what_is_wrapped_around_the_engine_stands_between_it_and_the_solver() -> None:
    seen: list[Engine] = []

    def wrap(engine: Engine) -> Engine:
        seen.append(engine)
        return engine

    outcome = run(small(wrap=wrap))
    assert seen == [outcome.engine]


def test_the_same_seed_gives_the_same_trace() -> None:
    for seed in SEEDS:
        assert run(random_scenario(seed)).trace == run(random_scenario(seed)).trace


def traces_in_a_process(hash_seed: int) -> list[str]:
    code = f"""
from kit.simulation.run import quiet, run
from kit.simulation.random_scenarios import random_scenario
quiet()
for seed in {list(SEEDS)}:
    print(run(random_scenario(seed)).trace)
"""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_same_seed_gives_the_same_trace_in_another_process() -> None:
    """Whatever the order of its sets and dicts of texts."""
    here = [run(random_scenario(seed)).trace for seed in SEEDS]
    assert here == traces_in_a_process(1) == traces_in_a_process(2)


def test_different_seeds_give_different_traces() -> None:
    assert len({run(random_scenario(seed)).trace for seed in SEEDS}) == len(SEEDS)


def test_the_order_of_attempts_is_the_seeds() -> None:
    """Two seeds of one scenario, whose attempts differ: the attempts come in another order."""
    attempts = tuple(RecordedAttempt(answer=n, work_s=10.0 + n, num_tokens=10) for n in range(20))
    recordings = (Recording(name="a", gold=0, attempts=attempts),)
    votes = {run(small(recordings=recordings, seed=seed)).solutions[0].votes for seed in range(5)}
    assert len(votes) == 5


def test_the_trace_tells_a_journal_that_differs() -> None:
    outcome = run(small(keeps_journal=True))
    assert dataclasses.replace(outcome, records=outcome.records[:-1]).trace != outcome.trace
    assert dataclasses.replace(outcome, ended_s=outcome.ended_s + 1e-9).trace != outcome.trace


def test_the_schedulers_randomness_is_put_back() -> None:
    core: Any = trio._core._run
    before = core._r, core._r.getstate(), core._ALLOW_DETERMINISTIC_SCHEDULING
    run(random_scenario(3))
    assert before == (core._r, core._r.getstate(), core._ALLOW_DETERMINISTIC_SCHEDULING)


def test_the_schedulers_randomness_is_put_back_after_an_error_too() -> None:
    def wrap(engine: Engine) -> Engine:
        raise RuntimeError("a wrap with a bug")

    core: Any = trio._core._run
    before = core._r, core._ALLOW_DETERMINISTIC_SCHEDULING
    with pytest.raises(RuntimeError, match="a wrap with a bug"):
        run(small(wrap=wrap, keeps_journal=True))
    assert before == (core._r, core._ALLOW_DETERMINISTIC_SCHEDULING)


def test_the_modules_own_randomness_is_left_alone() -> None:
    import random

    random.seed(5)
    state = random.getstate()
    run(random_scenario(1))
    assert random.getstate() == state


def test_a_hang_to_the_end_costs_its_problem_the_grace_and_no_more() -> None:
    outcome = run(small(recordings=(alike(8.0),) * 3, faults=(Fault(FaultKind.HANG, 4.0, 1e6),)))
    solver = outcome.scenario.solver
    first, second, third = outcome.solutions
    assert first.seconds == pytest.approx(first.allotted_s + solver.grace_s)
    assert second.seconds == pytest.approx(second.allotted_s + solver.grace_s)
    assert third.begun_s + third.seconds <= outcome.scenario.budget.limit_s


def test_random_scenarios_hold_every_kind_of_trouble() -> None:
    """Some hundred scenarios, described only: sizes, starts, faults, budgets that know their size or do not."""
    scenarios = [random_scenario(seed) for seed in range(400)]
    assert {fault.kind for scenario in scenarios for fault in scenario.faults} == set(FaultKind)
    sizes = [len(scenario.recordings) for scenario in scenarios]
    assert min(sizes) == 1
    assert 50 < max(sizes) <= 200
    assert {scenario.budget.num_problems is None for scenario in scenarios} == {True, False}
    assert any(scenario.start_s > scenario.budget.limit_s for scenario in scenarios)
    assert any(scenario.budget.cutoff_s < scenario.start_s < scenario.budget.limit_s for scenario in scenarios)
    for scenario in scenarios:
        moments = [moment for fault in scenario.faults for moment in (fault.begin_s, fault.end_s)]
        assert moments == sorted(moments)  # the engine wants faults that do not overlap


def test_most_random_scenarios_have_something_to_break() -> None:
    """A regression test: 4 of 10 were over before an attempt was drawn, and 1 of 30 had an attempt broken."""
    outcomes = [run(random_scenario(seed)) for seed in range(100)]
    engines = [outcome.engine for outcome in outcomes]
    assert sum(engine.num_returned + engine.num_broken + engine.num_cancelled > 0 for engine in engines) > 75
    assert sum(engine.num_broken > 0 for engine in engines) > 10
    assert sum(engine.num_cancelled > 0 for engine in engines) > 20
