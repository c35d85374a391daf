"""Policies on the same contests: score, time, samples and tokens, with paired bootstrap intervals.

Each replicate draws problems from a recorded run with replacement, then a contest from those, and lets every
policy answer it: the same problems in the same order, each with its attempts in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from random import Random

from kit.simulation.contest import Contest, quiet, run
from kit.simulation.engine import STREAM_COST
from kit.simulation.policy import Policy
from kit.simulation.recording import Recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What contests are drawn from. share_s: the even share of the contest's time; math.inf for no hurry."""

    name: str
    recordings: tuple[Recording, ...]
    share_s: float
    num_problems: int = 50
    stream_cost: float = STREAM_COST


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One policy in one contest. score: share of the problems answered rightly. seconds: a problem, on the average."""

    score: float
    seconds: float
    num_samples: float
    num_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over the replicates and the middle 95 % of them."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """Percentile bootstrap, one value a replicate."""
        ranked = sorted(values)
        last = len(ranked) - 1
        return cls(
            mean=math.fsum(ranked) / len(ranked), low=ranked[round(0.025 * last)], high=ranked[round(0.975 * last)]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One policy over all replicates; gain and pace are paired with the baseline's.

    gain: its score less the baseline's. pace: its seconds over the baseline's.
    """

    policy: str
    score: Interval
    seconds: Interval
    gain: Interval
    pace: Interval
    num_samples: float
    num_tokens: float


def compare(
    policies: Sequence[Policy],
    settings: Sequence[Setting],
    *,
    num_replicates: int,
    seed: int = 0,
    num_processes: int = 1,
    on_progress: Callable[[], None] = lambda: None,
) -> dict[str, list[Row]]:
    """Rows for each setting and, under `all`, for their averages; the first policy is the baseline.

    Source: paired bootstrap over problems (cases) and attempt orders, percentile intervals.
    """
    jobs = [(policies, setting, seed + number) for setting in settings for number in range(num_replicates)]
    results: list[list[Run]] = []
    for result in _mapped(jobs, num_processes):
        results.append(result)
        on_progress()
    names = [policy.name for policy in policies]
    runs = {
        setting.name: results[place * num_replicates : (place + 1) * num_replicates]
        for place, setting in enumerate(settings)
    }
    rows = {name: _rows(names, each) for name, each in runs.items()}
    if len(settings) > 1:
        rows["all"] = _rows(names, [_averaged(each) for each in zip(*runs.values(), strict=True)])
    return rows


def natural_share_s(policy: Policy, setting: Setting) -> float:
    """Seconds that the policy takes for a problem of this run if nothing limits it."""
    asked = setting.recordings
    return math.fsum(_run(policy, setting, asked, seed).seconds for seed in range(_NUM_NATURAL)) / _NUM_NATURAL


def _mapped(jobs: Sequence[tuple[Sequence[Policy], Setting, int]], num_processes: int) -> Iterator[list[Run]]:
    if num_processes == 1:
        yield from map(_replicate, jobs)
        return
    with ProcessPoolExecutor(num_processes, initializer=quiet) as pool:
        yield from pool.map(_replicate, jobs)


def _replicate(job: tuple[Sequence[Policy], Setting, int]) -> list[Run]:
    """Every policy in one contest."""
    policies, setting, seed = job
    rng = Random(f"{setting.name}|{seed}")
    population = rng.choices(setting.recordings, k=len(setting.recordings))
    asked = tuple(rng.choices(population, k=setting.num_problems))
    return [_run(policy, setting, asked, seed) for policy in policies]


def _run(policy: Policy, setting: Setting, asked: tuple[Recording, ...], seed: int) -> Run:
    share_s = min(setting.share_s, _NO_HURRY * _mean_work_s(setting.recordings))
    outcome = run(
        Contest(
            recordings=asked,
            budget=policy.budget(num_problems=len(asked), share_s=share_s),
            solver=policy.solver,
            seed=seed,
            stream_cost=setting.stream_cost,
        )
    )
    num = len(asked)
    return Run(
        score=outcome.score / num,
        seconds=outcome.ended_s / num,
        num_samples=sum(each.num_samples for each in outcome.solutions) / num,
        num_tokens=sum(each.num_tokens for each in outcome.solutions) / num,
    )


def _mean_work_s(recordings: Sequence[Recording]) -> float:
    works = [attempt.work_s for recording in recordings for attempt in recording.attempts]
    return math.fsum(works) / len(works)


_NUM_NATURAL = 5
_NO_HURRY = 20.0  # mean attempts a problem: far more than any policy here takes


def _averaged(runs_of_settings: tuple[list[Run], ...]) -> list[Run]:
    """One replicate over all settings: scores and samples by mean, times relative to the baseline's of each."""
    return [
        Run(
            score=_mean(run.score for run in runs),
            seconds=_mean(run.seconds / base.seconds for run, base in zip(runs, baselines, strict=True)),
            num_samples=_mean(run.num_samples for run in runs),
            num_tokens=_mean(run.num_tokens for run in runs),
        )
        for baselines in [[runs[0] for runs in runs_of_settings]]
        for runs in zip(*runs_of_settings, strict=True)
    ]


def _rows(names: Sequence[str], replicates: Sequence[Sequence[Run]]) -> list[Row]:
    return [
        Row(
            policy=name,
            score=Interval.of([runs[place].score for runs in replicates]),
            seconds=Interval.of([runs[place].seconds for runs in replicates]),
            gain=Interval.of([runs[place].score - runs[0].score for runs in replicates]),
            pace=Interval.of([runs[place].seconds / runs[0].seconds for runs in replicates]),
            num_samples=_mean(runs[place].num_samples for runs in replicates),
            num_tokens=_mean(runs[place].num_tokens for runs in replicates),
        )
        for place, name in enumerate(names)
    ]


def _mean(values: Iterator[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)
