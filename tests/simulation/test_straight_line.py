"""Small least squares against numpy's."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kit.simulation.straight_line import fitted_line, solved

NUMBERS = st.floats(-100, 100)


@given(st.integers(1, 6).flatmap(lambda num: st.lists(st.lists(NUMBERS, min_size=num, max_size=num), min_size=num,
                                                      max_size=num)), st.data())  # fmt: skip
def test_equations_are_solved_as_numpy_solves_them(matrix: list[list[float]], data: st.DataObject) -> None:
    right = data.draw(st.lists(NUMBERS, min_size=len(matrix), max_size=len(matrix)))
    assume(numpy.linalg.cond(numpy.array(matrix)) < 1e6)
    found = solved(matrix, right)
    assert found is not None
    expected = numpy.linalg.solve(numpy.array(matrix), numpy.array(right))
    assert found == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("matrix", [[[0.0]], [[1.0, 2.0], [2.0, 4.0]], [[1.0, 1.0], [1.0, 1.0 + 1e-14]]])
def test_a_singular_matrix_has_no_solution(matrix: list[list[float]]) -> None:
    assert solved(matrix, [1.0] * len(matrix)) is None


@given(st.lists(st.tuples(st.integers(-50, 50), NUMBERS, st.floats(0.1, 10)), min_size=2, max_size=20))
def test_a_line_is_the_weighed_least_squares_of_numpy(points: list[tuple[int, float, float]]) -> None:
    xs, ys, weights = ([float(value) for value in values] for values in zip(*points, strict=True))
    assume(len(set(xs)) > 1)
    line = fitted_line(xs, ys, weights)
    slope, start = numpy.polyfit(xs, ys, 1, w=numpy.sqrt(weights))
    assert (line.start, line.slope) == pytest.approx((start, slope), rel=1e-5, abs=1e-5)
