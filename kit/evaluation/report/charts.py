"""Small pictures as SVG elements that stand in the page: lines with intervals, and reliability bins. Pure.

They carry classes and no colours: the page's style colours them, for light and dark alike. All texts are escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor, log10

from kit.evaluation.intervals import Estimate
from kit.evaluation.report.escaping import shown
from kit.evaluation.sweep import Calibration

_WIDTH, _HEIGHT = 360, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 38
_NUM_LOOKS = 6  # of series in the page's style


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its name, and an estimate for each label of the axis; None leaves a gap."""

    name: str
    estimates: tuple[Estimate | None, ...]


def line_chart(
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    across: str,
    up: str,
    scale: float = 1.0,
    top: float | None = None,
) -> str:
    """Lines over evenly spaced labels, with 95 % intervals. scale: of the values as shown; top: of the axis."""
    known = [each for line in series for each in line.estimates if each is not None]
    top = nice_top(max((each.high * scale for each in known), default=1.0)) if top is None else top

    def x(place: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (place + 0.5) / len(labels)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value * scale / top

    parts = [*_frame(top, across, up), *(_label(x(place), text) for place, text in enumerate(labels))]
    for number, line in enumerate(series):
        parts += _line(line, number, len(series), x, y)
    return _svg(parts, f"{up} by {across}") + (_legend(series) if len(series) > 1 else "")


def calibration_chart(found: Calibration) -> str:
    """Share right against the mean score of each bin, with the line on which a calibrated score would lie."""

    def x(score: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * score

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value

    most = max(each.num_samples for each in found.bins)
    parts = [*_frame(100, "halting score", "right %"), *(_label(x(each / 4), f"{each / 4:g}") for each in range(5))]
    parts.append(_tag("line", kind="ideal", x1=x(0), y1=y(0), x2=x(1), y2=y(1)))
    for each in found.bins:
        height = 24 * each.num_samples / most
        bottom = _HEIGHT - _BOTTOM
        parts.append(_tag("rect", kind="count", x=x(each.mean_score) - 5, y=bottom - height, width=10, height=height))
        at = x(each.mean_score)
        parts.append(_tag("line", kind="bar s0", x1=at, x2=at, y1=y(each.right.low), y2=y(each.right.high)))
        told = f"score {each.mean_score:.3f}: {100 * each.right.value:.1f} % right of {each.num_samples}"
        parts.append(_tag("circle", told, kind="dot s0", cx=at, cy=y(each.right.value), r=3.5))
    return _svg(parts, "share right by halting score")


def nice_top(value: float) -> float:
    """The end of an axis: 1, 2, 2.5 or 5 times a power of ten, not below the value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def _line(
    line: Series, number: int, num_series: int, x: Callable[[int], float], y: Callable[[float], float]
) -> list[str]:
    look = f"s{number % _NUM_LOOKS}"
    shift = 5 * (number - (num_series - 1) / 2)  # so that intervals of several lines do not cover each other
    points = [(x(place) + shift, each) for place, each in enumerate(line.estimates) if each is not None]
    path = " ".join(f"{at:.1f},{y(each.value):.1f}" for at, each in points)
    parts = [_tag("polyline", kind=f"line {look}", points=path)]
    for at, each in points:
        told = f"{line.name}: {each.value:.4g} [{each.low:.4g}, {each.high:.4g}]"
        parts.append(_tag("line", kind=f"bar {look}", x1=at, x2=at, y1=y(each.low), y2=y(each.high)))
        parts.append(_tag("circle", told, kind=f"dot {look}", cx=at, cy=y(each.value), r=3.5))
    return parts


def _frame(top: float, across: str, up: str) -> list[str]:
    """Four rules with their values, and what the axes are."""
    parts = []
    for step in range(5):
        at = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * step / 4
        parts.append(_tag("line", kind="rule", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=at, y2=at))
        parts.append(_tag("text", f"{top * step / 4:.3g}", kind="tick end", x=_LEFT - 6, y=at + 4))
    middle = (_HEIGHT - _BOTTOM + _TOP) / 2
    parts.append(_tag("text", across, kind="axis", x=(_LEFT + _WIDTH - _RIGHT) / 2, y=_HEIGHT - 6))
    parts.append(_tag("text", up, kind="axis", x=12, y=middle, transform=f"rotate(-90 12 {middle:.1f})"))
    return parts


def _label(x: float, text: str) -> str:
    return _tag("text", text, kind="tick", x=x, y=_HEIGHT - _BOTTOM + 14)


def _legend(series: Sequence[Series]) -> str:
    names = (f'<li class="s{number % _NUM_LOOKS}">{shown(each.name)}</li>' for number, each in enumerate(series))
    return f'<ul class="legend">{"".join(names)}</ul>'


def _svg(parts: Sequence[str], told: str) -> str:
    frame = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{shown(told)}">'
    return f"{frame}{''.join(parts)}</svg>"


def _tag(name: str, text: str = "", *, kind: str, **values: float | str) -> str:
    """An element; of a text its content, of any other a title that shows where it is pointed at."""
    pairs = (f' {key}="{value if isinstance(value, str) else format(value, ".1f")}"' for key, value in values.items())
    inside = shown(text) if name == "text" else f"<title>{shown(text)}</title>" if text else ""
    return f'<{name} class="{kind}"{"".join(pairs)}>{inside}</{name}>'
