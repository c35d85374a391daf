"""The rows of a competition's picture: a problem's attempts in lanes, on its own clock, and what came of them.

On the competition's clock a problem of five hours is a hair's breadth. All sizes are in inches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from kit.plots import style
from kit.plots.style import Sheet, clock_text
from kit.plots.timeline import Attempt, Outcome, ProblemSpan, Timeline, Verdict
from kit.plots.votes import ranked_answers
from kit.solver.stopping import StopReason

WIDTH_IN = 13.9
MARGIN_IN = 0.45
CHART_LEFT_IN = 1.6
_CHART_IN = 5.9
REASON_IN = 2.5  # of width for why sampling stopped: the longest reason of an answer that is a guess
_REASON_AT_IN = 1.85  # right of the votes and the belief
_COLUMNS_LEFT_IN = CHART_LEFT_IN + _CHART_IN + 0.1
LEGEND_IN = 0.36  # its top above the panel's
HEADING_IN = 0.78

Look = dict[str, Any]
"""Keywords of a matplotlib patch."""

MAX_LANED = 60
"""More problems than these are drawn as strips, with a tick where an attempt ended, for want of height."""

_SHORT_S = 10.0  # a problem that took less is told in tenths of a second
_MIN_LANES = 4  # of a row's height, so that two lanes do not look like two walls
_RANKS = {
    style.GREEN: "leading answer",
    style.ORANGE: "runner-up",
    style.BLUE: "third",
    style.PURPLE: "further answers",
}
_STOPPED, _WENT_ON, _DEPTH = "stopped", "went on", "depth"
_CANCELLED_LOOK: Look = {"facecolor": style.PAPER, "edgecolor": style.GREY, "hatch": "//////", "linewidth": 0.4}


def draw_rows(sheet: Sheet, timeline: Timeline, top_in: float, height_in: float) -> None:
    """One row a span: its attempts left, what came of them right."""
    is_strip = len(timeline.spans) > MAX_LANED
    what = "a tick where an attempt ended" if is_strip else "a lane for each attempt in flight"
    told = f"{what}, by time since the problem began; pale: the time it was allowed"
    sheet.heading("What ran on each problem", told, left_in=MARGIN_IN, top_in=top_in - HEADING_IN)
    axes = sheet.panel(left_in=CHART_LEFT_IN, top_in=top_in, width_in=_CHART_IN, height_in=height_in)
    end_s, depths = _row_end_s(timeline), _depths(timeline.spans)
    style.clock_axis(axes, end_s=end_s, label="time since the problem began")
    style.row_axis(axes, len(timeline.spans))
    seen: dict[str, Any] = {}
    for index, span in enumerate(timeline.spans):
        style.bar(axes, 0, min(span.allotted_s or 0.0, end_s), y=index + 0.06, height=0.88, facecolor=style.TRACK)
        seen |= _draw_strip(axes, index, span) if is_strip else _draw_lanes(axes, index, span, depths)
        if span.ended_s - span.begun_s > end_s:
            style.goes_on(axes, end_s, y=index + 0.5)
            seen[_WENT_ON] = Line2D([], [], color=style.INK, marker=">", markersize=4, linewidth=0, label=_WENT_ON)
    if len(depths) > 1 and not is_strip:
        label = f"thicker: deeper T, {depths[0]} to {depths[-1]}"
        seen[_DEPTH] = Line2D([], [], color=style.MUTED, linewidth=3, label=label)
    order = (*_RANKS.values(), *Outcome, _STOPPED, _WENT_ON, _DEPTH)
    sheet.legend([seen[name] for name in order if name in seen], left_in=CHART_LEFT_IN, top_in=top_in - LEGEND_IN)
    _write_rows(sheet, axes, timeline, top_in, height_in)


def _row_end_s(timeline: Timeline) -> float:
    """The longest span, unless a few long ones would squeeze the others into a fringe."""
    durations_s = sorted(span.ended_s - span.begun_s for span in timeline.spans)
    most_s = durations_s[len(durations_s) * 4 // 5]
    return 1.03 * max(1.0, min(durations_s[-1], 3 * most_s))


def _draw_lanes(axes: Axes, index: int, span: ProblemSpan, depths: Sequence[int]) -> dict[str, Any]:
    """Every attempt as a bar in its lane; a legend's handles by name."""
    names, seen = _names(span), dict[str, Any]()
    pitch = 0.76 / max(_MIN_LANES, len(span.lanes))
    top = index + 0.5 - pitch * (len(span.lanes) - 1) / 2
    gap_s = 0.002 * axes.get_xlim()[1]  # tells an attempt from the next in its lane
    middles = [top + number * pitch for number, lane in enumerate(span.lanes) for _ in lane]
    for number, (attempt, y) in enumerate(zip(span.attempts, middles, strict=True)):
        gid = f"attempt-{index}-{number}"
        begun_s, ended_s = attempt.begun_s - span.begun_s, attempt.ended_s - span.begun_s
        name, look = names(attempt)
        if attempt.outcome is Outcome.FAILED:
            style.cross(axes, begun_s, ended_s, y=y, gid=gid)
            seen[name] = Line2D([], [], color=style.RED, marker="x", markersize=4, label=name)
            continue
        height = 0.86 * pitch * _thickness(attempt.depth, depths)
        shown_s = ended_s - min(gap_s, 0.2 * (ended_s - begun_s))
        style.bar(axes, begun_s, shown_s, y=y - height / 2, height=height, gid=gid, **look)
        seen[name] = Patch(label=name, **look)
    style.upright(axes, span.ended_s - span.begun_s, row=index, color=style.INK, linewidth=1.3)
    seen[_STOPPED] = Line2D([], [], color=style.INK, linewidth=1.3, label=_STOPPED)
    return seen


