import itertools
import json
import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from kit.errors import InputError, StorageError
from kit.plots.rows import REASON_IN, reason_text
from kit.plots.style import TEXT_PT, clock_axis, clock_text, count_text, drawing, duration_text, spread
from kit.plots.timeline import Limits, Outcome, Timeline, read_timeline
from kit.plots.timeline_picture import draw_timeline, summary
from kit.plots.votes import ranked_answers, vote_steps
from kit.solver.journal import Journal, read_records
from kit.solver.stopping import StopReason
from tests.plots.journal_records import HEAD, RUN, Record, cut, sample, solution


def competition(
    num_problems: int, *, num_samples: int = 4, begin_s: float = 30.0, each_s: float = 40.0
) -> list[Record]:
    """A competition in which attempts end one after another, the first fails and the last is cut."""
    records = [HEAD]
    for index in range(num_problems):
        problem_id, begun_s = f"p{index}", begin_s + index * each_s
        ended_s = begun_s + each_s - 1
        for number in range(num_samples):
            at_s = begun_s + (number + 1) * (each_s - 2) / num_samples
            if number == num_samples - 1:
                records.append(cut(problem_id, number, begun_s, ended_s))
            elif number == 0:
                records.append(sample(problem_id, number, begun_s, at_s, None, finish="failed"))
            else:
                records.append(sample(problem_id, number, begun_s, at_s, 7 if number % 3 else 9, depth=3 + number))
        records.append(solution(problem_id, begun_s, ended_s))
    return records


def drawn(records: Sequence[Record], folder: Path, **more: Any) -> ET.Element:
    path = folder / "competition.svg"
    draw_timeline(read_timeline(records, **more), path)
    return ET.parse(path).getroot()


def ids(picture: ET.Element, pattern: str) -> list[str]:
    return [each.get("id", "") for each in picture.iter() if re.fullmatch(pattern, each.get("id", ""))]


def test_reads_a_problem_with_its_interval_cap_lanes_votes_and_verdict() -> None:
    records = [
        HEAD,
        sample("a", 0, 10.0, 20.0, 7, weight=0.75, depth=3),
        sample("a", 1, 10.0, 25.0, None),
        sample("a", 2, 20.0, 28.0, None, finish="failed"),
        sample("a", 3, 25.0, 30.0, 7, weight=None),
        cut("a", 4, 28.0, 30.5),
        solution("a", 9.0, 31.0, votes=[[7, 2]]),
    ]
    timeline = read_timeline(records, gold={"a": 8})
    assert timeline.limits == Limits(limit_s=3600.0, reserve_s=600.0, num_problems=3)
    assert timeline.limits.cutoff_s == 3000.0
    assert (timeline.starts_s, timeline.ended_s, timeline.num_untimed) == ((0.0,), 31.0, 0)
    (span,) = timeline.spans
    assert (span.problem_id, span.begun_s, span.ended_s, span.allotted_s) == ("a", 9.0, 31.0, 300.0)
    assert [[attempt.begun_s for attempt in lane] for lane in span.lanes] == [[10.0, 20.0, 28.0], [10.0, 25.0]]
    first, failed, cancelled, silent, last = span.attempts
    assert (first.outcome, first.answer, first.weight, first.depth) == (Outcome.ANSWERED, 7, 0.75, 3)
    assert (failed.outcome, cancelled.outcome, silent.outcome) == (
        Outcome.FAILED,
        Outcome.CANCELLED,
        Outcome.NO_ANSWER,
    )
    assert (last.answer, last.weight, last.depth) == (7, 1.0, None)
    assert span.verdict is not None
    assert (span.verdict.answer, span.verdict.reason, span.verdict.votes) == (7, "decided", ((7, 2),))
    assert not span.verdict.is_guess
    assert (span.gold, span.is_right) == (8, False)


def test_zero_is_an_answer() -> None:
    (span,) = read_timeline([sample("a", 0, 1.0, 2.0, 0), solution("a", 0.0, 3.0, answer=0)]).spans
    assert span.attempts[0].outcome is Outcome.ANSWERED
    assert ranked_answers(span) == (0,)


def test_a_failed_attempt_casts_no_vote_even_if_its_text_held_an_answer() -> None:
    (span,) = read_timeline([sample("a", 0, 1.0, 2.0, 7, finish="failed")]).spans
    assert span.attempts[0].answer is None
    assert vote_steps(span) == {}


