"""How the kit's pictures look, and how they reach the disk: palette, sheet, axes, SVG and PNG files.

Figures are made without pyplot, in matplotlib's own defaults plus STYLE, so that neither a user's matplotlibrc
nor another figure changes them: the same picture gives the same SVG bytes. Does not know what is drawn.
Colours: Okabe and Ito's eight, told apart with every common colour blindness (jfly.uni-koeln.de/color).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from kit.errors import InputError, cannot_write

INK = "#1f2933"
MUTED = "#66727f"
RULE = "#d3d9df"
TRACK = "#edf0f3"
PAPER = "#ffffff"
BLUSH = "#fbe9dd"
GREEN = "#009E73"
ORANGE = "#E69F00"
BLUE = "#0072B2"
PURPLE = "#CC79A7"
GREY = "#B4BDC6"
RED = "#D55E00"

SMALL_PT = 7.5
TEXT_PT = 8.5
HEADING_PT = 10.5
TITLE_PT = 16

STYLE = {
    "font.family": "DejaVu Sans",  # the one that matplotlib brings along
    "font.size": TEXT_PT,
    "text.color": INK,
    "text.parse_math": False,  # a dollar in an id is a dollar
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": TRACK,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "svg.hashsalt": "kit",  # ids inside an SVG are random without it
    "figure.dpi": 72,  # an SVG point is a point
}

_PNG_DPI = 150
_TICKS_IN_SECONDS_BELOW_S = 10.0
_TICK_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 36000, 86400)


def drawing() -> AbstractContextManager[None]:
    """The context in which a figure is made and saved; matplotlib's settings are as before after it."""
    context: AbstractContextManager[None] = matplotlib.style.context(STYLE, after_reset=True)
    return context


@dataclass(frozen=True, slots=True)
class Sheet:
    """A figure whose parts are placed in inches from its top left corner."""

    figure: Figure
    width_in: float
    height_in: float

    @classmethod
    def of(cls, width_in: float, height_in: float) -> Sheet:
        """A blank one."""
        return cls(Figure(figsize=(width_in, height_in), facecolor=PAPER), width_in, height_in)

    def panel(self, *, left_in: float, top_in: float, width_in: float, height_in: float) -> Axes:
        """Axes with this frame."""
        bottom = 1 - (top_in + height_in) / self.height_in
        frame = (left_in / self.width_in, bottom, width_in / self.width_in, height_in / self.height_in)
        return self.figure.add_axes(frame)

    def text(self, text: str, *, left_in: float, top_in: float, **looks: Any) -> None:
        """Text whose first line's top is at `top_in`."""
        x, y = left_in / self.width_in, 1 - top_in / self.height_in
        self.figure.text(x, y, text, **{"va": "top", "ha": "left", **looks})

    def heading(self, text: str, told: str, *, left_in: float, top_in: float) -> None:
        """A heading, and below it in small what the panel shows."""
        self.text(text, left_in=left_in, top_in=top_in, fontsize=HEADING_PT, fontweight="bold")
        self.text(told, left_in=left_in, top_in=top_in + 0.2, fontsize=SMALL_PT, color=MUTED)

    def legend(self, handles: list[Any], *, left_in: float, top_in: float) -> None:
        """One line of handles."""
        self.figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(left_in / self.width_in, 1 - top_in / self.height_in),
            ncols=max(1, len(handles)),
            fontsize=SMALL_PT,
            labelcolor=MUTED,
            handlelength=1.4,
            handleheight=0.8,
            handletextpad=0.5,
            columnspacing=1.3,
            borderpad=0,
            borderaxespad=0,
        )


def picture_kind(path: Path) -> str:
    """`svg` or `png`, as the suffix says.

    Raises: InputError for any other suffix.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("svg", "png"):
        raise InputError(f"{path}: a picture is an .svg or a .png; end the name in one of them")
    return kind


def save(figure: Figure, path: Path) -> None:
    """Write the figure as its suffix says, .svg or .png; call it within `drawing()`.

    Raises: InputError for any other suffix; StorageError if the file cannot be written.
    """
    kind = picture_kind(path)
    picture = io.BytesIO()  # drawn whole first, so that nothing half drawn is left on a full disk
    metadata = {"Date": None} if kind == "svg" else {}
    figure.savefig(picture, format=kind, dpi=72 if kind == "svg" else _PNG_DPI, metadata=metadata)
    try:
        path.write_bytes(picture.getvalue())
    except OSError as error:
        raise cannot_write(path, error) from error


def clock_text(seconds: float, *, span_s: float) -> str:
    """A time of day on an axis that spans `span_s`: h:mm from an hour on, m:ss below it."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}" if span_s >= 3600 else f"{minutes}:{rest:02d}"


