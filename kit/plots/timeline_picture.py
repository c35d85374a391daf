"""A Timeline in, its picture out: where the budget went, what ran on each problem, votes over time.

All sizes are in inches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from kit.plots import style
from kit.plots.rows import (
    CHART_LEFT_IN,
    HEADING_IN,
    LEGEND_IN,
    MARGIN_IN,
    MAX_LANED,
    WIDTH_IN,
    Look,
    budget_end_s,
    draw_rows,
    rank_colour,
    reason_text,
)
from kit.plots.style import Sheet, clock_text
from kit.plots.timeline import Limits, Outcome, ProblemSpan, Timeline
from kit.plots.votes import most_contested, vote_steps

_BUDGET_TOP_IN = 1.95
_VOTES_IN = 1.75
_MAX_CONTESTED = 4


def draw_timeline(timeline: Timeline, path: Path) -> None:
    """Draw a competition as SVG or PNG, by the suffix of `path`; the same timeline gives the same SVG bytes.

    Raises: InputError for another suffix; StorageError if the file cannot be written.
    """
    budget_in = min(2.9, 0.8 + 0.25 * len(timeline.spans))
    rows_top_in, rows_in = _BUDGET_TOP_IN + budget_in + 1.35, len(timeline.spans) * _row_in(timeline)
    contested = most_contested(timeline, _MAX_CONTESTED)
    votes_top_in = rows_top_in + rows_in + 1.5
    with style.drawing():
        sheet = Sheet.of(WIDTH_IN, votes_top_in + (_VOTES_IN + 0.7 if contested else -0.75))
        sheet.text("Competition timeline", left_in=MARGIN_IN, top_in=0.35, fontsize=style.TITLE_PT, fontweight="bold")
        sheet.text(summary(timeline), left_in=MARGIN_IN, top_in=0.72, fontsize=9, color=style.MUTED)
        _draw_budget(sheet, timeline, budget_in)
        draw_rows(sheet, timeline, rows_top_in, rows_in)
        _draw_votes(sheet, contested, votes_top_in)
        style.save(sheet.figure, path)


def summary(timeline: Timeline) -> str:
    """The totals in one line: problems, right answers if golds are known, attempts, tokens, wall time."""
    attempts = Counter(attempt.outcome for span in timeline.spans for attempt in span.attempts)
    num_tokens = sum(attempt.num_tokens for span in timeline.spans for attempt in span.attempts)
    problems = {span.problem_id: span for span in timeline.spans}.values()  # each one's last span
    verdicts = [span.verdict for span in problems if span.verdict]
    num_guessed = sum(verdict.is_guess for verdict in verdicts)
    golds = [span for span in problems if span.gold is not None]
    lost = [f"{attempts[each]} {each}" for each in (Outcome.CANCELLED, Outcome.FAILED) if attempts[each]]
    parts = (
        f"{len(verdicts)} of {len(problems)} problems answered",
        f"{num_guessed} by a guess" if num_guessed else "",
        f"{sum(span.is_right is True for span in golds)} of {len(golds)} right" if golds else "",
        f"{attempts.total()} attempts" + (f" ({', '.join(lost)})" if lost else ""),
        f"{style.count_text(num_tokens)} tokens",
        f"{style.duration_text(timeline.ended_s)} of wall time",
        f"{timeline.num_untimed} left out for want of times" if timeline.num_untimed else "",
    )
    return "   ·   ".join(part for part in parts if part)


def _row_in(timeline: Timeline) -> float:
    """Tall where there is room, and all of them never much more than a metre."""
    num_rows = len(timeline.spans)
    return min(0.13, 36.0 / num_rows) if num_rows > MAX_LANED else min(1.3, max(0.29, 8.0 / num_rows))


def _draw_budget(sheet: Sheet, timeline: Timeline, height_in: float) -> None:
    """Problems answered against the competition's clock: its staircase is at once what ran when."""
    told = "each step is a problem, and pale behind it the most it was allowed"
    sheet.heading("Where the budget went", told, left_in=MARGIN_IN, top_in=_BUDGET_TOP_IN - HEADING_IN)
    width_in = WIDTH_IN - CHART_LEFT_IN - MARGIN_IN
    axes = sheet.panel(left_in=CHART_LEFT_IN, top_in=_BUDGET_TOP_IN, width_in=width_in, height_in=height_in)
    levels = _num_answered(timeline)
    for index, (span, level) in enumerate(zip(timeline.spans, levels, strict=False)):
        allowed_s = span.begun_s + (span.allotted_s or 0.0)
        step: Look = {"y": level + 0.1, "height": 0.8}
        style.bar(axes, span.begun_s, allowed_s, facecolor=style.TRACK, **step)
        style.bar(axes, span.begun_s, span.ended_s, facecolor=_fate(span)[1], gid=f"problem-{index}", **step)
    end_s = budget_end_s(timeline)
    style.clock_axis(axes, end_s=end_s, label="time since the start", num_ticks=15)
    style.count_axis(axes, end=levels[-1], label="problems answered")
    fates = dict(_fate(span) for span in timeline.spans)
    handles: list[Any] = [Patch(facecolor=colour, label=name) for name, colour in sorted(fates.items())]
    for start_s in timeline.starts_s[1:]:
        axes.axvline(start_s, color=style.INK, linewidth=0.9, linestyle=(0, (1, 2)))
        style.note(axes, start_s, "restarted")
    if timeline.limits is not None:
        handles.append(_draw_even_shares(axes, timeline, timeline.limits, levels))
        handles.append(_draw_cutoff(axes, timeline.starts_s[-1], timeline.limits, end_s))
    sheet.legend(handles, left_in=CHART_LEFT_IN, top_in=_BUDGET_TOP_IN - LEGEND_IN)


