"""Policies in, a picture of what their time buys out: score against wall time, with intervals.

One point a policy, the baseline filled and on cross hairs, and the Pareto frontier as a staircase: below and
right of it, some policy is at least as good in no more time. Does not measure anything.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from kit.errors import InputError
from kit.plots import style
from kit.plots.style import Sheet

_WIDTH_IN, _HEIGHT_IN = 9.5, 6.4
_FRAME = {"left_in": 0.95, "top_in": 1.7, "width_in": 8.1, "height_in": 3.95}
_OFFSETS_PT = tuple(
    (x * reach, y * reach)
    for reach in (7, 13, 22)
    for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1.4), (0, -1.4))
)
"""Where a name may stand from its point, the best place first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPoint:
    """One policy: mean wall seconds of a competition and expected score, each with its interval's ends.

    Raises: InputError for a number that is not finite, or outside its interval.
    """

    name: str
    seconds: float
    seconds_low: float
    seconds_high: float
    score: float
    score_low: float
    score_high: float
    is_baseline: bool = False

    def __post_init__(self) -> None:
        for what in ("seconds", "score"):
            low, value, high = (getattr(self, what + end) for end in ("_low", "", "_high"))
            if not (math.isfinite(low) and math.isfinite(high) and low <= value <= high):
                raise InputError(
                    f"{self.name}: {what} must lie in a finite interval, got {value!r} in [{low!r}, {high!r}]"
                )
        if self.seconds_low < 0:
            raise InputError(f"{self.name}: seconds_low must be >= 0, got {self.seconds_low!r}")


def pareto_frontier(points: Sequence[PolicyPoint]) -> tuple[PolicyPoint, ...]:
    """The points that no other beats in score without more time, nor in time without less score; fastest first.

    Of points equal in both, the first given.
    """
    frontier: list[PolicyPoint] = []
    for point in sorted(points, key=lambda each: (each.seconds, -each.score)):
        if not frontier or point.score > frontier[-1].score:
            frontier.append(point)
    return tuple(frontier)


def draw_tradeoff(points: Sequence[PolicyPoint], path: Path) -> None:
    """Draw the policies as SVG or PNG, by the suffix of `path`; the same points give the same SVG bytes.

    Raises: InputError for no points, for two baselines, or for another suffix; StorageError if the file
    cannot be written.
    """
    baselines = [point for point in points if point.is_baseline]
    if not points:
        raise InputError("a trade-off needs one policy at least, got none")
    if len(baselines) > 1:
        raise InputError(f"one policy may be the baseline, got {', '.join(point.name for point in baselines)}")
    with style.drawing():
        sheet = Sheet.of(_WIDTH_IN, _HEIGHT_IN)
        sheet.text("What the time buys", left_in=0.4, top_in=0.35, fontsize=style.TITLE_PT, fontweight="bold")
        told = "expected score of a competition against its mean wall time; bars: intervals"
        sheet.text(told, left_in=0.4, top_in=0.72, fontsize=9, color=style.MUTED)
        axes = sheet.panel(**_FRAME)
        _set_axes(axes, points)
        _draw_frontier(axes, pareto_frontier(points))
        for baseline in baselines:
            _draw_baseline(axes, baseline)
        for index, point in enumerate(points):
            _draw_point(axes, point, index)
        _write_names(axes, points)
        sheet.legend(_handles(is_compared=bool(baselines)), left_in=_FRAME["left_in"], top_in=1.1)
        style.save(sheet.figure, path)


def _set_axes(axes: Axes, points: Sequence[PolicyPoint]) -> None:
    left, right = min(each.seconds_low for each in points) / 60, max(each.seconds_high for each in points) / 60
    low, high = min(each.score_low for each in points), max(each.score_high for each in points)
    margin_x, margin_y = 0.12 * (right - left) or 1.0, 0.12 * (high - low) or 1.0
    axes.set_xlim(max(0.0, left - margin_x), right + margin_x)
    axes.set_ylim(low - margin_y, high + margin_y)
    axes.set_xlabel("mean wall time of a competition (minutes)", fontsize=style.TEXT_PT)
    axes.set_ylabel("expected score", fontsize=style.TEXT_PT)
    axes.tick_params(labelsize=style.SMALL_PT, length=3)
    axes.grid(linewidth=0.7)


def _draw_frontier(axes: Axes, frontier: Sequence[PolicyPoint]) -> None:
    """From the fastest policy down to the bottom, from the best one to the right edge."""
    minutes, scores = _frontier_steps(axes, frontier)
    axes.fill_between(minutes, scores, axes.get_ylim()[0], step="post", color=style.TRACK, linewidth=0, zorder=0)
    axes.plot(minutes, scores, drawstyle="steps-post", color=style.GREEN, linewidth=1.4, gid="frontier", zorder=2)


def _frontier_steps(axes: Axes, frontier: Sequence[PolicyPoint]) -> tuple[list[float], list[float]]:
    minutes = [frontier[0].seconds / 60, *(point.seconds / 60 for point in frontier), axes.get_xlim()[1]]
    return minutes, [axes.get_ylim()[0], *(point.score for point in frontier), frontier[-1].score]