def clock_axis(axes: Axes, *, end_s: float, label: str, num_ticks: int = 10) -> None:
    """Make x run from 0 to `end_s`, with ticks at round times, a faint grid and the unit in its label."""
    unit = "h:mm" if end_s >= 3600 else "m:ss" if end_s >= _TICKS_IN_SECONDS_BELOW_S else "s"
    step_s = next((step for step in _TICK_STEPS_S if end_s / step <= num_ticks), end_s / num_ticks)
    ticks_s = [step_s * number for number in range(int(end_s / step_s) + 1)]
    axes.set_xlim(0, end_s)
    axes.set_xticks(ticks_s, [f"{tick:g}" if unit == "s" else clock_text(tick, span_s=end_s) for tick in ticks_s])
    axes.set_xlabel(f"{label} ({unit})", fontsize=SMALL_PT)
    axes.tick_params(labelsize=SMALL_PT, length=3)
    axes.grid(axis="x", linewidth=0.7)


def count_text(count: int) -> str:
    """A count in at most four figures, such as 812, 41.2 k or 3.07 M."""
    for size, unit in ((1_000_000_000, " G"), (1_000_000, " M"), (1_000, " k")):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def shortened(text: str, num_letters: int) -> str:
    """The text, or as much of it as fits, ending in an ellipsis."""
    return text if len(text) <= num_letters else text[: num_letters - 1] + "…"


def duration_text(seconds: float) -> str:
    """A duration to read in a sentence, such as 2 h 41 min or 7.5 min."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{seconds / 60:.1f} min"


def count_axis(axes: Axes, *, end: float, label: str) -> None:
    """Make y run from 0 to a little more than `end`, with ticks at whole numbers."""
    axes.set_ylim(0, max(1.0, end) * 1.06)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.set_ylabel(label, fontsize=SMALL_PT)
    axes.tick_params(axis="y", labelsize=SMALL_PT, length=0)


def row_axis(axes: Axes, num_rows: int) -> None:
    """Make y run downwards over rows of height 1."""
    axes.set_ylim(num_rows, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def bar(axes: Axes, begun: float, ended: float, *, y: float, height: float, **looks: Any) -> None:
    """A bar from `begun` to `ended` whose edge nearest to 0 is at `y`."""
    axes.add_patch(Rectangle((begun, y), ended - begun, height, **{"linewidth": 0, **looks}))


def cross(axes: Axes, begun: float, ended: float, *, y: float, gid: str) -> None:
    """A thin red line that ends in a cross."""
    axes.plot([begun, ended], [y, y], color=RED, linewidth=0.8, marker="x", markersize=3.5, markevery=[1], gid=gid)


def upright(axes: Axes, x: float, *, row: int, **looks: Any) -> None:
    """A stroke across a row of height 1."""
    axes.plot([x, x], [row + 0.06, row + 0.94], **{"solid_capstyle": "butt", **looks})


def goes_on(axes: Axes, x: float, *, y: float) -> None:
    """A small arrow at the right edge: there is more than the axis shows."""
    axes.plot([x], [y], color=INK, marker=">", markersize=4, clip_on=False, zorder=5, gid="goes-on")


def note(axes: Axes, x: float, text: str) -> None:
    """A small text above the frame, at `x`."""
    place: dict[str, Any] = {"xytext": (0, 3), "textcoords": "offset points", "xycoords": axes.get_xaxis_transform()}
    axes.annotate(text, (x, 1), **place, ha="right", va="bottom", fontsize=SMALL_PT, color=MUTED)


def end_labels(axes: Axes, x: float, ends: list[tuple[float, str, str]]) -> None:
    """Name lines right of where they end, each (y, text, colour); those that would touch are pushed apart."""
    low, high = axes.get_ylim()
    gap = 0.1 * (high - low)
    ordered = sorted(ends)
    for y, (_, text, colour) in zip(spread([end for end, _, _ in ordered], gap=gap, top=high), ordered, strict=True):
        place: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points"}
        axes.annotate(text, (x, y), **place, va="center", fontsize=TEXT_PT, color=colour, fontweight="bold")


def spread(places: Sequence[float], *, gap: float, top: float) -> list[float]:
    """Ascending places moved as little as one pass up and one down can, so that they lie `gap` apart, below `top`."""
    spread_places: list[float] = []
    for place in places:
        spread_places.append(max(place, spread_places[-1] + gap) if spread_places else place)
    ceiling = top
    for index in reversed(range(len(spread_places))):
        spread_places[index] = min(spread_places[index], ceiling)
        ceiling = spread_places[index] - gap
    return spread_places