def test_a_resumed_journal_lays_its_processes_end_to_end() -> None:
    records = [
        HEAD,
        solution("a", 10.0, 100.0),
        sample("b", 0, 101.0, 120.0, 7, weight=1.25),
        # killed at about 130 s; the next process counts from 0 again
        sample("b", 1, 15.0, 40.0, 9),
        solution("b", 15.0, 41.0, answer=7),
        solution("c", 42.0, 50.0),
    ]
    timeline = read_timeline(records)
    assert timeline.starts_s == (0.0, 120.0)
    assert [(each.problem_id, each.begun_s, each.ended_s) for each in timeline.spans] == [
        ("a", 10.0, 100.0),
        ("b", 101.0, 120.0),
        ("b", 135.0, 161.0),
        ("c", 162.0, 170.0),
    ]
    _, killed, resumed, _ = timeline.spans
    assert killed.verdict is None
    assert resumed.carried == ((7, 1.25),)
    assert vote_steps(resumed) == {7: ((0.0, 1.25),), 9: ((0.0, 0.0), (25.0, 1.0))}
    assert "3 of 3 problems answered" in summary(timeline)


def test_a_new_process_is_told_by_a_problem_that_begins_before_the_last_answer() -> None:
    """Its first record may end later than anything of the process before it."""
    records = [solution("a", 5.0, 60.0), sample("b", 0, 20.0, 90.0, 7), solution("b", 20.0, 91.0)]
    assert read_timeline(records).starts_s == (0.0, 60.0)


def test_a_straggler_written_after_its_problem_was_answered_is_no_new_process() -> None:
    records = [sample("a", 0, 5.0, 30.0, 7), solution("a", 5.0, 60.0), cut("a", 1, 5.0, 60.4), cut("a", 2, 5.0, 59.8)]
    timeline = read_timeline(records)
    assert timeline.starts_s == (0.0,)
    assert len(timeline.spans[0].attempts) == 3


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal.open(path, run=RUN) as journal:
        for record in competition(2)[1:]:
            journal.append(record)
    path.write_bytes(path.read_bytes()[:-30])
    timeline = read_timeline(read_records(path))
    assert timeline.limits is not None
    assert [span.verdict is None for span in timeline.spans] == [False, True]
    assert len(timeline.spans[1].attempts) == 4


def test_a_solution_without_times_is_counted_and_left_out() -> None:
    old = solution("b", 0.0, 0.0)
    del old["begun_s"], old["ended_s"]
    timeline = read_timeline([HEAD, solution("a", 1.0, 2.0), old])
    assert [span.problem_id for span in timeline.spans] == ["a"]
    assert timeline.num_untimed == 1
    assert summary(timeline).endswith("1 left out for want of times")


def test_a_solution_without_times_still_tells_the_verdict_on_timed_attempts() -> None:
    old = solution("a", 0.0, 0.0)
    del old["begun_s"], old["ended_s"], old["allotted_s"]
    (span,) = read_timeline([sample("a", 0, 1.0, 2.0, 7), old]).spans
    assert span.verdict is not None
    assert (span.begun_s, span.ended_s, span.allotted_s) == (1.0, 2.0, None)


@pytest.mark.parametrize("records", [[], [HEAD], [HEAD, {"kind": "sample", "problem": "a:1", "seconds": 3.0}]])
def test_a_journal_without_any_times_is_refused_in_one_line(records: list[Record]) -> None:
    with pytest.raises(InputError, match=r"^the journal holds no times \(begun_s, ended_s\) to draw: [^\n]*$"):
        read_timeline(records)


@pytest.mark.parametrize(
    "head", [{}, {"settings": None}, {"settings": {"budget": 3}}, {"settings": {"budget": {"limit_s": 5.0}}}]
)
def test_a_head_without_a_budget_leaves_the_limits_unknown(head: Record, tmp_path: Path) -> None:
    records = [{"kind": "run", **head}, *competition(2)[1:]]
    assert read_timeline(records).limits is None
    assert not ids(drawn(records, tmp_path), "even-share")


@given(st.data())
def test_reading_is_total_whatever_fields_are_missing_or_of_the_wrong_kind(data: st.DataObject) -> None:
    records = [dict(record) for record in competition(3)]
    wrong = st.sampled_from([None, "x", -1, 1e400, True, [], [[1]], {}])
    for index in data.draw(st.sets(st.integers(0, len(records) - 1), max_size=6)):
        record = records[index]
        name = data.draw(st.sampled_from(sorted(record)))
        if data.draw(st.booleans()):
            record.pop(name)
        else:
            record[name] = data.draw(wrong)
    try:
        timeline = read_timeline(records)
    except InputError:
        return
    assert all(0 <= span.begun_s <= span.ended_s < math.inf for span in timeline.spans)
    summary(timeline)


SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted), min_size=1, max_size=12)


@given(SPANS)
def test_lanes_hold_every_attempt_once_and_none_overlaps_another(spans: list[list[int]]) -> None:
    spans.sort(key=lambda span: span[1])  # as a journal has them
    records = [sample("a", number, begun, ended, 7) for number, (begun, ended) in enumerate(spans)]
    (span,) = read_timeline(records).spans
    read = Counter((attempt.begun_s, attempt.ended_s) for attempt in span.attempts)
    assert read == Counter((float(begun), float(ended)) for begun, ended in spans)
    for lane in span.lanes:
        assert all(one.ended_s <= other.begun_s for one, other in itertools.pairwise(lane))


def test_the_summary_tells_problems_right_answers_attempts_tokens_and_time() -> None:
    records = [*competition(2), solution("p2", 200.0, 240.0, answer=0, guess="no sample ended")]
    told = summary(read_timeline(records, gold={"p0": 7, "p1": 8, "p2": 5}))
    assert told.split("   ·   ") == [
        "3 of 3 problems answered",
        "1 by a guess",
        "1 of 3 right",
        "8 attempts (2 cancelled, 2 failed)",
        "600 tokens",
        "4.0 min of wall time",
    ]


@pytest.mark.parametrize(("num_problems", "num_samples"), [(1, 1), (1, 16), (12, 4), (60, 3), (61, 3)])
def test_every_attempt_and_every_problem_is_drawn_once(num_problems: int, num_samples: int, tmp_path: Path) -> None:
    picture = drawn(competition(num_problems, num_samples=num_samples), tmp_path)
    attempts = ids(picture, r"attempt-\d+-\d+")
    assert len(set(attempts)) == len(attempts) == num_problems * num_samples
    assert len(ids(picture, r"problem-\d+")) == num_problems
    assert len(ids(picture, "even-share")) == 1


def test_a_problem_much_longer_than_the_others_does_not_squeeze_them(tmp_path: Path) -> None:
    records = [*competition(9), solution("long", 400.0, 2400.0)]
    assert len(ids(drawn(records, tmp_path), "goes-on")) == 1
    assert not ids(drawn(competition(9), tmp_path), "goes-on")


def test_a_restart_draws_an_even_share_for_each_process_from_what_was_answered_by_then(tmp_path: Path) -> None:
    picture = drawn([*competition(2), solution("late", 5.0, 20.0)], tmp_path)
    lines = [line for line in picture.iter() if line.get("id") == "even-share"]
    starts = [re.match(r"M ([\d.]+) ([\d.]+)", path.get("d", "")) for line in lines for path in line]
    (first_x, first_y), (second_x, second_y) = [(float(start[1]), float(start[2])) for start in starts if start]
    assert second_x > first_x
    assert second_y < first_y  # an SVG counts downwards: the second begins two problems higher


@pytest.mark.long
def test_thousands_of_problems_stay_on_a_sheet_that_can_be_opened(tmp_path: Path) -> None:
    records = [HEAD, *(solution(f"p{index}", float(index), index + 1.0) for index in range(1000))]
    height_pt = float(drawn(records, tmp_path).get("height", "").removesuffix("pt"))
    assert height_pt < 50 * 72


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([HEAD, solution("a", 0.0, 0.0, guess="nothing", votes=[])], id="zero samples in no time"),
        pytest.param([cut("a", number, 1.0, 9.0) for number in range(3)], id="all cancelled, no head"),
        pytest.param([sample("a", n, 1.0, 9.0, None, finish="failed") for n in range(40)], id="all failed"),
        pytest.param([solution(r"$\frac$", 1.0, 9.0, reason="r" * 99, votes=[[1, 1]] * 30)], id="a formula for a name"),
        pytest.param([solution("a", 1.0, 1e12)], id="an absurd time"),
    ],
)
@pytest.mark.parametrize("gold", [None, {"a": 7}])
def test_what_is_scarce_or_strange_is_drawn_too(
    records: list[Record], gold: dict[str, int] | None, tmp_path: Path
) -> None:
    path = tmp_path / "competition.png"
    draw_timeline(read_timeline(records, gold=gold), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_same_journal_gives_the_same_bytes_and_leaves_matplotlib_as_it_was(tmp_path: Path) -> None:
    timeline = read_timeline(competition(5))
    draw_timeline(timeline, tmp_path / "one.svg")
    with matplotlib.rc_context({"font.size": 30.0, "axes.grid": True}):
        before = dict(matplotlib.rcParams)
        draw_timeline(timeline, tmp_path / "two.SVG")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.SVG").read_bytes()


@pytest.mark.slow
def test_another_process_draws_the_same_bytes_without_pyplot(tmp_path: Path) -> None:
    journal, picture = tmp_path / "journal.jsonl", tmp_path / "there.svg"
    journal.write_text("".join(json.dumps(record) + "\n" for record in competition(5)), encoding="utf-8")
    script = (
        "import sys; from pathlib import Path; from kit.solver.journal import read_records\n"
        "from kit.plots.timeline_picture import draw_timeline; from kit.plots.timeline import read_timeline\n"
        "draw_timeline(read_timeline(read_records(Path(sys.argv[1]))), Path(sys.argv[2]))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    environ = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", script, str(journal), str(picture)], check=True, env=environ)
    draw_timeline(read_timeline(read_records(journal)), tmp_path / "here.svg")
    assert picture.read_bytes() == (tmp_path / "here.svg").read_bytes()


