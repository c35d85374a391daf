"""An estimate with its 95 % interval, from one value a problem. Pure and deterministic.

Problems are what is drawn at random: samples of one problem are no independent evidence about the others, so every
interval here is over problems. Does not know what the values are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""

NUM_REPLICATES = 2000
_SEED = 20_251_125  # of every bootstrap, so that the same run gives the same report
_BLOCK = 1 << 21  # draws held at once: 16 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over problems and its 95 % interval. stderr: of the mean; None for a single problem."""

    value: float
    low: float
    high: float
    stderr: float | None


def estimated(values: Sequence[float]) -> Estimate:
    """The mean of one value a problem, each in [0, 1], with its interval.

    Wilson's, where every value is 0 or 1 (one sample a problem, or a vote), and where all are alike: a bootstrap has no
    width there, as if nothing could be otherwise. Else a percentile bootstrap over problems.
    Raises: ValueError without a value.
    """
    if not values:
        raise ValueError("an estimate needs at least one problem")
    # of all values in [0, 1] with a given mean, 0 and 1 vary most, so that Wilson's is never too narrow for others
    is_binary, are_alike = all(value in (0.0, 1.0) for value in values), min(values) == max(values)
    low, high = wilson(math.fsum(values), len(values)) if is_binary or are_alike else bootstrap(values)
    return Estimate(value=_mean(values), low=low, high=high, stderr=stderr(values))


def estimated_gain(differences: Sequence[float]) -> Estimate:
    """The mean of one paired difference a problem, each in [-1, 1], with its interval.

    A percentile bootstrap over problems. Where all are alike, and it has no width: as far off as the share of problems
    that would differ most may be without one of them among so many, Wilson's upper limit of 0 of n.
    Raises: ValueError without a difference.
    """
    if not differences:
        raise ValueError("a gain needs at least one problem")
    value = _mean(differences)
    if min(differences) < max(differences):
        low, high = bootstrap(differences)
    else:
        share = wilson(0, len(differences))[1]
        low, high = value - share * (value + 1), value + share * (1 - value)
    return Estimate(value=value, low=low, high=high, stderr=stderr(differences))


def wilson(num_right: float, num_problems: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share. num_right: no whole number where problems are right in part.

    Source: Wilson 1927, doi 10.1080/01621459.1927.10502953.
    """
    assert 0 <= num_right <= num_problems > 0, (num_right, num_problems)
    share, z_squared = num_right / num_problems, Z_95 * Z_95
    centre = share + z_squared / (2 * num_problems)
    spread = Z_95 * math.sqrt(share * (1 - share) / num_problems + z_squared / (4 * num_problems**2))
    scale = 1 + z_squared / num_problems
    # Exactly 0 and 1 at the ends, where rounding would leave 1e-17 of a wrong sign.
    low = 0.0 if num_right == 0 else (centre - spread) / scale
    high = 1.0 if num_right == num_problems else (centre + spread) / scale
    return low, high


def bootstrap(values: Sequence[float], *, seed: int = _SEED) -> tuple[float, float]:
    """The percentile bootstrap's 95 % interval of the mean over problems; the same for the same seed.

    Source: Efron and Tibshirani 1993, section 13.3.
    """
    means = replicate_means(values, num_replicates=NUM_REPLICATES, seed=seed)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def replicate_means(
    values: Sequence[float], *, num_replicates: int, seed: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The means of `num_replicates` draws of all problems with replacement, float64."""
    array, rng = np.asarray(values, dtype=np.float64), np.random.default_rng(seed)
    num_rows = max(1, _BLOCK // len(array))
    means = np.empty(num_replicates, dtype=np.float64)
    for begin in range(0, num_replicates, num_rows):
        end = min(begin + num_rows, num_replicates)
        means[begin:end] = array[rng.integers(0, len(array), size=(end - begin, len(array)))].mean(axis=1)
    return means


def stderr(values: Sequence[float]) -> float | None:
    """The sample deviation over the root of the number of values, as lm-evaluation-harness has it; None for one."""
    if len(values) < 2:
        return None
    mean = _mean(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
