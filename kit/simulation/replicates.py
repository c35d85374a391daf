"""Replicates: every policy in the same scenarios, drawn from a recorded run; kept in a journal, on several processes.

Each replicate draws problems from a recorded run with replacement, then one or more scenarios from those, each with
attempts drawn anew, and lets every policy answer them: the same problems and attempts in the same order. A replicate is
the mean over its scenarios: the more there are, the less of one scenario's luck is in the interval beside that of the
recorded problems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from random import Random
from statistics import fmean

from kit.errors import InputError
from kit.simulation.fast import Draws, Played, play
from kit.simulation.policy import Policy
from kit.simulation.recording import Recording, resampled
from kit.simulation.run import Scenario, quiet
from kit.simulation.speeds import MEASURED, StreamSpeeds
from kit.solver.journal import Journal, Record
from kit.voting.learned import LEARNED

_SEEDS_APART = 1_000_003  # of the scenarios of one replicate
_NO_HURRY = 20.0  # mean attempts a problem: far more than any policy here takes


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
    runs = [runs_of(policies, setting, asked, seed + _SEEDS_APART * number) for number, asked in enumerate(scenarios)]
    return [_mean_run(of_policy) for of_policy in zip(*runs, strict=True)]


def _mean_run(runs: Sequence[Run]) -> Run:
    return Run(**{each.name: fmean(getattr(run, each.name) for run in runs) for each in fields(Run)})


def runs_of(policies: Sequence[Policy], setting: Setting, asked: tuple[Recording, ...], seed: int) -> list[Run]:
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
    return fmean(attempt.work_s for recording in recordings for attempt in recording.attempts)


def _averaged(runs_of_settings: tuple[Replicate, ...]) -> Replicate:
    """One replicate over all settings: scores and samples by mean, times relative to the baseline's of each."""
    return [
        Run(
            score=fmean(run.score for run in runs),
            seconds=fmean(run.seconds / base.seconds for run, base in zip(runs, baselines, strict=True)),
            num_samples=fmean(run.num_samples for run in runs),
            num_tokens=fmean(run.num_tokens for run in runs),
            unspent=fmean(run.unspent for run in runs),
        )
        for baselines in [[runs[0] for runs in runs_of_settings]]
        for runs in zip(*runs_of_settings, strict=True)
    ]
