"""Random scenarios by the thousand, and how one that fails tells its seed."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest

from kit.simulation import invariants
from kit.simulation.run import Outcome
from kit.simulation.stress import REPEAT_EVERY, Checked, check_scenario, check_scenarios

FEW = range(100)
MANY = range(100, 10_000)


def test_a_hundred_random_scenarios_keep_every_promise() -> None:
    """Answered, in range, in time, nothing lost, none starved, no slot idle, equal seeds equal traces."""
    check(FEW)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_thousand_random_scenarios_keep_every_promise() -> None:
    """With the hundred above."""
    check(MANY)


def check(seeds: Iterable[int]) -> None:
    broken = {
        checked.seed: checked.violations[0]
        for checked in check_scenarios(seeds, num_processes=os.cpu_count() or 1)
        if checked.violations
    }
    assert not broken, (
        f"{len(broken)} scenarios broke what must hold; see one again: kit simulate --replay {min(broken)}\n"
        + "\n".join(f"seed {seed}: {violation}" for seed, violation in broken.items())
    )


def test_scenarios_are_checked_in_the_order_of_their_seeds_however_many_processes_do_it() -> None:
    seeds = [5, 3, 4, 9]
    alone = list(check_scenarios(seeds))
    assert [checked.seed for checked in alone] == seeds
    assert list(check_scenarios(seeds, num_processes=2)) == alone == [check_scenario(seed) for seed in seeds]


def test_a_violation_is_told_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "_CHECKS", (lambda outcome: iter([f"{len(outcome.solutions)} is a bad number"]),))
    checked = check_scenario(3)
    assert checked.violations == (f"{checked.num_problems} is a bad number",)
    assert checked.seed == 3


def test_every_tenth_scenario_is_run_twice_and_its_traces_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = iter(["one", "another", "third"])
    monkeypatch.setattr(Outcome, "trace", property(lambda outcome: next(traces)))
    assert check_scenario(REPEAT_EVERY).violations == ("a second run of the same seed left another trace",)
    assert check_scenario(REPEAT_EVERY + 1).violations == ()


def test_what_struck_and_what_it_cost_is_counted() -> None:
    checked = list(check_scenarios(range(30)))
    assert all(isinstance(each, Checked) for each in checked)
    assert {kind for each in checked for kind in each.faults} == {"crash", "hang", "slow", "empty", "panic", "deaf"}
    assert sum(each.num_samples for each in checked) > 100
    assert sum(each.num_broken for each in checked) > 10
    assert sum(each.num_cancelled for each in checked) > 10