def _num_answered(timeline: Timeline) -> list[int]:
    """How many problems were answered before each span, and after the last."""
    answered: set[str] = set()
    counts = [0]
    for span in timeline.spans:
        if span.verdict:
            answered.add(span.problem_id)
        counts.append(len(answered))
    return counts


def _fate(span: ProblemSpan) -> tuple[str, str]:
    """What became of it, in a word and a colour."""
    if span.verdict is None:
        return "unfinished", style.GREY
    if span.is_right is not None:
        return ("right", style.GREEN) if span.is_right else ("wrong", style.RED)
    return ("guessed", style.ORANGE) if span.verdict.is_guess else ("answered", style.GREEN)


def _draw_even_shares(axes: Axes, timeline: Timeline, limits: Limits, levels: Sequence[int]) -> Line2D:
    """For each process, from what was answered when it started to all problems at its cutoff."""
    num_problems = limits.num_problems or len({span.problem_id for span in timeline.spans})
    dashes: Look = {"color": style.INK, "linewidth": 1.1, "linestyle": (0, (5, 3))}
    for start_s in timeline.starts_s:
        level = levels[sum(span.begun_s < start_s for span in timeline.spans)]
        line = Line2D([start_s, start_s + limits.cutoff_s], [level, num_problems], gid="even-share", **dashes)
        axes.add_artist(line)  # unlike a plot, it leaves the axes' limits alone
    return Line2D([], [], label="even share of the budget", **dashes)


def _draw_cutoff(axes: Axes, start_s: float, limits: Limits, end_s: float) -> Patch:
    """The last process's cutoff, where it is in sight, and the reserve after it."""
    cutoff_s = start_s + limits.cutoff_s
    if cutoff_s < end_s:
        style.bar(axes, cutoff_s, start_s + limits.limit_s, y=0, height=axes.get_ylim()[1], facecolor=style.BLUSH)
        axes.axvline(cutoff_s, color=style.RED, linewidth=1.2)
        style.note(axes, cutoff_s, f"cutoff {clock_text(cutoff_s, span_s=end_s)}")
    else:
        style.note(axes, end_s, f"cutoff after {style.duration_text(cutoff_s)}, beyond this picture")
    return Patch(facecolor=style.BLUSH, label="reserve")


def _draw_votes(sheet: Sheet, contested: Sequence[ProblemSpan], top_in: float) -> None:
    """A small panel each: the weight of every answer over time."""
    if not contested:
        return
    told = "on the most contested problems: total weight of each answer"
    sheet.heading("Votes over time", told, left_in=MARGIN_IN, top_in=top_in - HEADING_IN)
    pitch_in = (WIDTH_IN - 2 * MARGIN_IN) / _MAX_CONTESTED
    for number, span in enumerate(contested):
        left_in = MARGIN_IN + 0.2 + number * pitch_in
        axes = sheet.panel(left_in=left_in, top_in=top_in, width_in=pitch_in - 0.5, height_in=_VOTES_IN)
        _draw_steps(axes, span)


def _draw_steps(axes: Axes, span: ProblemSpan) -> None:
    end_s = max(1.0, span.ended_s - span.begun_s)
    ends: list[tuple[float, str, str]] = []
    for rank, (answer, points) in enumerate(vote_steps(span).items()):
        times_s, weights = zip(*points, (end_s, points[-1][1]), strict=True)
        axes.plot(times_s, weights, drawstyle="steps-post", color=rank_colour(rank), linewidth=1.8, zorder=10 - rank)
        mark = " ✓" if answer == span.gold else ""
        ends.append((weights[-1], f"{answer}{mark}", rank_colour(rank)))
    top = 1.15 * max(end for end, _, _ in ends)
    style.clock_axis(axes, end_s=end_s * 1.3, label="time since the problem began", num_ticks=5)
    style.count_axis(axes, end=top, label="")
    style.end_labels(axes, end_s, ends[:5])
    axes.axvline(end_s, color=style.INK, linewidth=1.0)
    title = f"{style.shortened(span.problem_id, 12)}\n{reason_text(span)}"
    axes.set_title(title, loc="left", fontsize=style.TEXT_PT)
