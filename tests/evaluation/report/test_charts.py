from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.evaluation.intervals import Estimate
from kit.evaluation.metrics import Grading
from kit.evaluation.report.charts import Series, calibration_chart, line_chart, nice_top
from kit.evaluation.report.contents import NamedRun
from kit.evaluation.report.page import evaluation_page
from kit.evaluation.sweep import calibration, depth_sweep
from tests.evaluation.runs import answered, completion, example, run


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value / 2, high=(1 + value) / 2, stderr=0.1)


def kinds(picture: str, kind: str) -> list[ET.Element]:
    return [each for each in ET.fromstring(picture).iter() if kind in each.get("class", "").split()]


def test_a_line_has_a_dot_and_an_interval_for_each_estimate_and_a_gap_where_there_is_none() -> None:
    picture = line_chart(["3", "5"], [Series("x", (estimate(0.5), None))], across="T", up="right %", scale=100)
    assert (len(kinds(picture, "dot")), len(kinds(picture, "bar")), len(kinds(picture, "line"))) == (1, 1, 1)


def test_what_is_more_right_stands_higher() -> None:
    picture = line_chart(["3", "5"], [Series("x", (estimate(0.2), estimate(0.9)))], across="T", up="%", scale=100)
    low, high = (float(dot.get("cy", "")) for dot in kinds(picture, "dot"))
    assert high < low


def test_a_name_is_text_whatever_it_holds() -> None:
    picture = line_chart(["<3>"], [Series("<b>", (estimate(0.5),)), Series("&", (estimate(0.5),))], across="T", up="%")
    assert "<b>" not in picture
    assert "&lt;b&gt;" in picture


@given(st.floats(1e-6, 1e9))
def test_an_axis_ends_at_a_round_number_not_far_above_what_it_shows(value: float) -> None:
    assert value * (1 - 1e-6) <= nice_top(value) <= value * 2.5 * (1 + 1e-6)


def test_a_sweep_has_a_point_a_depth_by_level_and_its_cost() -> None:
    examples = [example(0, level="1"), example(1, level="5")]
    made = [
        completion(
            of, 0, "7" if depth == 5 and of.level == "1" else "9", depth=depth, seconds=float(depth), num_tokens=9
        )
        for of in examples
        for depth in (5, 3)
    ]
    swept = run(examples, made, depths=(5, 3))
    points = depth_sweep(swept, Grading.STRICT)
    assert [(point.depth, point.accuracy.value, point.seconds.value) for point in points] == [
        (3, 0.0, 3.0),
        (5, 0.5, 5.0),
    ]
    assert [point.accuracy.value for point in depth_sweep(swept, Grading.STRICT, level="1")] == [0.0, 1.0]
    assert {point.tokens.value for point in points} == {9.0}
    page = evaluation_page([NamedRun("swept", swept)])
    assert "Depth sweep" in page
    assert page.count("<svg viewBox") == 4


def test_an_engine_that_does_not_recurse_has_no_sweep_and_no_calibration() -> None:
    assert depth_sweep(answered([["7"]]), Grading.STRICT) == ()
    page = evaluation_page([NamedRun("plain", answered([["7"]]))])
    assert "<svg viewBox" not in page


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_calibration_agrees_with_its_definition_in_plain_loops(scored: list[tuple[float, bool]]) -> None:
    of = example(0)
    made = [
        completion(of, number, "7" if right else "9", halting=score) for number, (score, right) in enumerate(scored)
    ]
    found = calibration(made, Grading.STRICT)
    assert found is not None
    assert sum(each.num_samples for each in found.bins) == len(scored)
    error = 0.0
    for number in range(10):
        inside = [pair for pair in scored if number <= pair[0] * 10 < number + 1 or (number == 9 and pair[0] == 1.0)]
        if inside:
            right, score = (sum(pair[place] for pair in inside) / len(inside) for place in (1, 0))
            error += len(inside) / len(scored) * abs(right - score)
    assert found.error == pytest.approx(error, abs=1e-9)
    assert len(kinds(calibration_chart(found), "dot")) == len(found.bins)


def test_samples_without_a_halting_score_are_not_calibrated() -> None:
    assert calibration([completion(example(0), 0, "7")], Grading.STRICT) is None
