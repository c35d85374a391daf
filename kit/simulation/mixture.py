"""A pool of recorded problems, tilted until the baseline scores on it as it does in the real competition.

In: recorded runs and how fast each is. Out: one pool, every run's times scaled to one pace, and a weight for each
problem: the least change from equal weights (by relative entropy) under which the baseline's score and the share of
problems that twenty attempts reach are the given ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kit.simulation.recording import Recording

NUM_REACHING = 20
"""Attempts within which a problem counts as reached."""

_NUM_STEPS = 200
_RIDGE = 1e-4  # of Newton's steps: problems may all be alike
_STEP = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the tilted pool is to be like. score: the baseline's. reached: share of problems with a right attempt in
    NUM_REACHING."""

    score: float
    reached: float


AIMO3 = Target(score=39.3 / 50, reached=45.5 / 50)
"""21 runs of one notebook on the competition's own problems: docs/peers.md#verifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """recordings: of all runs, at one pace. weights: how often each is asked, summing to 1."""

    recordings: tuple[Recording, ...]
    weights: tuple[float, ...]


def mixed(
    runs: Mapping[str, tuple[Recording, ...]],
    *,
    natural_s: Mapping[str, float],
    scores: Mapping[str, Sequence[float]],
    target: Target = AIMO3,
) -> Mixture:
    """The tilted pool. natural_s: by run, what the baseline takes for a problem without a limit; the pool's is their
    mean. scores: by run, how often the baseline gets each problem right."""
    mean_s = math.fsum(natural_s.values()) / len(natural_s)
    recordings = tuple(slowed(each, mean_s / natural_s[name]) for name, run in runs.items() for each in run)
    features = [
        (score, reached(recording))
        for name, run in runs.items()
        for recording, score in zip(run, scores[name], strict=True)
    ]
    return Mixture(recordings=recordings, weights=tilted(features, target))


def slowed(recording: Recording, factor: float) -> Recording:
    """The same attempts, each taking `factor` times as long."""
    attempts = tuple(replace(attempt, work_s=attempt.work_s * factor) for attempt in recording.attempts)
    return replace(recording, attempts=attempts)


def reached(recording: Recording) -> float:
    """How likely one of NUM_REACHING attempts is right, each being as one of the recorded ones."""
    wrong = sum(attempt.answer != recording.gold for attempt in recording.attempts) / len(recording.attempts)
    return 1 - wrong**NUM_REACHING


def tilted(features: Sequence[tuple[float, float]], target: Target) -> tuple[float, ...]:
    """Weights e^(a x + b y), summing to 1, whose means of x and y are the target's, or as near as weights get.

    Newton's method on the convex dual, damped; both features lie in [0, 1].
    """
    a = b = 0.0
    weights = _softmax([0.0] * len(features))
    for _ in range(_NUM_STEPS):
        mean_x, mean_y = (_mean(weights, [each[axis] for each in features]) for axis in (0, 1))
        miss_x, miss_y = target.score - mean_x, target.reached - mean_y
        xx = _mean(weights, [(x - mean_x) ** 2 for x, _ in features]) + _RIDGE
        yy = _mean(weights, [(y - mean_y) ** 2 for _, y in features]) + _RIDGE
        xy = _mean(weights, [(x - mean_x) * (y - mean_y) for x, y in features])
        whole = xx * yy - xy * xy
        a += _STEP * (yy * miss_x - xy * miss_y) / whole
        b += _STEP * (xx * miss_y - xy * miss_x) / whole
        a, b = (min(max(each, -_STEEPEST), _STEEPEST) for each in (a, b))
        weights = _softmax([a * x + b * y for x, y in features])
    return tuple(weights)


_STEEPEST = 20.0  # of a tilt: a target beyond every mixture would tilt on and on


def _mean(weights: Sequence[float], values: Sequence[float]) -> float:
    return math.fsum(weight * value for weight, value in zip(weights, values, strict=True))


def _softmax(logs: Sequence[float]) -> list[float]:
    exps = [math.exp(each - max(logs)) for each in logs]
    return [each / math.fsum(exps) for each in exps]
