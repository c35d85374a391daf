"""Which candidate the other runs choose, by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.policy_candidates import candidate, chosen_without, worth
from kit.simulation.policy import KIT


def test_a_candidate_is_the_kits_policy_with_changes() -> None:
    made = candidate("price 0.1: pacing.price=0.1 width=6")
    assert (made.name, made.solver.pacing.price, made.solver.width) == ("price 0.1", 0.1, 6)
    assert candidate("as it is").solver == KIT.solver


def test_gains_at_the_competitions_shares_count_twice_and_a_loss_ten_times() -> None:
    assert worth({0.6: 3.0, 1.0: 1.0, math.inf: 5.0}) == pytest.approx(3 + 2)
    assert worth({0.6: 3.0, 1.0: -0.5, math.inf: -0.1}) == pytest.approx(3 - 1 - 10 * 0.6)


def test_a_run_has_no_say_in_what_is_chosen_without_it() -> None:
    def gains(bold: float, shy: float) -> dict[str, dict[float, float]]:
        return {"bold": {1.0: bold}, "shy": {1.0: shy}}

    runs = {"a": gains(9.0, 0.0), "b": gains(-1.0, 0.1), "c": gains(0.5, 0.1)}
    assert chosen_without("a", runs, ["bold", "shy"]) == "shy"
    assert chosen_without("b", runs, ["bold", "shy"]) == "bold"
    assert chosen_without("a", {"a": gains(1, 9), "b": gains(1, 1)}, ["bold", "shy"]) == "bold"  # equals: the first
