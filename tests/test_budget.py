import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.budget import Budget, BudgetConfig, process_clock
from kit.errors import InputError


class FakeClock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def make(**changes: object) -> tuple[Budget, FakeClock]:
    clock = FakeClock()
    return Budget(BudgetConfig(**changes), clock), clock  # type: ignore[arg-type]


def test_a_hard_problem_gets_several_even_shares() -> None:
    budget, _ = make(limit_s=1100, reserve_s=100, num_problems=10, floor_s=10, stretch=3)
    assert budget.allot_s(0) == 300


def test_no_problem_eats_the_floors_of_the_others() -> None:
    budget, _ = make(limit_s=1000, reserve_s=0, num_problems=10, floor_s=90, stretch=10)
    assert budget.allot_s(0) == 1000 - 9 * 90


def test_the_even_share_is_left_when_the_floors_cannot_be_met() -> None:
    budget, clock = make(limit_s=1000, reserve_s=0, num_problems=10, floor_s=90)
    clock.now_s = 500
    assert budget.allot_s(0) == 50


def test_the_last_problem_gets_all_that_is_left_but_the_reserve() -> None:
    budget, clock = make(limit_s=1000, reserve_s=100, num_problems=10)
    clock.now_s = 600
    assert budget.allot_s(9) == 300


def test_nothing_is_allotted_after_the_cutoff() -> None:
    budget, clock = make(limit_s=1000, reserve_s=100)
    clock.now_s = 900.1
    assert budget.remaining_s == 0
    assert budget.allot_s(3) == 0


def test_more_problems_than_announced_are_planned_for_as_unknown() -> None:
    budget, _ = make(limit_s=1000, reserve_s=0, num_problems=2, floor_s=0, stretch=1, horizon=20)
    assert budget.allot_s(2) == budget.allot_s(7) == 50


@given(
    num_problems=st.one_of(st.none(), st.integers(1, 60)),
    use=st.lists(st.floats(0, 1), min_size=1, max_size=120),
    stretch=st.floats(1, 10),
    floor_s=st.floats(0, 400),
)
def test_allotments_never_exceed_what_remains_and_never_starve_anyone(
    num_problems: int | None, use: list[float], stretch: float, floor_s: float
) -> None:
    budget, clock = make(limit_s=18000, reserve_s=600, num_problems=num_problems, stretch=stretch, floor_s=floor_s)
    for num_done, share_used in enumerate(use[: num_problems or None]):
        remaining = budget.remaining_s
        allotted = budget.allot_s(num_done)
        assert 0 < allotted <= remaining + 1e-6
        if num_problems is not None:
            others = num_problems - num_done - 1
            fair = remaining / (others + 1)
            assert remaining - allotted >= others * min(floor_s, fair) - 1e-6
        if num_done + 1 == num_problems:
            break
        clock.now_s += allotted * share_used * 0.999  # float rounding aside, time is never used up early


@pytest.mark.parametrize(
    ("name", "value"),
    [("reserve_s", -1), ("limit_s", 600), ("floor_s", -1), ("stretch", 0.5), ("num_problems", 0), ("horizon", 0)],
)
def test_refuses_settings_that_make_no_sense(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        make(**{name: value})


def test_the_clock_counts_from_the_start_of_the_process_not_of_the_import() -> None:
    code = "import time; time.sleep(0.5)\nfrom kit.budget import process_clock\nprint(process_clock()())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.5 <= float(done.stdout) < 60


def test_the_clock_goes_on_with_real_time() -> None:
    clock = process_clock()
    first = clock()
    time.sleep(0.02)
    assert clock() - first >= 0.02
    assert first > 0
