"""Accuracies by depth in, a picture out: a line for each difficulty, accuracy with its interval against T.

Does not know what was measured or how.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.errors import InputError
from kit.plots import style
from kit.plots.style import Sheet

_WIDTH_IN, _HEIGHT_IN = 7.2, 4.6
_COLOURS = (style.BLUE, style.GREEN, style.ORANGE, style.RED, style.PURPLE, style.INK)


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthPoint:
    """Accuracy in [0, 1] at T = depth, and its interval."""

    depth: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthCurve:
    """The points of one difficulty."""

    name: str
    points: tuple[DepthPoint, ...]


def draw_depth_curves(curves: Sequence[DepthCurve], path: Path, *, title: str) -> None:
    """Draw them as SVG or PNG, by the suffix of `path`. Depths stand side by side, whatever lies between them.

    Raises: InputError for no curve, more than there are colours, or another suffix; StorageError if the file cannot be
        written.
    """
    if not curves or len(curves) > len(_COLOURS):
        raise InputError(f"{path}: {len(curves)} curves to draw; give 1 to {len(_COLOURS)}")
    depths = sorted({point.depth for curve in curves for point in curve.points})
    with style.drawing():
        sheet = Sheet.of(_WIDTH_IN, _HEIGHT_IN)
        sheet.heading(title, "accuracy against T, with 95 % intervals", left_in=0.8, top_in=0.35)
        axes = sheet.panel(left_in=0.8, top_in=0.95, width_in=5.2, height_in=3.0)
        ends = []
        for number, (curve, colour) in enumerate(zip(curves, _COLOURS, strict=False)):
            points = sorted(curve.points, key=lambda point: point.depth)
            places = [depths.index(point.depth) for point in points]
            values = [point.accuracy for point in points]
            axes.fill_between(
                places, [point.low for point in points], [point.high for point in points], color=colour, alpha=0.15
            )
            axes.plot(places, values, color=colour, linewidth=1.6, marker="o", markersize=3.5, gid=f"curve-{number}")
            ends.append((values[-1], curve.name, colour))
        axes.set_xticks(range(len(depths)), [str(depth) for depth in depths])
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("T, deep recursions", fontsize=style.SMALL_PT)
        axes.tick_params(labelsize=style.SMALL_PT, length=3)
        axes.grid(linewidth=0.7)
        style.end_labels(axes, len(depths) - 1, ends)
        style.save(sheet.figure, path)
