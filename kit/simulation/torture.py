"""Many random contests, each checked against the invariants; a failure is a seed that replays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from kit.simulation.contest import Outcome, quiet, run
from kit.simulation.invariants import violations
from kit.simulation.recording import Recording
from kit.simulation.scenario import random_contest

REPEAT_EVERY = 10
"""Every so many seeds, a contest is run twice, and its traces have to be equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One contest after its check. faults: what struck. violations: empty for a good one."""

    seed: int
    num_problems: int
    num_samples: int
    num_broken: int
    num_cut: int
    faults: tuple[str, ...]
    violations: tuple[str, ...]


def check_contest(seed: int, recordings: Sequence[Recording] = ()) -> Checked:
    """Run and check the random contest of this seed, on recorded problems if there are any."""
    outcome = run(random_contest(seed, recordings=recordings))
    found = violations(outcome)
    if seed % REPEAT_EVERY == 0 and run(random_contest(seed, recordings=recordings)).trace != outcome.trace:
        found.append("a second run of the same seed left another trace")
    return _checked(seed, outcome, found)


def check_contests(
    seeds: Iterable[int], *, num_processes: int = 1, recordings: Sequence[Recording] = ()
) -> Iterator[Checked]:
    """Check one after another, in the order of the seeds."""
    check = partial(check_contest, recordings=recordings)
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
        num_cut=outcome.engine.num_cancelled,
        faults=tuple(fault.kind.value for fault in outcome.contest.faults),
        violations=tuple(found),
    )
