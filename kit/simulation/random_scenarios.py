"""Random scenarios, each fixed by its seed: sizes, orders, times, settings, and what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random

from kit.budget import BudgetConfig
from kit.simulation.engine import Fault, FaultKind
from kit.simulation.recording import Recording, made_up
from kit.simulation.run import Scenario
from kit.simulation.speeds import linear
from kit.simulation.tools import with_tools
from kit.solver.config import SolverConfig
from kit.solver.genselect import SelectionConfig
from kit.solver.pacing import PacingConfig
from kit.solver.stopping import StopConfig

RULES = (
    "learned(0.003)",
    "adaptive(0.95)",
    "votes(4)",
    "votes(3) | lead(2)",
    "k_of_recent(4, 5)",
    "esc(4)",
    "certificate(0.05)",
    "sprt(0.05)",
    "uncatchable",
)


def random_scenario(seed: int, *, recordings: Sequence[Recording] = ()) -> Scenario:
    """The scenario of this seed: mostly small, up to 200 problems, with any mix of faults.

    recordings: what problems are drawn from, rather than made up. One scenario in five goes through tools, whose
    sandboxes answer, fail, hang or are not there.
    """
    rng = Random(f"contest {seed}")  # the first version's word: another would make other scenarios of the old seeds
    num_problems = _num_problems(rng)
    share_s = 10 ** rng.uniform(0.5, 3.2)  # for each problem, on the average
    limit_s = 60 + num_problems * share_s
    start_s = limit_s * rng.choices((0.0, 0.02, 0.9, 0.999, 1.2), (70, 15, 9, 3, 3))[0]
    return Scenario(
        recordings=tuple(
            rng.choice(recordings) if recordings else made_up(f"{place}", rng, num_attempts=4)
            for place in range(num_problems)
        ),
        budget=_budget(rng, num_problems, limit_s),
        solver=_solver(rng),
        seed=seed,
        start_s=start_s,
        faults=_faults(rng, start_s, limit_s),
        speeds=linear(rng.choice((0.0, 0.2, 1.0))),
        wrap=partial(with_tools, seed=seed) if rng.random() < 0.2 else None,
        keeps_journal=True,
    )


def _num_problems(rng: Random) -> int:
    low, high = rng.choices(((1, 5), (6, 15), (16, 50), (51, 200)), (75, 18, 6, 1))[0]
    return rng.randint(low, high)


def _budget(rng: Random, num_problems: int, limit_s: float) -> BudgetConfig:
    reserve_s = rng.choice((10.0, 30.0))
    return BudgetConfig(
        limit_s=limit_s,
        reserve_s=reserve_s,
        floor_s=rng.choice((0.0, 1.0, 20.0)),
        stretch=rng.choice((1.0, 3.0, 10.0)),
        # The scenario may announce its size, not know it, or be mistaken about it.
        num_problems=rng.choice((num_problems, num_problems, None, max(1, num_problems // 2), num_problems * 2)),
        horizon=rng.choice((5, 25)),
    )


def _solver(rng: Random) -> SolverConfig:
    num_samples = rng.choice((1, 4, 8, 16))
    return SolverConfig(
        stop=StopConfig(num_samples=num_samples, rule=rng.choice(RULES), max_failures=rng.choice((4, 32))),
        pacing=PacingConfig(kind=rng.choice(("value", "value", "off"))),
        width=rng.choice((1, 4, 8, 16)),
        retry_s=rng.choice((0.5, 2.0)),
        grace_s=rng.choice((1.0, 5.0)),
        in_order=rng.random() < 0.1,
        seed=rng.randrange(2**32),
        depths=rng.choice(((), (), (3, 5, 10), (0,))),
        lengths=rng.choice(((), (), (1000, 32_768))),
        selection=SelectionConfig(num_rounds=rng.choice((0, 0, 0, 5))),
    )


def _faults(rng: Random, start_s: float, limit_s: float) -> tuple[Fault, ...]:
    """Up to three faults one after another, some of them to the end; most while there is still something to hit."""
    span_s = max(0.0, limit_s - start_s) * rng.choice((0.03, 0.2, 1.0))
    moments = sorted(start_s + rng.uniform(0, span_s) for _ in range(2 * rng.choice((0, 1, 1, 2, 3))))
    if moments and rng.random() < 0.2:
        moments[-1] = 10 * limit_s
    return tuple(
        Fault(rng.choice(tuple(FaultKind)), begin_s, end_s)
        for begin_s, end_s in zip(moments[::2], moments[1::2], strict=True)
    )
