import math
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


# -------------------------------------------------------------- the winners' plans, as their notebooks wrote them


class BankNotebook:
    """The common ancestor's budget (docs/peers.md#common-ancestor). `elapsed` counts from the notebook's start."""

    def __init__(self, *, total: float, num_problems: int, base: float, high: float) -> None:
        self.total, self.base, self.high = total, base, high
        self.problems_remaining = num_problems

    def next_problem(self, elapsed: float) -> float:
        budget = self.total - elapsed - (self.problems_remaining - 1) * self.base
        budget = max(min(budget, self.high), self.base)
        self.problems_remaining -= 1
        return budget


class LinspaceNotebook:
    """tonghuikang's budget (docs/peers.md#tonghuikang): a list of cutoff times, one popped for each problem."""

    def __init__(self, *, last: float, first: float, num_problems: int, single: float) -> None:
        numpy = pytest.importorskip("numpy")
        self.cutoff_times = numpy.linspace(last, first, num_problems + 1).tolist()
        self.single = single

    def next_problem(self, elapsed: float) -> float:
        return min(float(self.cutoff_times.pop()) - elapsed, self.single)


uses = st.lists(st.one_of(st.just(0.0), st.floats(0, 1.2), st.just(1.0)), min_size=50, max_size=50)


@given(use=uses, base=st.sampled_from([240.0, 300.0]), high=st.sampled_from([840.0, 900.0, 960.0]))
def test_the_bank_is_what_the_common_ancestor_wrote_and_never_more_than_remains(
    use: list[float], base: float, high: float
) -> None:
    budget, clock = make(limit_s=17_700, reserve_s=300, num_problems=50, plan="bank", bank_s=base, bank_high_s=high)
    notebook = BankNotebook(total=17_400, num_problems=50, base=base, high=high)
    for num_done, share_used in enumerate(use):
        written = notebook.next_problem(clock.now_s)
        assert budget.allot_s(num_done) == pytest.approx(min(written, budget.remaining_s), abs=1e-6)
        clock.now_s += written * share_used


@given(use=uses)
def test_linspace_is_what_tonghuikang_wrote_and_never_less_than_nothing(use: list[float]) -> None:
    budget, clock = make(limit_s=18_000, reserve_s=120, num_problems=50, plan="linspace")
    notebook = LinspaceNotebook(last=4 * 3600 + 58 * 60, first=3600, num_problems=50, single=750)
    for num_done, share_used in enumerate(use):
        written = notebook.next_problem(clock.now_s)
        allotted = budget.allot_s(num_done)
        assert allotted == pytest.approx(max(0.0, min(written, budget.remaining_s)), abs=1e-6)
        clock.now_s += max(0.0, written) * share_used


def test_the_banks_surplus_pays_for_four_hard_problems_in_a_row_and_no_more() -> None:
    """As in docs/peers.md#common-ancestor: 17,400 - 50 * 300 = 2,400 s are four times the 600 s above the base."""
    budget, clock = make(limit_s=17_400, reserve_s=0, num_problems=50, plan="bank")
    for num_done in range(50):
        allotted = budget.allot_s(num_done)
        assert allotted == pytest.approx(900 if num_done < 4 else 300)
        clock.now_s += allotted


def test_what_a_problem_leaves_over_goes_to_those_after_it() -> None:
    budget, clock = make(limit_s=15_000, reserve_s=0, num_problems=50, plan="bank")
    assert budget.allot_s(0) == 300
    clock.now_s = 100
    assert budget.allot_s(1) == 500
    spaced, clock = make(limit_s=15_000, reserve_s=0, num_problems=50, plan="linspace", first_s=300)
    assert spaced.allot_s(0) == 300
    clock.now_s = 100
    assert spaced.allot_s(1) == pytest.approx(300 + 14_700 / 50 - 100)


def test_the_linspace_plan_gives_nothing_to_a_problem_whose_time_is_past() -> None:
    budget, clock = make(limit_s=18_000, reserve_s=0, num_problems=50, plan="linspace")
    clock.now_s = 3600 + 3 * 288 + 1
    assert budget.allot_s(3) == 0
    assert budget.allot_s(4) == 287


@given(
    plan=st.sampled_from(["stretch", "bank", "linspace"]),
    num_problems=st.one_of(st.none(), st.integers(1, 60)),
    num_done=st.integers(0, 80),
    now_s=st.floats(0, 20_000),
    first_s=st.floats(0, 30_000),
)
def test_no_plan_allots_more_than_remains_or_less_than_nothing(
    plan: str, num_problems: int | None, num_done: int, now_s: float, first_s: float
) -> None:
    budget, clock = make(plan=plan, num_problems=num_problems, first_s=first_s)
    clock.now_s = now_s
    assert 0 <= budget.allot_s(num_done) <= budget.remaining_s


@given(num_problems=st.one_of(st.none(), st.integers(1, 60)), num_done=st.integers(0, 80), now_s=st.floats(0, 20_000))
def test_the_share_is_even_whatever_the_plan(num_problems: int | None, num_done: int, now_s: float) -> None:
    shares = set()
    for plan in ("stretch", "bank", "linspace"):
        budget, clock = make(plan=plan, num_problems=num_problems, horizon=25)
        clock.now_s = now_s
        shares.add(budget.share_s(num_done))
    is_known = num_problems is not None and num_done < num_problems
    num_left = (num_problems or 0) - num_done if is_known else 25
    assert shares == {max(0.0, 17_400 - now_s) / num_left}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reserve_s", -1),
        ("limit_s", 600),
        ("limit_s", math.inf),
        ("limit_s", 1e11),
        ("bank_high_s", math.inf),
        ("single_s", math.inf),
        ("floor_s", -1),
        ("stretch", 0.5),
        ("num_problems", 0),
        ("horizon", 0),
        ("bank_s", 0),
        ("bank_s", 900.1),
        ("first_s", -1),
        ("single_s", 0),
    ],
)
def test_refuses_settings_that_make_no_sense(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        make(**{name: value})


def test_the_clock_counts_from_the_start_of_the_process_not_of_the_import() -> None:
    code = "import time; time.sleep(0.5)\nfrom kit.budget import process_clock\nprint(process_clock()())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.5 <= float(done.stdout) < 600


def test_the_clock_goes_on_with_real_time() -> None:
    clock = process_clock()
    first = clock()
    time.sleep(0.02)
    assert clock() - first >= 0.02
    assert first > 0


# ------------------------------------------------------------------------------------------ a floor by the pace


def test_a_problem_leaves_the_others_time_for_an_attempt_at_the_pace_seen() -> None:
    budget = Budget(BudgetConfig(limit_s=810, reserve_s=10, floor_s=2, stretch=3, num_problems=8), lambda: 0.0)
    assert budget.allot_s(0) == 300.0
    assert budget.allot_s(0, pace_s=80.0) == pytest.approx(800 - 7 * 80)
    assert budget.allot_s(0, pace_s=100.0) == pytest.approx(100.0)


@pytest.mark.parametrize("pace_s", [100.1, 1e9, float("inf")])
def test_a_pace_that_an_even_share_does_not_hold_is_no_floor(pace_s: float) -> None:
    budget = Budget(BudgetConfig(limit_s=810, reserve_s=10, floor_s=2, stretch=3, num_problems=8), lambda: 0.0)
    assert budget.allot_s(0, pace_s=pace_s) == 300.0