def timeline_of_one() -> Timeline:
    return read_timeline([solution("a", 1.0, 2.0)])


@pytest.mark.parametrize("name", ["competition", "competition.pdf", "competition.svg.txt"])
def test_a_suffix_other_than_svg_or_png_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"an \.svg or a \.png"):
        draw_timeline(timeline_of_one(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        draw_timeline(timeline_of_one(), tmp_path / "nowhere" / "competition.svg")


@pytest.mark.parametrize("reason", StopReason)
@pytest.mark.parametrize("guess", ["", "no votes"])
def test_why_sampling_stopped_fits_its_column_whole(reason: StopReason, guess: str) -> None:
    """Bug of an earlier version: "time is worth more el…"."""
    (span,) = read_timeline([HEAD, solution("a", 1.0, 9.0, reason=reason.value, guess=guess)]).spans
    text = reason_text(span)
    assert text == reason.value + (", guessed" if guess else "")
    with drawing():
        width_pt = TextPath((0, 0), text, size=TEXT_PT).get_extents().width
    assert width_pt <= REASON_IN * 72


def test_a_problem_that_was_ended_for_its_price_tells_gain_and_price() -> None:
    record = solution("a", 1.0, 9.0, reason=StopReason.NOT_WORTH.value)
    (span,) = read_timeline([HEAD, {**record, "posterior": 0.62, "gain": 0.012, "price": 0.0456}]).spans
    assert reason_text(span) == "worth more elsewhere: +0.01 < 0.05"
    assert span.verdict is not None
    assert span.verdict.posterior == 0.62


def test_a_competition_of_seconds_is_told_in_tenths() -> None:
    axes = Figure().add_axes((0, 0, 1, 1))
    clock_axis(axes, end_s=1.7, label="time")
    assert [tick.get_text() for tick in axes.get_xticklabels()][:3] == ["0", "0.2", "0.4"]
    assert axes.get_xlabel() == "time (s)"


def test_times_and_counts_read_as_on_a_clock_and_in_three_figures() -> None:
    assert (clock_text(0, span_s=100), clock_text(75, span_s=100)) == ("0:00", "1:15")
    assert (clock_text(3599, span_s=7200), clock_text(5400, span_s=7200)) == ("0:59", "1:30")
    assert (duration_text(90), duration_text(3599), duration_text(9660)) == ("1.5 min", "1 h 00 min", "2 h 41 min")
    counts = [count_text(count) for count in (0, 999, 1000, 41_234, 999_700, 3_070_000)]
    assert counts == ["0", "999", "1 k", "41.2 k", "1 M", "3.07 M"]


@given(st.lists(st.floats(0, 10), max_size=6).map(sorted))
def test_labels_that_would_touch_are_pushed_apart_in_order(places: list[float]) -> None:
    moved = spread(places, gap=1.0, top=10.0)
    assert len(moved) == len(places)
    assert all(place <= 10.0 for place in moved)
    assert all(other - one >= 1.0 - 1e-9 for one, other in itertools.pairwise(moved))
    if all(other - one >= 1.0 for one, other in itertools.pairwise(places)):
        assert moved == pytest.approx(places)
