"""Plain, slow versions of the evaluation's metrics, written from their definitions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from random import Random


def pass_at_k_by_enumeration(rights: Sequence[bool], k: int) -> Fraction:
    """The share of all k-subsets of the samples that hold a right one."""
    subsets = list(itertools.combinations(rights, k))
    return Fraction(sum(any(subset) for subset in subsets), len(subsets))


def winner_by_counting(answers: Sequence[str | None]) -> str | None:
    """The commonest integer; of equals the larger."""
    best: str | None = None
    for answer in answers:
        if answer is None:
            continue
        if best is None:
            best = answer
            continue
        more, less = answers.count(answer), answers.count(best)
        if more > less or (more == less and int(answer) > int(best)):
            best = answer
    return best


def wilson_by_bisection(num_right: int, num_problems: int, z: float) -> tuple[float, float]:
    """The shares p whose own normal test does not reject: |x/n - p| <= z sqrt(p (1 - p) / n)."""
    share = num_right / num_problems

    def is_rejected(p: float) -> bool:
        return (share - p) ** 2 > z * z * p * (1 - p) / num_problems

    return _edge(is_rejected, 0.0, share), _edge(is_rejected, 1.0, share)


def _edge(is_rejected: object, outside: float, inside: float) -> float:
    assert callable(is_rejected)
    if not is_rejected(outside):
        return outside
    for _ in range(200):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if is_rejected(middle) else (outside, middle)
    return inside


def mcnemar_by_enumeration(num_first_only: int, num_second_only: int) -> Fraction:
    """The share of all ways to toss a coin for each discordant pair that come out at least as uneven."""
    num_discordant = num_first_only + num_second_only
    unevenness = abs(num_first_only - num_second_only)
    tosses = list(itertools.product((0, 1), repeat=num_discordant))
    return Fraction(sum(abs(2 * sum(toss) - num_discordant) >= unevenness for toss in tosses), len(tosses))


def bootstrap_means_by_loop(values: Sequence[float], num_replicates: int, seed: int) -> list[float]:
    """Means of draws with replacement, in plain Python, from a generator of its own."""
    rng = Random(seed)
    return [sum(rng.choices(values, k=len(values))) / len(values) for _ in range(num_replicates)]
