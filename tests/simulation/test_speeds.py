"""How fast a stream is beside others."""

from __future__ import annotations

import pytest

from kit.errors import InputError
from kit.simulation.speeds import MEASURED, StreamSpeeds, linear


@pytest.mark.parametrize(
    ("num_streams", "speed"), [(0, 1.79), (1, 1.79), (2, 1.53), (4, 1.22), (5, 1.05), (8, 1.0), (16, 1 / 1.48)]
)
def test_the_measured_table_is_what_an_h100_gave(num_streams: int, speed: float) -> None:
    """Beyond eight streams each adds 6 % of a token's time beside seven others."""
    assert MEASURED.at(num_streams) == pytest.approx(speed)


def test_more_streams_are_never_faster_each_and_never_slower_together() -> None:
    for speeds in (MEASURED, linear(0.0), linear(0.2), linear(1.0)):
        for num in range(1, 24):
            assert speeds.at(num + 1) <= speeds.at(num)
            assert (num + 1) * speeds.at(num + 1) >= num * speeds.at(num) * (1 - 1e-12)


@pytest.mark.parametrize("cost", [0.0, 0.04, 0.2, 1.0])
@pytest.mark.parametrize("num_streams", [1, 2, 7, 8, 9, 20])
def test_a_straight_line_adds_its_cost_for_each_stream(cost: float, num_streams: int) -> None:
    expected = (1 + cost * 7) / (1 + cost * (num_streams - 1))
    assert linear(cost).at(num_streams) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("relative", "beyond", "name"),
    [((1.0,) * 7, 0.1, "relative"), ((0.0,) * 8, 0.1, "relative"), ((1.0,) * 8, -0.1, "beyond")],
)
def test_a_table_that_makes_no_sense_is_refused(relative: tuple[float, ...], beyond: float, name: str) -> None:
    with pytest.raises(InputError, match=name):
        StreamSpeeds(relative, beyond)