def _draw_baseline(axes: Axes, baseline: PolicyPoint) -> None:
    """Cross hairs through it, and time as a multiple of its own along the top."""
    hairs: dict[str, Any] = {"color": style.MUTED, "linewidth": 0.8, "linestyle": (0, (1, 2)), "zorder": 1}
    axes.axvline(baseline.seconds / 60, **hairs)
    axes.axhline(baseline.score, **hairs)
    if baseline.seconds > 0:
        scale = 60 / baseline.seconds

        def times_of(minutes: Any) -> Any:
            return minutes * scale

        def minutes_of(times: Any) -> Any:
            return times / scale

        top = axes.secondary_xaxis("top", functions=(times_of, minutes_of))
        top.set_xlabel(f"times the baseline's ({baseline.name})", fontsize=style.SMALL_PT, labelpad=4)
        top.tick_params(labelsize=style.SMALL_PT, length=3)
        top.spines["top"].set_visible(False)


def _draw_point(axes: Axes, point: PolicyPoint, index: int) -> None:
    colour = style.ORANGE if point.is_baseline else style.BLUE
    minutes = point.seconds / 60
    bars: dict[str, Any] = {"color": colour, "linewidth": 1.4, "alpha": 0.55, "zorder": 3, "solid_capstyle": "round"}
    axes.plot([point.seconds_low / 60, point.seconds_high / 60], [point.score] * 2, **bars)
    axes.plot([minutes] * 2, [point.score_low, point.score_high], **bars)
    face = colour if point.is_baseline else style.PAPER
    looks: dict[str, Any] = {"markerfacecolor": face, "markeredgecolor": colour, "markeredgewidth": 1.8}
    marker = "D" if point.is_baseline else "o"
    axes.plot([minutes], [point.score], marker, markersize=7.5, gid=f"policy-{index}", zorder=5, **looks)


def _write_names(axes: Axes, points: Sequence[PolicyPoint]) -> None:
    """Each name where it covers least of what is already there, as near to its point as that allows."""
    taken = [box for point in points for box in _boxes(axes, point)]
    taken += _frontier_boxes(axes, pareto_frontier(points))
    for point in points:
        weight = "bold" if point.is_baseline else "normal"
        name = axes.annotate(
            point.name,
            (point.seconds / 60, point.score),
            xytext=_OFFSETS_PT[0],
            textcoords="offset points",
            fontsize=style.TEXT_PT,
            fontweight=weight,
            zorder=6,
            path_effects=[withStroke(linewidth=2, foreground=style.PAPER)],
        )
        best = min(_OFFSETS_PT, key=lambda offset: (_covered(_moved(name, offset), axes, taken), math.hypot(*offset)))
        taken.append(_moved(name, best))


def _boxes(axes: Axes, point: PolicyPoint) -> tuple[Bbox, Bbox, Bbox]:
    """What a point and its two bars cover, in pixels."""
    ends = ((point.seconds_low, point.score_low), (point.seconds, point.score), (point.seconds_high, point.score_high))
    (left, low), (x, y), (right, high) = axes.transData.transform([(seconds / 60, score) for seconds, score in ends])
    marker = Bbox.from_extents(x - 6, y - 6, x + 6, y + 6)
    return marker, Bbox.from_extents(left, y - 1, right, y + 1), Bbox.from_extents(x - 1, low, x + 1, high)


def _frontier_boxes(axes: Axes, frontier: Sequence[PolicyPoint]) -> list[Bbox]:
    """What the staircase covers, in pixels."""
    minutes, scores = _frontier_steps(axes, frontier)
    corners = [tuple(corner) for corner in axes.transData.transform(list(zip(minutes, scores, strict=True)))]
    boxes: list[Bbox] = []
    for (x, y), (next_x, next_y) in itertools.pairwise(corners):
        boxes.append(Bbox.from_extents(x, y - 1, next_x, y + 1))
        boxes.append(Bbox.from_extents(next_x - 1, min(y, next_y), next_x + 1, max(y, next_y)))
    return boxes


def _moved(name: Annotation, offset: tuple[float, float]) -> Bbox:
    """What the name covers, in pixels, once it stands there."""
    x, y = offset
    name.xyann = offset
    name.set_horizontalalignment("center" if x == 0 else "left" if x > 0 else "right")
    name.set_verticalalignment("bottom" if y > 0 else "top")
    return name.get_window_extent()


def _covered(box: Bbox, axes: Axes, taken: Sequence[Bbox]) -> float:
    """Pixels of the box that are taken, or outside the frame."""
    overlaps = [Bbox.intersection(box, each) for each in taken]
    inside = Bbox.intersection(box, axes.bbox)
    outside = box.width * box.height - (inside.width * inside.height if inside else 0.0)
    return round(outside + sum(each.width * each.height for each in overlaps if each), 1)


def _handles(*, is_compared: bool) -> list[Line2D]:
    looks: dict[str, Any] = {"linewidth": 0, "markersize": 6, "markeredgewidth": 1.6}
    policy = Line2D([], [], marker="o", color=style.BLUE, markerfacecolor=style.PAPER, label="policy", **looks)
    baseline = Line2D([], [], marker="D", color=style.ORANGE, label="baseline", **looks)
    frontier = Line2D([], [], color=style.GREEN, linewidth=1.6, label="Pareto frontier: nothing is better in less time")
    return [policy, baseline, frontier] if is_compared else [policy, frontier]