def _draw_strip(axes: Axes, index: int, span: ProblemSpan) -> dict[str, Any]:
    """The row of a long competition: a bar as long as the span, and every attempt as a tick at its end."""
    names, seen = _names(span), dict[str, Any]()
    style.bar(axes, 0, span.ended_s - span.begun_s, y=index + 0.06, height=0.88, facecolor=style.RULE)
    for number, attempt in enumerate(span.attempts):
        name, look = names(attempt)
        colour, gid = look["facecolor"], f"attempt-{index}-{number}"
        style.upright(axes, attempt.ended_s - span.begun_s, row=index, color=colour, linewidth=1.6, gid=gid)
        if attempt.outcome is not Outcome.CANCELLED:  # all at the stop, and white
            seen[name] = Patch(facecolor=colour, label=name)
    return seen


def _names(span: ProblemSpan) -> Callable[[Attempt], tuple[str, Look]]:
    """What an attempt of this span is called in the legend, and how it looks."""
    ranks = {answer: rank for rank, answer in enumerate(ranked_answers(span))}
    looks: dict[Outcome, Look] = {
        Outcome.NO_ANSWER: {"facecolor": style.GREY},
        Outcome.CANCELLED: _CANCELLED_LOOK,
        Outcome.FAILED: {"facecolor": style.RED},
    }

    def named(attempt: Attempt) -> tuple[str, Look]:
        if attempt.answer is None:
            return attempt.outcome.value, looks[attempt.outcome]
        colour = rank_colour(ranks[attempt.answer])
        return _RANKS[colour], {"facecolor": colour}

    return named


def rank_colour(rank: int) -> str:
    """The colour of a problem's answers by rank; 0: the leading one."""
    return list(_RANKS)[min(rank, len(_RANKS) - 1)]


def _depths(spans: Iterable[ProblemSpan]) -> list[int]:
    """The recursion depths that were drawn, shallowest first; empty for an engine that does not recurse."""
    return sorted({each.depth for span in spans for each in span.attempts if each.depth is not None})


def _thickness(depth: int | None, depths: Sequence[int]) -> float:
    """Of a lane: all of it at the competition's greatest depth, half of it at its least; between them if not known."""
    if len(depths) < 2:
        return 1.0
    return 3 / 4 if depth is None else 1 / 2 + 1 / 2 * depths.index(depth) / (len(depths) - 1)


def _write_rows(sheet: Sheet, chart: Axes, timeline: Timeline, top_in: float, height_in: float) -> None:
    """Problem and start to the left of the rows; answer, votes, reason and time to their right."""
    spans = timeline.spans
    row_pt = height_in / len(spans) * 72
    every = math.ceil(5.5 / row_pt)  # rows too thin for letters: only some are labelled
    size_pt = min(style.TEXT_PT, max(5.0, row_pt * 0.72))
    axes = sheet.panel(left_in=0, top_in=top_in, width_in=WIDTH_IN, height_in=height_in)
    axes.set_axis_off()
    axes.set_xlim(0, WIDTH_IN)
    axes.set_ylim(chart.get_ylim())
    columns = _columns(timeline)
    for name, align, left_in, _, _ in columns:
        head: Look = {"fontsize": style.SMALL_PT, "color": style.MUTED, "ha": align, "va": "bottom"}
        axes.annotate(name, (left_in, 0), xytext=(0, 4), textcoords="offset points", **head)
    for index in range(0, len(spans), every):
        for _, align, left_in, colour, cell in columns:
            text, y = cell(spans[index]), index + 0.5
            shade = _mark_colour(spans[index]) if colour is None else colour
            axes.text(left_in, y, text, ha=align, va="center_baseline", color=shade, fontsize=size_pt)


