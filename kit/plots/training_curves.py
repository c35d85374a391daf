"""Updates of a training run in, a picture of how it went out: loss by supervision step, gradient norm, learning rate.

Reads plain mappings, as a run's log holds them. Does not know what was trained.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from kit.errors import InputError
from kit.plots import style
from kit.plots.style import Sheet

_WIDTH_IN, _HEIGHT_IN = 9.5, 6.4
_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.RED, style.PURPLE, style.INK)
_MOST_LINES = len(_COLOURS)
_SMOOTHED_OVER = 50  # updates, at most; an average over a fiftieth of a short run


def draw_training_curves(updates: Sequence[Mapping[str, Any]], path: Path, *, title: str) -> None:
    """Draw the curves as SVG or PNG, by the suffix of `path`. Each update has number, step, loss and grad_norm.

    Raises: InputError for no updates or another suffix; StorageError if the file cannot be written.
    """
    if not updates:
        raise InputError(f"{path}: no update to draw; a run's curves need one at least")
    with style.drawing():
        sheet = Sheet.of(_WIDTH_IN, _HEIGHT_IN)
        sheet.text(title, left_in=0.4, top_in=0.35, fontsize=style.TITLE_PT, fontweight="bold")
        told = "faint: every update; strong: running mean; a line for each supervision step"
        sheet.heading("Loss", told, left_in=0.95, top_in=0.85)
        losses = sheet.panel(left_in=0.95, top_in=1.3, width_in=8.1, height_in=2.5)
        _draw_losses(losses, updates)
        sheet.heading("Gradient norm", "before clipping", left_in=0.95, top_in=4.15)
        norms = sheet.panel(left_in=0.95, top_in=4.6, width_in=3.7, height_in=1.2)
        _draw_line(norms, updates, "grad_norm", style.BLUE)
        sheet.heading("Learning rate", "of each update", left_in=5.35, top_in=4.15)
        rates = sheet.panel(left_in=5.35, top_in=4.6, width_in=3.7, height_in=1.2)
        _draw_line(rates, updates, "learning_rate", style.GREEN)
        style.save(sheet.figure, path)


def running_mean(values: Sequence[float]) -> list[float]:
    """The mean of the last values up to each one."""
    over = max(1, min(_SMOOTHED_OVER, len(values) // 50))
    sums, means = 0.0, []
    for index, value in enumerate(values):
        sums += value
        if index >= over:
            sums -= values[index - over]
        means.append(sums / min(index + 1, over))
    return means


def _draw_losses(axes: Axes, updates: Sequence[Mapping[str, Any]]) -> None:
    by_step: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for update in updates:
        by_step[update["step"]].append(update)
    steps = sorted(by_step)
    shown = steps if len(steps) <= _MOST_LINES else [steps[i * (len(steps) - 1) // (_MOST_LINES - 1)] for i in range(6)]
    ends = []
    for step, colour in zip(shown, _COLOURS, strict=False):
        numbers = [update["number"] for update in by_step[step]]
        losses = [update["loss"] for update in by_step[step]]
        axes.plot(numbers, losses, color=colour, linewidth=0.5, alpha=0.25)
        axes.plot(numbers, means := running_mean(losses), color=colour, linewidth=1.5, gid=f"loss-{step}")
        ends.append((means[-1], f"step {step + 1}" if len(steps) > 1 else "", colour))
    _finish(axes)
    if len(steps) > 1:
        style.end_labels(axes, updates[-1]["number"], ends)


def _draw_line(axes: Axes, updates: Sequence[Mapping[str, Any]], name: str, colour: str) -> None:
    numbers, values = [update["number"] for update in updates], [update[name] for update in updates]
    axes.plot(numbers, values, color=colour, linewidth=1.0, gid=name)
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.set_ylim(bottom=0)
    axes.set_xlabel("update", fontsize=style.SMALL_PT)
    axes.tick_params(labelsize=style.SMALL_PT, length=3)
    axes.grid(linewidth=0.7)
