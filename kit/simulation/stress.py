"""Many random scenarios, each checked against the invariants; a failure is a seed that replays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from kit.simulation.invariants import violations
from kit.simulation.random_scenarios import random_scenario
from kit.simulation.recording import Recording
from kit.simulation.run import Outcome, quiet, run

REPEAT_EVERY = 10
"""Every so many seeds, a scenario is run twice, and its traces have to be equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One scenario after its check. faults: what struck. violations: empty for a good one."""

    seed: int
    num_problems: int
    num_samples: int
    num_broken: int
    num_cancelled: int
    faults: tuple[str, ...]
    violations: tuple[str, ...]


def check_scenario(seed: int, recordings: Sequence[Recording] = ()) -> Checked:
    """Run and check the random scenario of this seed, on recorded problems if there are any."""
    outcome = run(random_scenario(seed, recordings=recordings))
    found = violations(outcome)
    if seed % REPEAT_EVERY == 0 and run(random_scenario(seed, recordings=recordings)).trace != outcome.trace:
        found.append("a second run of the same seed left another trace")
    return _checked(seed, outcome, found)


def check_scenarios(
    seeds: Iterable[int], *, num_processes: int = 1, recordings: Sequence[Recording] = ()
) -> Iterator[Checked]:
    """Check one after another, in the order of the seeds."""
    check = partial(check_scenario, recordings=recordings)
    if num_processes == 1:
        yield from map(check, seeds)
        return
    with ProcessPoolExecutor(num_processes, initializer=quiet) as pool:
        yield from pool.map(check, seeds, chunksize=20)


def _checked(seed: int, outcome: Outcome, found: list[str]) -> Checked:
    return Checked(
        seed=seed,
        num_problems=len(outcome.solutions),
        num_samples=sum(solution.num_samples for solution in outcome.solutions),
        num_broken=outcome.engine.num_broken,
        num_cancelled=outcome.engine.num_cancelled,
        faults=tuple(fault.kind.value for fault in outcome.scenario.faults),
        violations=tuple(found),
    )
