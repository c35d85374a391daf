"""The path without an event loop against the solver itself on a virtual clock."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.budget import BudgetConfig
from kit.simulation.engine import Fault, FaultKind
from kit.simulation.fast import Draws, Played, is_plain, play
from kit.simulation.policy import KIT, POLICIES, Policy
from kit.simulation.recording import RecordedAttempt, Recording, made_up
from kit.simulation.run import Outcome, Scenario, run
from kit.simulation.speeds import MEASURED, linear
from kit.solver.config import SolverConfig
from kit.solver.genselect import SelectionConfig


def scenario(policy: Policy, seed: int, *, share_s: float, num_problems: int = 6) -> Scenario:
    """Problems whose attempts all take different times, so that no two end in one instant."""
    rng = Random(seed)
    return Scenario(
        recordings=tuple(jittered(made_up(f"{place}", rng, num_attempts=8), rng) for place in range(num_problems)),
        budget=policy.budget(num_problems=num_problems, share_s=share_s),
        solver=policy.solver,
        seed=seed,
        speeds=rng.choice((MEASURED, linear(0.2))),
        repeat=rng.choice((0.1, 1.0)),
    )


def jittered(recording: Recording, rng: Random) -> Recording:
    attempts = tuple(
        dataclasses.replace(each, work_s=each.work_s * rng.uniform(0.8, 1.25), num_calls=rng.randrange(4))
        for each in recording.attempts
    )
    return dataclasses.replace(recording, attempts=attempts)


def assert_alike(fast: Played, slow: Outcome) -> None:
    """The same answers, reasons and numbers of samples, at the same times; the same tokens where no limit cut."""
    assert fast.score == slow.score
    assert fast.ended_s == pytest.approx(slow.ended_s, abs=1e-6)
    for one, other in zip(fast.problems, slow.solutions, strict=True):
        assert (one.answer, one.reason, one.num_samples) == (other.answer, other.reason, other.num_samples)
        assert one.seconds == pytest.approx(other.seconds, abs=1e-6)
        if other.seconds < other.allotted_s - 1e-6:
            assert one.num_tokens == other.num_tokens


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
@pytest.mark.parametrize("share_s", [30.0, 120.0, 2000.0])
def test_every_policy_answers_as_on_the_virtual_clock(policy: Policy, share_s: float) -> None:
    asked = scenario(policy, seed=round(share_s), share_s=share_s)
    assert_alike(play(asked), run(asked))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), share_s=st.floats(5, 1500), width=st.integers(1, 12))
def test_the_kits_policy_answers_as_on_the_virtual_clock(seed: int, share_s: float, width: int) -> None:
    policy = dataclasses.replace(KIT, solver=dataclasses.replace(KIT.solver, width=width))
    asked = scenario(policy, seed=seed, share_s=share_s, num_problems=4)
    assert_alike(play(asked), run(asked))


def test_attempts_that_end_together_all_count() -> None:
    attempt = RecordedAttempt(answer=7, work_s=8.0, num_tokens=10)
    asked = Scenario(
        recordings=(Recording(name="a", gold=7, attempts=(attempt,) * 8),),
        budget=BudgetConfig(limit_s=1000.0, reserve_s=100.0, num_problems=1),
        solver=SolverConfig(),
    )
    played = play(asked)
    assert [each.num_samples for each in played.problems] == [8]
    assert_alike(played, run(asked))


def test_policies_that_are_asked_the_same_draws_answer_as_each_alone() -> None:
    asked = [scenario(policy, seed=3, share_s=80.0) for policy in POLICIES]
    draws = Draws(asked[0])
    assert [play(each, draws) for each in asked] == [play(each) for each in asked]


def test_what_needs_the_event_loop_is_not_plain() -> None:
    plain = scenario(KIT, seed=0, share_s=10)
    assert is_plain(plain)
    assert not is_plain(dataclasses.replace(plain, faults=(Fault(FaultKind.CRASH, 1.0, 2.0),)))
    assert not is_plain(dataclasses.replace(plain, keeps_journal=True))
    for solver in (SolverConfig(in_order=True), SolverConfig(selection=SelectionConfig(num_rounds=5))):
        assert not is_plain(dataclasses.replace(plain, solver=solver))