_Column = tuple[str, str, float, str | None, Callable[[ProblemSpan], str]]
"""Its head, its alignment, where it is aligned, its colour (None: that of right and wrong), and its cells."""


def _columns(timeline: Timeline) -> list[_Column]:
    span_s, left_in = budget_end_s(timeline), _COLUMNS_LEFT_IN  # times as on the competition's clock above
    columns: list[_Column] = [
        ("problem", "right", CHART_LEFT_IN - 0.55, style.INK, lambda each: style.shortened(each.problem_id, 12)),
        ("began", "right", CHART_LEFT_IN - 0.1, style.MUTED, lambda each: clock_text(each.begun_s, span_s=span_s)),
        ("answer", "right", left_in + 0.55, style.INK, lambda each: str(each.verdict.answer) if each.verdict else "–"),
    ]
    if any(span.gold is not None for span in timeline.spans):
        columns.append(("gold", "left", left_in + 0.62, None, _mark))
        left_in += 0.55
    columns += [
        ("votes", "left", left_in + 0.75, style.INK, _votes_text),
        ("stopped because", "left", left_in + _REASON_AT_IN, style.INK, reason_text),
        ("took", "right", left_in + _REASON_AT_IN + REASON_IN + 0.5, style.INK, _took_text),
    ]
    if any(span.verdict and span.verdict.posterior is not None for span in timeline.spans):
        columns.append(("belief", "right", left_in + 1.75, style.MUTED, _belief_text))
    if _depths(timeline.spans):
        columns.append(("T", "right", left_in + _REASON_AT_IN + REASON_IN + 0.8, style.INK, _depth_text))
    return columns


def _mark(span: ProblemSpan) -> str:
    return {None: "", True: "✓", False: f"✗ {span.gold}"}[span.is_right]


def _mark_colour(span: ProblemSpan) -> str:
    return style.GREEN if span.is_right else style.RED


def _votes_text(span: ProblemSpan) -> str:
    counts = [str(count) for _, count in span.verdict.votes] if span.verdict else []
    tied = " tie" if span.verdict and span.verdict.tie_break else ""
    return ":".join(counts[:4]) + ("…" if len(counts) > 4 else "") + tied


def reason_text(span: ProblemSpan) -> str:
    """Why sampling stopped, and whether the answer is a guess."""
    if span.verdict is None:
        return "unfinished"
    guessed = ", guessed" if span.verdict.is_guess else ""
    return style.shortened(_priced(span.verdict) + guessed, 38)


def _priced(verdict: Verdict) -> str:
    """The reason, with what the next attempt promised and what its time was worth elsewhere, where that decided."""
    if verdict.reason != StopReason.NOT_WORTH or verdict.gain is None or verdict.price is None:
        return verdict.reason
    return f"worth more elsewhere: +{verdict.gain:.2f} < {verdict.price:.2f}"


def _belief_text(span: ProblemSpan) -> str:
    belief = span.verdict.posterior if span.verdict else None
    return "" if belief is None else f"{100 * belief:.0f} %"


def _took_text(span: ProblemSpan) -> str:
    seconds = span.ended_s - span.begun_s
    return f"{seconds:.1f} s" if seconds < _SHORT_S else clock_text(seconds, span_s=0)


def _depth_text(span: ProblemSpan) -> str:
    return str(max(_depths([span]), default=""))


def budget_end_s(timeline: Timeline) -> float:
    """The limit where the run came anywhere near it, else little more than the run."""
    ended_s = max(timeline.ended_s * 1.02, 1.0)
    if timeline.limits is None:
        return ended_s
    limit_s = timeline.starts_s[-1] + timeline.limits.limit_s
    return max(ended_s, limit_s) if ended_s > 0.3 * limit_s else ended_s
