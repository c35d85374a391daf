"""What a stream costs, read from journals that the solver wrote on the virtual clock under a known law."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from random import Random

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InputError, MissingError
from kit.simulation.overlaps import TimedAttempt, seconds_by_streams, timed_attempts
from kit.simulation.own_speeds import OwnSpeeds, own_speeds, speeds_in
from kit.simulation.policy import KIT
from kit.simulation.recording import TOKENS_PER_S, made_up_run
from kit.simulation.run import Scenario, run
from kit.simulation.speeds import MEASURED, StreamSpeeds, linear
from kit.solver.config import SolverConfig
from kit.solver.journal import Record, read_records
from kit.solver.pacing import PacingConfig
from kit.solver.stopping import StopConfig


def journal_under(speeds: StreamSpeeds, *, num_problems: int = 30, width: int = 8, num_samples: int = 8,
                  share_s: float = 1e5) -> tuple[Record, ...]:  # fmt: skip
    """A journal of a run in which every attempt ends that no vote cancels."""
    solver = SolverConfig(
        stop=StopConfig(num_samples=num_samples, rule="votes(4)"), pacing=PacingConfig(kind="off"), width=width
    )
    scenario = Scenario(
        recordings=made_up_run(1, num_problems=num_problems),
        budget=KIT.budget(num_problems=num_problems, share_s=share_s),
        solver=solver,
        speeds=speeds,
        keeps_journal=True,
    )
    return run(scenario).records


def told_by(records: tuple[Record, ...]) -> OwnSpeeds:
    return own_speeds(timed_attempts(records))


# ------------------------------------------------------------------------------------------ under a known law


@pytest.mark.parametrize("cost", [0.0, 0.02, 0.05, 0.2, 1.0])
def test_the_cost_of_a_stream_is_found_again(cost: float) -> None:
    told = told_by(journal_under(linear(cost)))
    assert told.cost == pytest.approx(cost, abs=0.01 + 0.25 * cost)
    assert told.cost_low - 1e-3 <= cost <= told.cost_high + 1e-3


@pytest.mark.parametrize("law", [MEASURED, linear(0.05), linear(0.2)], ids=["measured", "0.05", "0.2"])
def test_figures_of_one_number_of_streams_are_the_laws(law: StreamSpeeds) -> None:
    told = told_by(journal_under(law, num_problems=60))
    alone = [each for each in told.figures if each.first == each.last]
    assert len(alone) >= 3
    for each in alone:
        assert each.speed == pytest.approx(TOKENS_PER_S * law.at(each.first), rel=0.04)
        assert each.low <= each.speed <= each.high
        assert each.num_attempts >= 4


@pytest.mark.parametrize("law", [MEASURED, linear(0.05), linear(0.2)], ids=["measured", "0.05", "0.2"])
def test_a_simulation_by_a_journals_own_speeds_is_as_one_by_the_law(law: StreamSpeeds) -> None:
    told = told_by(journal_under(law, num_problems=60)).stream_speeds
    for num in range(3, 9):
        assert told.at(num) == pytest.approx(law.at(num), rel=0.1)


def test_two_widths_tell_what_neither_of_them_tells_alone() -> None:
    """A narrow run joined to a wide one: the first clock ends before the second begins."""
    law = linear(0.1)
    wide = journal_under(law, width=8, num_samples=8)
    narrow = journal_under(law, width=3, num_samples=8)
    told = told_by((*wide, *narrow))
    three = next(each for each in told.figures if each.first <= 3 <= each.last)
    assert three.speed == pytest.approx(TOKENS_PER_S * law.at(3), rel=0.05)
    assert told.num_attempts == told_by(wide).num_attempts + told_by(narrow).num_attempts


def test_streams_beyond_eight_have_a_slope_of_their_own() -> None:
    law = StreamSpeeds((1.0,) * 8, 0.05)
    told = told_by(journal_under(law, width=16, num_samples=16)).stream_speeds
    assert told.beyond == pytest.approx(0.05, abs=0.015)
    assert told.at(16) == pytest.approx(law.at(16), rel=0.1)


def test_attempts_that_a_limit_ended_tell_their_speed_too() -> None:
    records = journal_under(linear(0.2), share_s=60.0)
    assert any(record.get("finish") == "deadline" for record in records)
    told = told_by(records)
    assert told.cost_low <= 0.2 <= told.cost_high
    assert told.cost == pytest.approx(0.2, abs=0.12)


# --------------------------------------------------------------------------------------- what a journal cannot tell


def test_attempts_that_all_ran_beside_as_many_others_tell_no_cost() -> None:
    records = journal_under(linear(0.2), width=1)
    with pytest.raises(InputError, match="ran at 1 to 1 streams at once"):
        told_by(records)


def test_too_few_attempts_at_another_width_tell_no_cost() -> None:
    rng = Random(0)
    attempts = [
        TimedAttempt(problem=f"{place // 8}", begun_s=100.0 * (place // 8), ended_s=100.0 * (place // 8) + 90,
                     num_tokens=rng.randrange(900, 1000))
        for place in range(8 * 20)
    ]  # fmt: skip
    attempts.append(TimedAttempt(problem="one", begun_s=10_000.0, ended_s=10_050.0, num_tokens=5000))
    with pytest.raises(InputError, match=r"the 161 attempts ran at 1 to 8 streams at once.*two widths"):
        own_speeds(attempts)


def test_few_problems_have_no_interval_and_tell_nothing() -> None:
    with pytest.raises(InputError, match=r"attempts at 4 problems.*needs 5"):
        told_by(journal_under(linear(0.2), num_problems=4))
    with pytest.raises(InputError, match="attempts at 0 problems"):
        own_speeds([])


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("run.csv", "problem_id,answer,gold\n", "only a journal.jsonl has when each attempt ran"),
        ("journal.jsonl", "", "tells no stream speeds: the journal holds no times"),
        ("journal.jsonl", '{"kind":"sample","problem":"a:0","answer":1,"seconds":3}\n', "holds no times"),
        ("journal.jsonl", '{"kind":"completion","problem":"a:0","session_s":"x","sample":{}}\n', "a damaged one"),
        ("journal.jsonl", '{"kind":"completion","problem":"a:0","sample":{"finish":"stop"}}\n', "a damaged one"),
    ],
)  # fmt: skip
def test_a_file_that_tells_no_speeds_is_one_error_that_names_it(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says) as caught:
        speeds_in(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_journal_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such journal"):
        speeds_in(tmp_path / "absent.jsonl")


def test_a_journal_with_torn_and_broken_records_tells_by_the_others(tmp_path: Path) -> None:
    lines = [json.dumps(record) for record in journal_under(linear(0.2))]
    odd = [
        '{"kind":"sample","problem":"x:0","begun_s":5,"ended_s":1,"num_tokens":9}',
        '{"kind":"sample","problem":"x:0","begun_s":null,"ended_s":NaN}',
        '{"kind":"sample","problem":17,"begun_s":1,"ended_s":2,"num_tokens":9}',
        '{"kind":"note"}',
        lines[5][:40],
    ]
    path = tmp_path / "journal.jsonl"
    path.write_text("\n".join([*lines[:50], *odd, *lines[50:]]), encoding="utf-8")
    assert speeds_in(path).cost == pytest.approx(told_by(tuple(read_records(path))).cost)
    assert speeds_in(path).cost == pytest.approx(0.2, abs=0.06)


# -------------------------------------------------------------------------------------------- runs of `kit eval`


def evaluation_under(law: StreamSpeeds, *, batch: int, num: int, num_sessions: int = 1) -> list[Record]:
    """Completions as a batch of streams draws them, slot after slot, stepped in hundredths of a second."""
    rng, records = Random(7), list[Record]()
    for _ in range(num_sessions):
        records.append({"kind": "session", "begun_unix_s": 0.0})
        waiting, running, now_s = list(range(num)), dict[int, tuple[float, float, int]](), 0.0
        while waiting or running:
            while waiting and len(running) < batch:
                tokens = rng.randrange(200, 2000)
                running[waiting.pop(0)] = (now_s, float(tokens), tokens)
            step_s = 0.01
            now_s += step_s
            speed = TOKENS_PER_S * law.at(len(running))
            running = {key: (begun_s, left - speed * step_s, n) for key, (begun_s, left, n) in running.items()}
            for key in [key for key, (_, left, _) in running.items() if left <= 0]:
                begun_s, _, tokens = running.pop(key)
                sample = {"seconds": now_s - begun_s, "num_tokens": tokens, "finish": "stop"}
                problem = f"{key % 10}:0"
                records.append({"kind": "completion", "problem": problem, "session_s": now_s, "sample": sample})
    return records


def test_a_run_of_kit_eval_tells_by_the_ends_of_its_sessions() -> None:
    told = told_by(tuple(evaluation_under(linear(0.1), batch=8, num=40, num_sessions=4)))
    assert told.cost == pytest.approx(0.1, abs=0.03)


def test_sessions_of_an_evaluation_do_not_overlap() -> None:
    records = evaluation_under(linear(0.1), batch=4, num=16, num_sessions=2)
    attempts = timed_attempts(records)
    assert max(num for each in seconds_by_streams(attempts) for num in each) == 4
    assert len(attempts) == 32


# ------------------------------------------------------------------------------------------------ the arithmetic


spans = st.tuples(st.integers(0, 20), st.integers(1, 20))


@given(st.lists(spans, min_size=1, max_size=12))
def test_seconds_by_streams_are_those_of_a_clock_that_ticks(found: list[tuple[int, int]]) -> None:
    attempts = [TimedAttempt(problem="a", begun_s=begun, ended_s=begun + ran, num_tokens=1) for begun, ran in found]
    counted: list[dict[int, float]] = [{} for _ in attempts]
    for tick in range(41):
        running = [place for place, each in enumerate(attempts) if each.begun_s <= tick < each.ended_s]
        for place in running:
            counted[place][len(running)] = counted[place].get(len(running), 0.0) + 1.0
    assert [dict(each) for each in seconds_by_streams(attempts)] == counted


def test_figures_are_the_weighed_least_squares_that_numpy_finds() -> None:
    attempts = timed_attempts(journal_under(linear(0.2)))
    told = own_speeds(attempts)
    rows, tokens = [], []
    for each, seconds in zip(attempts, seconds_by_streams(attempts), strict=True):
        if each.num_tokens:
            spent = [sum(s for num, s in seconds.items() if of.first <= num <= of.last) for of in told.figures]
            rows.append([value / math.sqrt(each.seconds) for value in spent])
            tokens.append(each.num_tokens / math.sqrt(each.seconds))
    expected = numpy.linalg.lstsq(numpy.array(rows), numpy.array(tokens), rcond=None)[0]
    assert [each.speed for each in told.figures] == pytest.approx(expected.tolist(), rel=1e-6)


def test_speeds_beyond_the_figures_keep_the_total_from_falling_with_more_streams() -> None:
    """What a batch costs a stream when it was only seen full is bounded for one stream alone."""
    told = told_by(journal_under(linear(1.0)))
    steep = dataclasses.replace(told, slope_s=100.0)
    first = steep.figures[0].mean_streams
    for num in (0.25 * first, 0.5 * first):
        assert num / steep.step_s(num) == pytest.approx(first / steep.step_s(first))
    relative = steep.stream_speeds.relative
    assert list(relative) == sorted(relative, reverse=True)
