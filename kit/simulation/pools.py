"""The pools that scenarios are drawn from: recorded runs, their mixture, and each under a share of its natural time.

In: recorded runs and the baseline, whose time without a limit is the unit of a share and whose score tilts the mixture
(`kit.simulation.mixture`). Out: a Setting for each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from statistics import fmean

from kit.simulation.mixture import AIMO3, Target, mixed
from kit.simulation.policy import Policy
from kit.simulation.recording import Recording
from kit.simulation.replicates import Run, Setting, runs_of
from kit.simulation.speeds import StreamSpeeds

MIXTURE = "mixture"
"""The name of the tilted pool."""

_NUM_NATURAL = 25
_NUM_SCORED = 40


def pools_of(
    runs: Mapping[str, tuple[Recording, ...]],
    baseline: Policy,
    *,
    speeds: StreamSpeeds,
    repeat: float,
    num_scenarios: int,
) -> tuple[Setting, ...]:
    """The pools of a comparison: the recorded runs, under no limit yet, and where there are several their mixture."""
    pools = [
        Setting(
            name=name,
            recordings=recordings,
            share_s=math.inf,
            speeds=speeds,
            repeat=repeat,
            num_scenarios=num_scenarios,
        )
        for name, recordings in runs.items()
    ]
    return tuple(with_mixture(pools, baseline))


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


@lru_cache(maxsize=64)  # asked again for each share of time
def natural_share_s(policy: Policy, setting: Setting) -> float:
    """Seconds that the policy takes for a problem of these recordings if nothing limits it."""
    if not setting.weights:
        return _natural_s(policy, setting, setting.recordings)
    singles = [_natural_s(policy, setting, (recording,)) for recording in setting.recordings]
    return math.fsum(weight * seconds for weight, seconds in zip(setting.weights, singles, strict=True))


def _natural_s(policy: Policy, setting: Setting, asked: tuple[Recording, ...]) -> float:
    return fmean(_free_run(policy, setting, asked, seed).seconds for seed in range(_NUM_NATURAL))


def _score_on(policy: Policy, setting: Setting, recording: Recording) -> float:
    """How often the policy gets one problem right if nothing limits it."""
    return _free_run(policy, setting, (recording,) * _NUM_SCORED, 0).score


def _free_run(policy: Policy, setting: Setting, asked: tuple[Recording, ...], seed: int) -> Run:
    """One scenario without a limit."""
    (run,) = runs_of((policy,), replace(setting, share_s=math.inf), asked, seed)
    return run
