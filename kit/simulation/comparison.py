"""Policies on the same scenarios: score, time, samples and tokens, with paired bootstrap intervals.

Each replicate draws problems from a recorded run with replacement, then a scenario from those, each with attempts
drawn anew, and lets every policy answer it: the same problems and attempts in the same order. So an interval holds
the luck of one scenario beside that of the recorded problems: it is wider than one for the mean would be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from random import Random

from kit.simulation.policy import Policy
from kit.simulation.recording import Recording, resampled
from kit.simulation.run import Scenario, quiet, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What scenarios are drawn from. share_s: the even share of the scenario's time; math.inf for no hurry."""

    name: str
    recordings: tuple[Recording, ...]
    share_s: float
    num_problems: int = 50
    stream_cost: float = STREAM_COST


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One policy in one scenario. score: share of the problems answered rightly. seconds: a problem, on the average."""

    score: float
    seconds: float
    num_samples: float
    num_tokens: float


Replicate = list[Run]
"""One scenario, answered by every policy in turn."""

_Job = tuple[Sequence[Policy], Setting, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over the replicates and the middle 95 % of them; of 40 or fewer, nearly their least and greatest."""

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


def settings_under(share: float, runs: Mapping[str, tuple[Recording, ...]], baseline: Policy) -> list[Setting]:
    """Each recorded run under one share of time, in times of what the baseline takes without a limit."""
    settings = []
    for name, recordings in runs.items():
        natural_s = natural_share_s(baseline, Setting(name=name, recordings=recordings, share_s=math.inf))
        label = "no limit" if math.isinf(share) else f"{share:g} x {natural_s:.0f} s a problem"
        settings.append(Setting(name=f"{name}, {label}", recordings=recordings, share_s=share * natural_s))
    return settings


def run_all(
    policies: Sequence[Policy],
    settings: Sequence[Setting],
    *,
    num_replicates: int,
    seed: int = 0,
    num_processes: int = 1,
    on_progress: Callable[[int], object] = lambda num_done: None,
) -> dict[str, list[Replicate]]:
    """The replicates of each setting and, under `all`, their averages; replicate i asks the same in every setting."""
    jobs = [(policies, setting, seed + number) for setting in settings for number in range(num_replicates)]
    results: list[Replicate] = []
    for result in _mapped(jobs, num_processes):
        results.append(result)
        on_progress(len(results))
    runs = {
        setting.name: results[place * num_replicates : (place + 1) * num_replicates]
        for place, setting in enumerate(settings)
    }
    if len(settings) > 1:
        runs["all"] = [_averaged(each) for each in zip(*runs.values(), strict=True)]
    return runs


def rows_of(policies: Sequence[Policy], replicates: Sequence[Replicate]) -> list[Row]:
    """One row a policy, paired with the first."""
    return [
        Row(
            policy=policy.name,
            score=Interval.of([runs[place].score for runs in replicates]),
            seconds=Interval.of([runs[place].seconds for runs in replicates]),
            gain=Interval.of([runs[place].score - runs[0].score for runs in replicates]),
            pace=Interval.of([runs[place].seconds / runs[0].seconds for runs in replicates]),
            num_samples=_mean(runs[place].num_samples for runs in replicates),
            num_tokens=_mean(runs[place].num_tokens for runs in replicates),
        )
        for place, policy in enumerate(policies)
    ]


def at_equal_score(
    policies: Sequence[Policy], by_share: Sequence[Sequence[Replicate]], *, seed: int = 0
) -> dict[str, Interval | None]:
    """Each policy's time to the score that the baseline has under the longest share, over the baseline's time to it.

    by_share: replicates under shares from short to long, replicate i asking the same under each. Between shares the
    best score so far is linear in time. None for a policy that gets there in fewer than half of the bootstraps of
    the replicates; the interval is of those in which it does.
    """
    rng = Random(f"equal score {seed}")
    num = len(by_share[-1])
    draws = [rng.choices(range(num), k=num) for _ in range(_NUM_BOOTSTRAPS)]
    times = [[_time_to_baseline(by_share, place, draw) for place in range(len(policies))] for draw in draws]
    return {
        policy.name: _interval_if_reached([each[place] / each[0] for each in times])
        for place, policy in enumerate(policies)
    }


def _time_to_baseline(by_share: Sequence[Sequence[Replicate]], place: int, draw: Sequence[int]) -> float:
    """Mean seconds a problem until a policy first has the baseline's last score; infinity if it never does."""
    target = _mean(by_share[-1][each][0].score for each in draw)
    curve = [
        (_mean(runs[each][place].seconds for each in draw), _mean(runs[each][place].score for each in draw))
        for runs in by_share
    ]
    return _first_time(curve, target)


def _interval_if_reached(ratios: Sequence[float]) -> Interval | None:
    reached = [ratio for ratio in ratios if math.isfinite(ratio)]
    return Interval.of(reached) if 2 * len(reached) >= len(ratios) else None


def _first_time(curve: Sequence[tuple[float, float]], target: float) -> float:
    """When the best score so far of a curve of (seconds, score) first reaches the target; infinity if it never does."""
    best_s, best = curve[0]
    if best >= target - _ROUNDING:
        return best_s
    for seconds, score in curve[1:]:
        if score >= target - _ROUNDING:
            return best_s + (seconds - best_s) * (target - best) / (score - best)
        if score > best:
            best_s, best = seconds, score
    return math.inf


def natural_share_s(policy: Policy, setting: Setting) -> float:
    """Seconds that the policy takes for a problem of this run if nothing limits it."""
    asked = setting.recordings
    return math.fsum(_run(policy, setting, asked, seed).seconds for seed in range(_NUM_NATURAL)) / _NUM_NATURAL


def _mapped(jobs: Sequence[_Job], num_processes: int) -> Iterator[Replicate]:
    if num_processes == 1:
        yield from map(_replicate, jobs)
        return
    with ProcessPoolExecutor(num_processes, initializer=quiet) as pool:
        yield from pool.map(_replicate, jobs)


def _replicate(job: _Job) -> Replicate:
    """Every policy in one scenario."""
    policies, setting, seed = job
    # By place and not by name, so that recordings of the same problems by several models are asked alike.
    places = Random(seed).choices(range(len(setting.recordings)), k=len(setting.recordings))
    asked = Random(-1 - seed).choices(places, k=setting.num_problems)
    rng = Random(f"{setting.name}|{seed}")
    recordings = tuple(resampled(setting.recordings[place], rng) for place in asked)
    return [_run(policy, setting, recordings, seed) for policy in policies]


def _run(policy: Policy, setting: Setting, asked: tuple[Recording, ...], seed: int) -> Run:
    share_s = min(setting.share_s, _NO_HURRY * _mean_work_s(setting.recordings))
    outcome = run(
        Scenario(
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
_NUM_BOOTSTRAPS = 500
_ROUNDING = 1e-9
_NO_HURRY = 20.0  # mean attempts a problem: far more than any policy here takes


def _averaged(runs_of_settings: tuple[Replicate, ...]) -> Replicate:
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


def _mean(values: Iterator[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)
