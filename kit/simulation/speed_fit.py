"""Speeds of a stream by the number of streams at once, from attempts that ran beside more and fewer others.

In: attempts with their tokens and their seconds by the number of streams. Out: tokens a second by groups of numbers,
and the same for bootstraps over problems. An attempt's tokens are the sum of speed times seconds over the groups; the
speeds are the least squares of that, each attempt weighed by one over its seconds.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from kit.simulation.intervals import middle
from kit.simulation.overlaps import TimedAttempt, seconds_by_streams
from kit.simulation.straight_line import Line, fitted_line, solved

LEAST_ATTEMPTS = 4.0
"""Behind a figure, each counted by the share of its time that it ran at these numbers of streams."""
MOST_SPREAD = 2.0
"""A figure is told well where the upper end of its interval is at most so many times the lower."""
_NUM_BOOTSTRAPS = 200
_LAST_OF_CELLS = (*range(1, 9), 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, math.inf)
"""Numbers of streams that are told apart at all: up to 1, up to 2, …, up to 12, up to 16."""


@dataclass(frozen=True, slots=True)
class Row:
    """An attempt whose tokens are known. seconds: by the number of streams."""

    problem: str
    num_tokens: int
    seconds: Mapping[int, float]

    @property
    def whole_s(self) -> float:
        """All of its seconds."""
        return math.fsum(self.seconds.values())


Group = tuple[int, int]
"""From so many streams to so many."""


def rows_of(attempts: Sequence[TimedAttempt]) -> list[Row]:
    """Those of known tokens, which ran beside all of them."""
    overlaps = seconds_by_streams(attempts)
    return [
        Row(each.problem, each.num_tokens, seconds)
        for each, seconds in zip(attempts, overlaps, strict=True)
        if each.num_tokens > 0
    ]


def thick_groups(rows: Sequence[Row]) -> list[Group]:
    """Numbers of streams as they are told apart at most, those that few attempts ran at joined to the next."""
    shares: dict[int, float] = {}
    for row in rows:
        for num, seconds in row.seconds.items():
            shares[num] = shares.get(num, 0.0) + seconds / row.whole_s
    groups: list[Group] = []
    for _, cell in itertools.groupby(sorted(shares), key=_cell):
        nums = list(cell)
        is_thin = bool(groups) and _behind(shares, groups[-1]) < LEAST_ATTEMPTS
        groups = [*groups[:-1], (groups[-1][0], nums[-1])] if is_thin else [*groups, (nums[0], nums[-1])]
    return joined(groups, len(groups) - 1) if _behind(shares, groups[-1]) < LEAST_ATTEMPTS else groups


def _behind(shares: Mapping[int, float], group: Group) -> float:
    return math.fsum(share for num, share in shares.items() if group[0] <= num <= group[1])


def _cell(num_streams: int) -> int:
    return bisect_left(_LAST_OF_CELLS, num_streams)


def joined(groups: Sequence[Group], place: int) -> list[Group]:
    """That group and the one before it, or else after it, as one; a lone one stays."""
    if len(groups) == 1:
        return list(groups)
    left = max(0, place - 1)
    return [*groups[:left], (groups[left][0], groups[left + 1][1]), *groups[left + 2 :]]


_Equations = tuple[list[list[float]], list[float]]
"""The normal equations of some attempts: a matrix and a right side, which add up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedFit:
    """Speeds by group, of all attempts and of bootstraps over their problems. None: not told at all.

    mean_streams, num_attempts: as a SpeedFigure's.
    """

    groups: Sequence[Group]
    mean_streams: Sequence[float]
    num_attempts: Sequence[float]
    num_rows: int
    speeds: Sequence[float] | None
    drawn: Sequence[Sequence[float] | None]

    @classmethod
    def of(cls, rows: Sequence[Row], groups: Sequence[Group]) -> SpeedFit:
        """One speed a group; every number of streams of the rows must be in one."""
        spent = [[_within(row, group) for group in groups] for row in rows]
        by_problem = _equations(rows, spent)
        rng, problems = Random(0), list(by_problem)
        draws = [rng.choices(problems, k=len(problems)) for _ in range(_NUM_BOOTSTRAPS)]
        shares = [[seconds / row.whole_s for seconds in each] for row, each in zip(rows, spent, strict=True)]
        return cls(
            groups=groups,
            mean_streams=[_mean_streams(rows, group) for group in groups],
            num_attempts=[math.fsum(of_group) for of_group in zip(*shares, strict=True)],
            num_rows=len(rows),
            speeds=_speeds([by_problem[each] for each in problems]),
            drawn=[_speeds([by_problem[each] for each in draw]) for draw in draws],
        )

    @property
    def least_told(self) -> int | None:
        """The place of the figure whose interval is widest, unless all are told well."""
        spreads = [_spread(self.drawn_at(place)) for place in range(len(self.groups))]
        if self.speeds is None or min(self.speeds) <= 0:
            return spreads.index(max(spreads))
        return spreads.index(max(spreads)) if max(spreads) > MOST_SPREAD else None

    def drawn_at(self, place: int) -> list[float]:
        """The bootstraps' speeds of a group; 0 for one that does not tell it."""
        return [0.0 if speeds is None else speeds[place] for speeds in self.drawn]

    def line(self, speeds: Sequence[float]) -> Line:
        """Seconds for a token by the number of streams, each figure by the attempts behind it."""
        weights = [num * speed**2 for num, speed in zip(self.num_attempts, speeds, strict=True)]
        return fitted_line(self.mean_streams, [1 / speed for speed in speeds], weights)


def _within(row: Row, group: Group) -> float:
    return math.fsum(seconds for num, seconds in row.seconds.items() if group[0] <= num <= group[1])


def _mean_streams(rows: Sequence[Row], group: Group) -> float:
    spent = [(num, seconds) for row in rows for num, seconds in row.seconds.items() if group[0] <= num <= group[1]]
    return math.fsum(num * seconds for num, seconds in spent) / math.fsum(seconds for _, seconds in spent)


def _equations(rows: Sequence[Row], spent: Sequence[Sequence[float]]) -> dict[str, _Equations]:
    """By problem. spent: by attempt and group."""
    found: dict[str, _Equations] = {}
    for row, seconds in zip(rows, spent, strict=True):
        num = len(seconds)
        matrix, right = found.setdefault(row.problem, ([[0.0] * num for _ in range(num)], [0.0] * num))
        for place in range(num):
            weighed = seconds[place] / row.whole_s
            right[place] += weighed * row.num_tokens
            for other in range(num):
                matrix[place][other] += weighed * seconds[other]
    return found


def _speeds(equations: Sequence[_Equations]) -> list[float] | None:
    matrices, rights = zip(*equations, strict=True)
    matrix = [[math.fsum(cells) for cells in zip(*lines, strict=True)] for lines in zip(*matrices, strict=True)]
    return solved(matrix, [math.fsum(values) for values in zip(*rights, strict=True)])


def _spread(values: Sequence[float]) -> float:
    low, high = middle(values)
    return high / low if low > 0 else math.inf
