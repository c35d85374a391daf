"""How long a problem may take: the competition's clock, its reserve, and each problem's share.

The clock counts seconds since the process started, not since the model was loaded: loading is paid
for by the same five hours (docs/peers.md#clock). Pure: the clock is an argument. Two plans that the
competition's winners wrote are here too, for comparison with the kit's own (`BudgetConfig.plan`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kit.errors import check_fields

Clock = Callable[[], float]
"""Seconds since the competition's process started; never goes back."""


MAX_LIMIT_S = 1e9
"""More than any simulation takes, and less than a lock can wait (threading.TIMEOUT_MAX, 9.2e9 on Linux)."""


def process_clock() -> Clock:
    """A clock whose zero is the start of this process, read from the operating system.

    Linux: field 22 of /proc/self/stat, in clock ticks since boot (man 5 proc). Elsewhere the best that
    is known is the first call, which is later than the truth, so the budget would be too generous by
    the time the imports took.
    """
    age_s = _process_age_s()
    zero = time.monotonic() - age_s
    return lambda: time.monotonic() - zero


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetConfig:
    """How the competition's time is shared out. All in seconds.

    limit_s: the competition's wall time, from process start (AIMO3's rules: GPU notebooks 5 h).
    reserve_s: kept back at the end, for answering what is left and for the gateway's own work.
    floor_s: what every problem not yet seen is sure to get, while time lasts; more where an attempt takes longer
    (`Budget.allot_s`).
    stretch: a hard problem may take this many times the even share of what is left.
    num_problems: how many will come (AIMO3's rules: 50); None if unknown, as for a gateway that does not tell.
    horizon: with num_problems unknown, plan as if this many more were always to come.
    plan: how the share is made. `stretch`: as above. `bank`: every problem has bank_s and what earlier ones left
    over, up to bank_high_s (the fixed clamp with bank of docs/peers.md#common-ancestor). `linspace`: problem i must
    end by the i-th of evenly spaced times from first_s to the cutoff, and within single_s (docs/peers.md#tonghuikang).
    Raises: InputError for a value outside its range.
    """

    limit_s: float = 5 * 3600.0
    reserve_s: float = 600.0
    floor_s: float = 20.0
    stretch: float = 3.0
    num_problems: int | None = 50
    horizon: int = 25
    plan: Literal["stretch", "bank", "linspace"] = "stretch"
    bank_s: float = 300.0
    bank_high_s: float = 900.0
    first_s: float = 3600.0
    single_s: float = 750.0

    def __post_init__(self) -> None:
        checks = (
            ("reserve_s", self.reserve_s >= 0, ">= 0"),
            (
                "limit_s",
                self.reserve_s < self.limit_s <= MAX_LIMIT_S,
                f"more than reserve_s ({self.reserve_s:g}) and at most {MAX_LIMIT_S:g}",
            ),
            ("floor_s", 0 <= self.floor_s < math.inf, ">= 0 and finite"),
            ("stretch", 1 <= self.stretch < math.inf, ">= 1 and finite"),
            ("num_problems", self.num_problems is None or self.num_problems >= 1, ">= 1, or None"),
            ("horizon", self.horizon >= 1, ">= 1"),
            ("bank_high_s", self.bank_high_s < math.inf, "finite"),
            ("bank_s", 0 < self.bank_s <= self.bank_high_s, f"in (0, bank_high_s ({self.bank_high_s:g})]"),
            ("first_s", 0 <= self.first_s < math.inf, ">= 0 and finite"),
            ("single_s", 0 < self.single_s < math.inf, "> 0 and finite"),
        )
        check_fields(self, checks)

    @property
    def cutoff_s(self) -> float:
        """When solving stops: after it every problem is answered at once from what is known."""
        return self.limit_s - self.reserve_s


@dataclass(frozen=True, slots=True)
class Budget:
    """The competition's time, as seen at any moment through its clock."""

    config: BudgetConfig = field(default_factory=BudgetConfig)
    clock: Clock = field(default_factory=process_clock)

    @property
    def remaining_s(self) -> float:
        """Seconds until the cutoff, never negative."""
        return max(0.0, self.config.cutoff_s - self.clock())

    def share_s(self, num_done: int) -> float:
        """The even share of the remaining seconds, `num_done` problems having been answered."""
        return self.remaining_s / self._num_left(num_done)

    def allot_s(self, num_done: int, *, pace_s: float = 0.0) -> float:
        """Seconds the next problem may take, `num_done` problems having been answered; 0 after the cutoff.

        pace_s: what an attempt takes, as far as it is known: the plan `stretch` then leaves that much to every problem
        to come, as long as an even share holds it. Where it does not, evenness would leave all of them without an
        answer, and `floor_s` alone is kept.
        """
        match self.config.plan:
            case "stretch":
                allotted = self._stretched_s(num_done, pace_s)
            case "bank":
                allotted = self._banked_s(num_done)
            case "linspace":
                allotted = self._spaced_s(num_done)
        return min(self.remaining_s, max(0.0, allotted))

    def _stretched_s(self, num_done: int, pace_s: float) -> float:
        """At most `stretch` even shares, and never what the others' floors need.

        Where the floors cannot all be met any more, the even share. Answering early leaves its time to the rest.
        """
        share = self.share_s(num_done)
        floor_s = max(self.config.floor_s, pace_s if pace_s <= share else 0.0)
        without_floors = self.remaining_s - (self._num_left(num_done) - 1) * floor_s
        return max(share, min(self.config.stretch * share, without_floors))

    def _banked_s(self, num_done: int) -> float:
        """As the winners wrote it: max(min(remaining - (left - 1) * base, high), base)."""
        banked = self.remaining_s - (self._num_left(num_done) - 1) * self.config.bank_s
        return max(min(banked, self.config.bank_high_s), self.config.bank_s)

    def _spaced_s(self, num_done: int) -> float:
        """As tonghuikang wrote it: numpy.linspace(cutoff, first, num + 1), popped once a problem."""
        num_problems = self.config.num_problems or num_done + self.config.horizon
        step = (self.config.cutoff_s - self.config.first_s) / num_problems
        return min(self.config.single_s, self.config.first_s + num_done * step - self.clock())

    def _num_left(self, num_done: int) -> int:
        """How many problems to plan for, this one included; more than were announced may come."""
        if self.config.num_problems is None or num_done >= self.config.num_problems:
            return self.config.horizon
        return self.config.num_problems - num_done


def _process_age_s() -> float:
    try:
        stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    # The command's name, in brackets, may itself hold spaces and brackets: count from the last one.
    fields_from_state = stat.rpartition(")")[2].split()
    start_ticks = int(fields_from_state[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf("SC_CLK_TCK")
