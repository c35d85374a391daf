"""Policies on the same scenarios: score, time, samples and tokens, with paired bootstrap intervals.

Each replicate draws problems from a recorded run with replacement, then one or more scenarios from those, each with
attempts drawn anew, and lets every policy answer them: the same problems and attempts in the same order. A replicate is
the mean over its scenarios: the more there are, the less of one scenario's luck is in the interval beside that of the
recorded problems.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from random import Random

from kit.errors import InputError
from kit.simulation.fast import Draws, Played, play
from kit.simulation.intervals import Interval
from kit.simulation.mixture import AIMO3, Target, mixed
from kit.simulation.policy import Policy
from kit.simulation.recording import Recording, resampled
from kit.simulation.run import Scenario, quiet
from kit.simulation.speeds import MEASURED, StreamSpeeds
from kit.solver.journal import Journal, Record
from kit.voting.learned import LEARNED


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What scenarios are drawn from.

    share_s: the even share of the scenario's time; math.inf for no hurry. weights: how often each recording is asked;
    empty: alike. speeds: of streams beside others. repeat: see `kit.simulation.recording.redrawn`.
    num_scenarios: whose mean makes a replicate.
    """

    name: str
    recordings: tuple[Recording, ...]
    share_s: float
    num_problems: int = 50
    weights: tuple[float, ...] = ()
    speeds: StreamSpeeds = MEASURED
    repeat: float = LEARNED.repeat
    num_scenarios: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One policy in one scenario, or the mean over several.

    score: share of the problems answered rightly. seconds: a problem, on the average. unspent: share of the time that
    was left at the end.
    """

    score: float
    seconds: float
    num_samples: float
    num_tokens: float
    unspent: float = 0.0


Replicate = list[Run]
"""The same scenarios, answered by every policy in turn."""

_Job = tuple[Sequence[Policy], Setting, int]


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
    unspent: float


def settings_under(share: float, pools: Sequence[Setting], baseline: Policy) -> list[Setting]:
    """Each pool under one share of time, in times of what the baseline takes without a limit."""
    settings = []
    for pool in pools:
        natural_s = natural_share_s(baseline, pool)
        label = "no limit" if math.isinf(share) else f"{share:g} x {natural_s:.0f} s a problem"
        settings.append(replace(pool, name=f"{pool.name}, {label}", share_s=share * natural_s))
    return settings


def with_mixture(pools: Sequence[Setting], baseline: Policy, *, target: Target = AIMO3) -> list[Setting]:
    """The recorded runs and, where there are several, behind them a mixture on which the baseline scores as given."""
    if len(pools) < 2:
        return list(pools)
    mixture = mixed(
        {pool.name: pool.recordings for pool in pools},
        natural_s={pool.name: natural_share_s(baseline, pool) for pool in pools},
        scores={pool.name: [_score_on(baseline, pool, each) for each in pool.recordings] for pool in pools},
        target=target,
    )
    return [*pools, replace(pools[0], name=MIXTURE, recordings=mixture.recordings, weights=mixture.weights)]


def run_all(
    policies: Sequence[Policy],
    settings: Sequence[Setting],
    *,
    num_replicates: int,
    seed: int = 0,
    num_processes: int = 1,
    journal: Journal | None = None,
    on_progress: Callable[[int], object] = lambda num_done: None,
) -> dict[str, list[Replicate]]:
    """The replicates of each setting and, under `all`, their averages without the mixture's; replicate i asks the same
    in every setting. journal: where each is kept, and found again; of the same policies and pools."""
    jobs = [(policies, setting, seed + number) for setting in settings for number in range(num_replicates)]
    results = kept_in(journal)
    missing = [job for job in jobs if _key(job) not in results]
    for num_new, (job, result) in enumerate(zip(missing, _mapped(missing, num_processes), strict=True), start=1):
        results[_key(job)] = result
        if journal is not None:
            journal.append(_record(job, result), is_synced=False)
        on_progress(len(jobs) - len(missing) + num_new)
    runs = {
        setting.name: [results[setting.name, seed + number] for number in range(num_replicates)] for setting in settings
    }
    recorded = [runs[setting.name] for setting in settings if not setting.weights]
    if len(recorded) > 1:
        runs["all"] = [_averaged(each) for each in zip(*recorded, strict=True)]
    return runs


def kept_in(journal: Journal | None) -> dict[tuple[str, int], Replicate]:
    """The replicates that an earlier process left, by setting and seed.

    Raises: InputError for a record that is none.
    """
    if journal is None:
        return {}
    try:
        return {
            (record["setting"], record["seed"]): [Run(**run) for run in record["runs"]]
            for record in journal.past("replicate")
        }
    except (KeyError, TypeError) as error:
        raise InputError(f"{journal.path}: holds a record that is no replicate ({error!r}); delete the file") from None


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
            unspent=_mean(runs[place].unspent for runs in replicates),
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


@lru_cache(maxsize=64)  # asked again for each share of time
def natural_share_s(policy: Policy, setting: Setting) -> float:
    """Seconds that the policy takes for a problem of these recordings if nothing limits it."""
    free = replace(setting, share_s=math.inf)
    if not setting.weights:
        return _mean(_run(policy, free, setting.recordings, seed).seconds for seed in range(_NUM_NATURAL))
    singles = [
        _mean(_run(policy, free, (recording,), seed).seconds for seed in range(_NUM_NATURAL))
        for recording in setting.recordings
    ]
    return math.fsum(weight * seconds for weight, seconds in zip(setting.weights, singles, strict=True))


def _score_on(policy: Policy, setting: Setting, recording: Recording) -> float:
    """How often the policy gets one problem right if nothing limits it."""
    asked = (recording,) * _NUM_SCORED
    return _run(policy, replace(setting, share_s=math.inf), asked, 0).score


def _mapped(jobs: Sequence[_Job], num_processes: int) -> Iterator[Replicate]:
    if num_processes == 1:
        yield from map(_replicate, jobs)
        return
    with ProcessPoolExecutor(num_processes, initializer=quiet) as pool:
        yield from pool.map(_replicate, jobs)


def _key(job: _Job) -> tuple[str, int]:
    return job[1].name, job[2]


def _record(job: _Job, replicate: Replicate) -> Record:
    return {"kind": "replicate", "setting": job[1].name, "seed": job[2], "runs": [asdict(run) for run in replicate]}


def _replicate(job: _Job) -> Replicate:
    """Every policy in the same scenarios."""
    policies, setting, seed = job
    # By place and not by name, so that recordings of the same problems by several models are asked alike.
    num = len(setting.recordings)
    places = Random(seed).choices(range(num), k=num)
    weights = [setting.weights[place] for place in places] if setting.weights else None
    choosing, rng = Random(-1 - seed), Random(f"{setting.name}|{seed}")
    scenarios = [
        tuple(
            resampled(setting.recordings[place], rng, repeat=setting.repeat)
            for place in choosing.choices(places, weights, k=setting.num_problems)
        )
        for _ in range(setting.num_scenarios)
    ]
    runs = [_runs(policies, setting, asked, seed + _SEEDS_APART * number) for number, asked in enumerate(scenarios)]
    return [_mean_run(of_policy) for of_policy in zip(*runs, strict=True)]


def _mean_run(runs: Sequence[Run]) -> Run:
    return Run(**{each.name: _mean(getattr(run, each.name) for run in runs) for each in fields(Run)})


def _run(policy: Policy, setting: Setting, asked: tuple[Recording, ...], seed: int) -> Run:
    return _runs((policy,), setting, asked, seed)[0]


def _runs(policies: Sequence[Policy], setting: Setting, asked: tuple[Recording, ...], seed: int) -> list[Run]:
    """Each policy in the same scenario."""
    share_s = min(setting.share_s, _NO_HURRY * _mean_work_s(setting.recordings))
    scenarios = [
        Scenario(
            recordings=asked,
            budget=policy.budget(num_problems=len(asked), share_s=share_s),
            solver=policy.solver,
            seed=seed,
            speeds=setting.speeds,
            repeat=setting.repeat,
        )
        for policy in policies
    ]
    draws = Draws(scenarios[0])
    return [_told(play(scenario, draws)) for scenario in scenarios]


def _told(played: Played) -> Run:
    num = len(played.problems)
    return Run(
        score=played.score / num,
        seconds=played.ended_s / num,
        num_samples=sum([each.num_samples for each in played.problems]) / num,
        num_tokens=sum([each.num_tokens for each in played.problems]) / num,
        unspent=max(0.0, 1 - played.ended_s / played.scenario.budget.cutoff_s),
    )


def _mean_work_s(recordings: Sequence[Recording]) -> float:
    works = [attempt.work_s for recording in recordings for attempt in recording.attempts]
    return math.fsum(works) / len(works)


MIXTURE = "mixture"
"""The name of the tilted pool."""

_NUM_NATURAL = 25
_NUM_SCORED = 40
_SEEDS_APART = 1_000_003  # of the scenarios of one replicate
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
            unspent=_mean(run.unspent for run in runs),
        )
        for baselines in [[runs[0] for runs in runs_of_settings]]
        for runs in zip(*runs_of_settings, strict=True)
    ]


def _mean(values: Iterator[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)
