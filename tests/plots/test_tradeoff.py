import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InputError, StorageError
from kit.plots.tradeoff import PolicyPoint, draw_tradeoff, pareto_frontier


def policy(name: str, minutes: float, score: float, *, is_baseline: bool = False) -> PolicyPoint:
    seconds = 60 * minutes
    return PolicyPoint(
        name=name,
        seconds=seconds,
        seconds_low=0.95 * seconds,
        seconds_high=1.05 * seconds,
        score=score,
        score_low=score - 0.5,
        score_high=score + 0.5,
        is_baseline=is_baseline,
    )


POLICIES = [policy("fixed 16", 280, 39, is_baseline=True), policy("confident", 160, 39), policy("fixed 4", 80, 35)]
POINTS = st.lists(st.builds(policy, st.just("p"), st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12)


def ids(path: Path, pattern: str) -> list[str]:
    return [each.get("id", "") for each in ET.parse(path).iter() if re.fullmatch(pattern, each.get("id", ""))]


def test_the_frontier_leaves_out_whatever_costs_more_for_no_more_score() -> None:
    assert [point.name for point in pareto_frontier(POLICIES)] == ["fixed 4", "confident"]


@given(POINTS)
def test_the_frontier_is_what_no_other_point_dominates(points: list[PolicyPoint]) -> None:
    def dominates(one: PolicyPoint, other: PolicyPoint) -> bool:
        is_no_worse = one.seconds <= other.seconds and one.score >= other.score
        return is_no_worse and (one.seconds < other.seconds or one.score > other.score)

    best = {(each.seconds, each.score) for each in points if not any(dominates(other, each) for other in points)}
    assert [(each.seconds, each.score) for each in pareto_frontier(points)] == sorted(best)


def test_every_policy_and_the_frontier_are_drawn_once(tmp_path: Path) -> None:
    path = tmp_path / "tradeoff.svg"
    draw_tradeoff(POLICIES, path)
    assert ids(path, r"policy-\d+") == ["policy-0", "policy-1", "policy-2"]
    assert ids(path, "frontier") == ["frontier"]


@pytest.mark.parametrize(
    "points",
    [
        pytest.param([policy("alone", 10, 3)], id="one, no baseline"),
        pytest.param([policy("instant", 0, 3, is_baseline=True)], id="a baseline in no time"),
        pytest.param([policy(f"${n}$_{{", 10, 3) for n in range(30)], id="many at one place, named like formulas"),
        pytest.param([policy("n" * 200, 10, 3), policy("", 20, 3)], id="a very long name and none"),
    ],
)
def test_what_is_scarce_or_crowded_is_drawn_too(points: list[PolicyPoint], tmp_path: Path) -> None:
    path = tmp_path / "tradeoff.png"
    draw_tradeoff(points, path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_same_points_give_the_same_bytes(tmp_path: Path) -> None:
    draw_tradeoff(POLICIES, tmp_path / "one.svg")
    draw_tradeoff(list(POLICIES), tmp_path / "two.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_no_points_and_two_baselines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one policy at least"):
        draw_tradeoff([], tmp_path / "tradeoff.svg")
    twice = [policy("one", 1, 1, is_baseline=True), policy("two", 2, 2, is_baseline=True)]
    with pytest.raises(InputError, match="got one, two"):
        draw_tradeoff(twice, tmp_path / "tradeoff.svg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [("seconds", 99.0), ("score", 0.0), ("score", math.nan), ("seconds_high", math.inf), ("seconds_low", -1.0)],
)
def test_a_number_outside_its_interval_is_refused(name: str, value: float) -> None:
    values = {
        "seconds": 2.0,
        "seconds_low": 1.0,
        "seconds_high": 3.0,
        "score": 5.0,
        "score_low": 4.0,
        "score_high": 6.0,
    }
    PolicyPoint(name="fine", **values)
    with pytest.raises(InputError, match=f"^wrong: {name.split('_')[0]}"):
        PolicyPoint(name="wrong", **{**values, name: value})


def test_a_path_that_cannot_be_written_or_read_as_a_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"an \.svg or a \.png"):
        draw_tradeoff(POLICIES, tmp_path / "tradeoff.jpg")
    with pytest.raises(StorageError, match="cannot write"):
        draw_tradeoff(POLICIES, tmp_path / "nowhere" / "tradeoff.svg")
