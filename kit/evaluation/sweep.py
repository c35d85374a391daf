"""What depth buys and costs: accuracy and seconds against T; whether the halting score says what it should. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kit.evaluation.intervals import Estimate, bootstrap, estimated, stderr
from kit.evaluation.metrics import Grading
from kit.evaluation.records import Completion, EvalRun
from kit.evaluation.slices import samples_by_problem

NUM_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """One depth. seconds, tokens: of a sample, the mean over problems."""

    depth: int
    accuracy: Estimate
    seconds: Estimate
    tokens: Estimate


def depth_sweep(run: EvalRun, grading: Grading, *, level: str = "") -> tuple[SweepPoint, ...]:
    """A point a depth that has samples, shallowest first; level: of the problems, all where it is empty."""
    wanted = {each.problem.key for each in run.examples if level in ("", each.level)}
    points = []
    for depth in sorted(depth for depth in run.depths if depth is not None):
        samples_PG = [samples for key, samples in samples_by_problem(run, depth).items() if key in wanted]
        if samples_PG:
            rights = [[float(grading.of(each).is_right) for each in samples] for samples in samples_PG]
            points.append(
                SweepPoint(
                    depth=depth,
                    accuracy=estimated([math.fsum(each) / len(each) for each in rights]),
                    seconds=_mean_of(samples_PG, lambda each: each.sample.seconds),
                    tokens=_mean_of(samples_PG, lambda each: float(each.sample.num_tokens)),
                )
            )
    return tuple(points)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Samples whose halting score lies in one tenth of 0–1. right: the share that is right, as if independent."""

    num_samples: int
    mean_score: float
    right: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """bins: those that hold a sample, lowest first. error: the expected calibration error, in 0–1."""

    bins: tuple[Bin, ...]
    error: float


def calibration(completions: Iterable[Completion], grading: Grading) -> Calibration | None:
    """The halting score against being right; None where no sample has one.

    Source: Guo et al., arXiv 1706.04599, equations 2 and 3 (reliability bins, expected calibration error).
    """
    scored = [(each.sample.halting, grading.of(each).is_right) for each in completions]
    known = [(score, is_right) for score, is_right in scored if score is not None and 0 <= score <= 1]
    if not known:
        return None
    bins = []
    for number in range(NUM_BINS):
        inside = [pair for pair in known if min(int(pair[0] * NUM_BINS), NUM_BINS - 1) == number]
        if inside:
            scores = [score for score, _ in inside]
            right = estimated([float(is_right) for _, is_right in inside])
            bins.append(Bin(num_samples=len(inside), mean_score=math.fsum(scores) / len(scores), right=right))
    gaps = (each.num_samples * abs(each.right.value - each.mean_score) for each in bins)
    return Calibration(bins=tuple(bins), error=math.fsum(gaps) / len(known))


def _mean_of(samples_PG: Sequence[Sequence[Completion]], of: Callable[[Completion], float]) -> Estimate:
    values = [math.fsum(map(of, samples)) / len(samples) for samples in samples_PG]
    low, high = bootstrap(values)
    return Estimate(value=math.fsum(values) / len(values), low=low, high=high, stderr=stderr(values))
