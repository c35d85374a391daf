"""What a stream costs on the machine that a journal was written on: its speed by the number of streams at once.

In: timed attempts (`kit.simulation.overlaps`). Out: tokens a second with intervals, a straight line through them, and
`StreamSpeeds` for a simulation; or why the journal cannot tell.

The speeds are the least squares of `kit.simulation.speed_fit`. Numbers of streams that few attempts ran at, or whose
speed is not told well, share one figure. Intervals are bootstraps over problems. The time before the first token, that
of code which an attempt ran, and the length of its context are in the speed; so is whatever else the machine did.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.errors import InputError, MissingError
from kit.simulation.intervals import middle
from kit.simulation.overlaps import TimedAttempt, timed_attempts
from kit.simulation.recording import journal_at
from kit.simulation.speed_fit import SpeedFit, joined, rows_of, thick_groups
from kit.simulation.speeds import REFERENCE_STREAMS, StreamSpeeds
from kit.simulation.straight_line import Line
from kit.solver.journal import read_records

LEAST_PROBLEMS = 5
"""Of which a bootstrap is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedFigure:
    """Tokens a second of one of `first` to `last` streams, and the middle 95 % of its bootstraps.

    mean_streams: over the time that attempts ran at these. num_attempts: behind it, see LEAST_ATTEMPTS.
    """

    first: int
    last: int
    mean_streams: float
    num_attempts: float
    speed: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSpeeds:
    """A machine's own.

    cost: what each stream adds to the time of a token, as a share of a lone stream's, by a straight line through the
    figures; in [0, 1]. cost_low, cost_high: its interval. slope_s: the same, in seconds. num_attempts: whose tokens are
    known.
    """

    figures: tuple[SpeedFigure, ...]
    cost: float
    cost_low: float
    cost_high: float
    slope_s: float
    num_attempts: int

    def step_s(self, num_streams: float) -> float:
        """Seconds for a token of one of so many streams: linear between the figures, the straight line beyond them.

        Fewer streams than were seen are never so fast that together they would have more tokens a second.
        """
        points = [(each.mean_streams, 1 / each.speed) for each in self.figures]
        (first, first_s), (last, last_s) = points[0], points[-1]
        if num_streams <= first:
            return max(first_s - self.slope_s * (first - num_streams), first_s * num_streams / first)
        for (left, left_s), (right, right_s) in itertools.pairwise(points):
            if num_streams <= right:
                return left_s + (right_s - left_s) * (num_streams - left) / (right - left)
        return last_s + self.slope_s * (num_streams - last)

    @property
    def stream_speeds(self) -> StreamSpeeds:
        """In a simulation's words. What looks like a stream that more others make faster is noise, and left out."""
        reference_s = self.step_s(REFERENCE_STREAMS)
        most = max(2 * REFERENCE_STREAMS, self.figures[-1].last)
        beyond = (self.step_s(most) / reference_s - 1) / (most - REFERENCE_STREAMS)
        relative = [reference_s / self.step_s(num) for num in range(1, REFERENCE_STREAMS + 1)]
        return StreamSpeeds(tuple(itertools.accumulate(relative, min)), max(0.0, beyond))


def speeds_in(path: Path) -> OwnSpeeds:
    """The own speeds of the machine that wrote a journal or a run of `kit eval`.

    Raises: MissingError for a file that is not there; InputError, naming the file, where it cannot tell them.
    """
    path = journal_at(path)
    if path.suffix != ".jsonl":
        raise InputError(f"{path}: tells no stream speeds; only a journal.jsonl has when each attempt ran beside which")
    if not path.is_file():
        raise MissingError(f"{path}: no such journal; give a journal.jsonl or a run of `kit eval`")
    try:
        return own_speeds(timed_attempts(list(read_records(path))))
    except InputError as error:
        raise InputError(f"{path}: tells no stream speeds: {error}") from None


def own_speeds(attempts: Sequence[TimedAttempt]) -> OwnSpeeds:
    """The speeds that these attempts tell.

    Raises: InputError where they cannot tell what a stream costs.
    """
    rows = rows_of(attempts)
    num_problems = len({each.problem for each in rows})
    if num_problems < LEAST_PROBLEMS:
        raise InputError(
            f"attempts at {num_problems} problems tell their tokens and times; an interval needs {LEAST_PROBLEMS}"
        )
    groups = thick_groups(rows)
    while len(groups) > 1:
        fit = SpeedFit.of(rows, groups)
        if (place := fit.least_told) is None:
            return _of_fit(fit)
        groups = joined(groups, place)
    (first, last), *_ = groups
    raise InputError(
        f"the {len(rows)} attempts ran at {first} to {last} streams at once, too few of them at other numbers than the "
        "most to tell one's speed from another's; record a run in which attempts end one by one, or two widths"
    )


def _of_fit(fit: SpeedFit) -> OwnSpeeds:
    """Of a fit whose figures are all told."""
    assert fit.speeds is not None
    line = fit.line(fit.speeds)
    low, high = middle([_cost(fit.line(speeds)) for speeds in fit.drawn if speeds and min(speeds) > 0])
    return OwnSpeeds(
        figures=tuple(_figure(fit, place, speed) for place, speed in enumerate(fit.speeds)),
        cost=_cost(line),
        cost_low=low,
        cost_high=high,
        slope_s=max(0.0, line.slope),
        num_attempts=fit.num_rows,
    )


def _figure(fit: SpeedFit, place: int, speed: float) -> SpeedFigure:
    low, high = middle(fit.drawn_at(place))
    first, last = fit.groups[place]
    return SpeedFigure(
        first=first,
        last=last,
        mean_streams=fit.mean_streams[place],
        num_attempts=fit.num_attempts[place],
        speed=speed,
        low=low,
        high=high,
    )


def _cost(line: Line) -> float:
    """What a second stream adds, by the line; all of a lone stream's step where that would take no time."""
    lone_s = line.start + line.slope
    return min(1.0, max(0.0, line.slope / lone_s)) if lone_s > 0 else 1.0
