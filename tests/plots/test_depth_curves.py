"""Accuracy against depth."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from kit.errors import InputError
from kit.plots.depth_curves import DepthCurve, DepthPoint, draw_depth_curves


def curve(name: str, depths: tuple[int, ...] = (0, 1, 3, 10)) -> DepthCurve:
    points = (DepthPoint(depth=depth, accuracy=depth / 10, low=0.0, high=1.0) for depth in depths)
    return DepthCurve(name=name, points=tuple(points))


def test_each_difficulty_has_a_line_and_each_depth_a_tick(tmp_path: Path) -> None:
    draw_depth_curves([curve("1 step"), curve("2 steps", (10, 1))], tmp_path / "a.svg", title="A title")
    found = {each.get("id", "") for each in ET.parse(tmp_path / "a.svg").iter()}
    assert {"curve-0", "curve-1"} <= found
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert [text.count(f"<!-- {told} -->") for told in ("1 step", "2 steps", "10", "A title")] == [1, 1, 1, 1]


def test_the_same_curves_give_the_same_bytes_and_a_png_is_one(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg", "c.png"):
        draw_depth_curves([curve("x")], tmp_path / name, title="t")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("num_curves", [0, 7])
def test_no_curve_and_more_than_can_be_told_apart_are_refused(tmp_path: Path, num_curves: int) -> None:
    with pytest.raises(InputError, match=f"{num_curves} curves to draw; give 1 to 6"):
        draw_depth_curves([curve("x")] * num_curves, tmp_path / "a.svg", title="t")
    assert not list(tmp_path.iterdir())
