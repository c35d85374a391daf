"""Least squares in the small: a few equations solved, and a straight line through weighed points.

Plain Python, since the kit's core knows no numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """y = start + slope x."""

    start: float
    slope: float


def fitted_line(xs: Sequence[float], ys: Sequence[float], weights: Sequence[float]) -> Line:
    """The least squares through at least two points of different x, weighed."""
    whole = math.fsum(weights)
    mean_x = math.fsum(weight * x for weight, x in zip(weights, xs, strict=True)) / whole
    mean_y = math.fsum(weight * y for weight, y in zip(weights, ys, strict=True)) / whole
    points = list(zip(weights, xs, ys, strict=True))
    spread = math.fsum(weight * (x - mean_x) ** 2 for weight, x, _ in points)
    slope = math.fsum(weight * (x - mean_x) * (y - mean_y) for weight, x, y in points) / spread
    return Line(mean_y - slope * mean_x, slope)


def solved(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float] | None:
    """x of matrix x = right, by elimination with pivots; None where the matrix is as good as singular."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    num, largest = len(rows), max(abs(value) for row in matrix for value in row)
    for place in range(num):
        pivot = max(range(place, num), key=lambda each: abs(rows[each][place]))
        if abs(rows[pivot][place]) <= _SINGULAR * largest:
            return None
        rows[place], rows[pivot] = rows[pivot], rows[place]
        for below in range(place + 1, num):
            factor = rows[below][place] / rows[place][place]
            rows[below] = [value - factor * above for value, above in zip(rows[below], rows[place], strict=True)]
    found = [0.0] * num
    for place in reversed(range(num)):
        known = math.fsum(rows[place][each] * found[each] for each in range(place + 1, num))
        found[place] = (rows[place][num] - known) / rows[place][place]
    return found


_SINGULAR = 1e-10
