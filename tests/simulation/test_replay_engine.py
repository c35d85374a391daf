"""Attempts that share an engine's speed, against a reference that goes from event to event; and each fault."""

from __future__ import annotations

import itertools
import math

import pytest
import trio
import trio.testing
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kit.errors import EngineError
from kit.sampling import Chunk, FinishReason, SamplingParams
from kit.simulation.engine import Fault, FaultKind, ReplayEngine
from kit.simulation.recording import RecordedAttempt
from tests.simulation.replaying import NUM_TOKENS, Call, Ended, played, prompt_of, reference


def near(value: float) -> object:
    return pytest.approx(value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("num_streams", "seconds"), [(1, 10 / 2.4), (4, 10 * 1.6 / 2.4), (8, 10.0), (16, 10 * 4 / 2.4)]
)
def test_attempts_take_their_recorded_time_beside_seven_others_and_less_alone(num_streams: int, seconds: float) -> None:
    """0.2 a further stream: a step of n costs 1 + 0.2 (n - 1), of which 2.4 is the recordings' own."""
    ended, engine = played([Call(work_s=10.0)] * num_streams)
    assert [each.at_s for each in ended] == [near(seconds)] * num_streams
    assert (engine.num_returned, engine.num_broken, engine.num_cancelled) == (num_streams, 0, 0)


def test_a_whole_attempt_gives_its_answer_its_tokens_and_its_seconds() -> None:
    (ended,), _ = played([Call(work_s=2.4, begin_s=5.0)])
    sample = ended.sample
    assert sample is not None
    assert (sample.text, sample.num_tokens, sample.finish) == (
        "So the answer is \\boxed{7}.",
        NUM_TOKENS,
        FinishReason.STOP,
    )
    assert (sample.seconds, ended.at_s) == (near(1.0), near(6.0))


def test_a_time_limit_returns_the_tokens_so_far_and_no_answer() -> None:
    (ended,), engine = played([Call(work_s=24.0, timeout_s=2.5)])
    sample = ended.sample
    assert sample is not None
    assert (sample.finish, sample.text, ended.at_s) == (FinishReason.DEADLINE, "", near(2.5))
    assert sample.num_tokens == pytest.approx(NUM_TOKENS / 4, abs=2)
    assert engine.num_returned == 1


@pytest.mark.parametrize("timeout_s", [0.0, -3.0])
def test_a_time_limit_that_is_past_returns_at_once(timeout_s: float) -> None:
    (ended,), _ = played([Call(work_s=24.0, timeout_s=timeout_s)])
    assert (ended.how, ended.at_s, ended.share) == ("deadline", 0.0, 0.0)


def test_a_cancelled_attempt_frees_its_share_of_the_speed_at_once() -> None:
    """Two together for 3 s at 2.4 / 1.2 do 6 of 12; the one that is left does the other 6 alone at 2.4."""
    (cancelled, whole), engine = played([Call(work_s=12.0, cancel_s=3.0), Call(work_s=12.0)])
    assert (cancelled.how, cancelled.at_s) == ("cancelled", near(3.0))
    assert (whole.how, whole.at_s) == ("stop", near(3.0 + 6 / 2.4))
    assert (engine.num_returned, engine.num_cancelled) == (1, 1)


times = st.floats(0, 60, allow_subnormal=False)
calls_of = st.lists(
    st.builds(
        Call,
        work_s=st.floats(0.1, 80),
        begin_s=st.one_of(st.just(0.0), times),
        timeout_s=st.one_of(st.just(math.inf), times),
        cancel_s=st.one_of(st.just(math.inf), times),
    ),
    min_size=1,
    max_size=12,
)


@st.composite
def faults_of(draw: st.DrawFn) -> tuple[Fault, ...]:
    moments = sorted(draw(st.lists(times, max_size=4, unique=True)))
    kinds = st.sampled_from([FaultKind.HANG, FaultKind.SLOW])
    return tuple(Fault(draw(kinds), begin, end) for begin, end in zip(moments[::2], moments[1::2], strict=False))


@settings(max_examples=200)
@given(calls=calls_of, faults=faults_of(), stream_cost=st.sampled_from([0.0, 0.2, 1.0]))
def test_speed_is_shared_as_a_reference_shares_it(
    calls: list[Call], faults: tuple[Fault, ...], stream_cost: float
) -> None:
    expected, nearest_s = reference(calls, faults=faults, stream_cost=stream_cost)
    assume(nearest_s > 1e-6)  # where a call ends in two ways at once, either is right
    ended, engine = played(calls, faults=faults, stream_cost=stream_cost)
    for found, wanted in zip(ended, expected, strict=True):
        assert (found.how, found.at_s) == (wanted.how, pytest.approx(wanted.at_s, abs=1e-6))
        if found.sample is not None:
            assert found.share == pytest.approx(wanted.share, abs=1e-6)
    hows = [each.how for each in ended]
    assert engine.num_cancelled == hows.count("cancelled")
    assert engine.num_returned == len(hows) - hows.count("cancelled")
    assert engine.num_broken == 0


def in_fault(kind: FaultKind, *calls: Call, begin_s: float = 10.0, end_s: float = 20.0) -> list[Ended]:
    return played(calls, faults=(Fault(kind, begin_s, end_s),))[0]


def test_a_crash_breaks_what_is_in_flight_and_what_begins_until_it_is_over() -> None:
    flight, at_begin, within, at_end = in_fault(
        FaultKind.CRASH,
        Call(work_s=100.0),
        Call(work_s=1.0, begin_s=10.0),
        Call(work_s=1.0, begin_s=19.9),
        Call(work_s=2.4, begin_s=20.0),
    )
    assert [(each.how, each.at_s) for each in (flight, at_begin, within)] == [
        ("broken", near(10.0)),
        ("broken", near(10.0)),
        ("broken", near(19.9)),
    ]
    assert (at_end.how, at_end.at_s) == ("stop", near(21.0))


def test_attempts_that_broke_are_counted_as_broken() -> None:
    _, engine = played(
        [Call(work_s=100.0), Call(work_s=1.0), Call(work_s=1.0, begin_s=12.0)],
        faults=(Fault(FaultKind.CRASH, 10.0, 20.0),),
    )
    assert (engine.num_returned, engine.num_broken, engine.num_cancelled) == (1, 2, 0)


def test_nothing_moves_in_a_hang() -> None:
    (ended,) = in_fault(FaultKind.HANG, Call(work_s=2.4 * 15))
    assert (ended.how, ended.at_s) == ("stop", near(25.0))


def test_a_hang_keeps_no_time_limit_until_it_is_over() -> None:
    """A regression test: attempts came back out of a hang when their time was up, and nothing met the hard limit."""
    within, after = in_fault(FaultKind.HANG, Call(work_s=100.0, timeout_s=15.0), Call(work_s=100.0, timeout_s=22.0))
    assert (within.how, within.at_s) == ("deadline", near(20.0))
    assert (after.how, after.at_s) == ("deadline", near(22.0))
    assert within.share == pytest.approx(10 * 2.0 / 100)


def test_a_hang_lets_go_of_what_is_cancelled() -> None:
    (ended,) = in_fault(FaultKind.HANG, Call(work_s=100.0, timeout_s=12.0, cancel_s=17.0))
    assert (ended.how, ended.at_s) == ("cancelled", near(17.0))


def test_a_slow_spell_gives_a_tenth_of_the_speed() -> None:
    (ended,) = in_fault(FaultKind.SLOW, Call(work_s=2.4 * 11))
    assert (ended.how, ended.at_s) == ("stop", near(20.0))


def test_what_begins_in_an_empty_spell_is_empty_and_short() -> None:
    before, within, after = in_fault(
        FaultKind.EMPTY, Call(work_s=36.0), Call(work_s=36.0, begin_s=10.0), Call(work_s=2.4, begin_s=20.0)
    )
    assert before.sample is not None
    assert within.sample is not None
    assert after.sample is not None
    assert (within.sample.text, within.sample.num_tokens, within.how) == ("", 1, "stop")
    assert within.at_s < 11
    assert before.sample.text == after.sample.text != ""


def test_what_begins_in_a_deaf_spell_takes_no_notice_of_its_time_limit() -> None:
    within, after = in_fault(
        FaultKind.DEAF, Call(work_s=12.0, begin_s=10.0, timeout_s=1.0), Call(work_s=12.0, begin_s=20.0, timeout_s=1.0)
    )
    assert (within.how, within.at_s) == ("stop", near(15.0))
    assert (after.how, after.at_s) == ("deadline", near(21.0))


def test_faults_strike_by_the_scenarios_clock() -> None:
    (ended,), _ = played([Call(work_s=100.0)], faults=(Fault(FaultKind.CRASH, 110.0, 120.0),), start_s=100.0)
    assert (ended.how, ended.at_s) == ("broken", near(10.0))


@pytest.mark.timeout(60)
def test_attempts_as_long_as_a_year_end_too() -> None:
    """Rounding of the work clock grows with the time; what is left below it must not be waited for for ever."""
    year_s = 365.25 * 86400
    calls = [Call(work_s=year_s / (3 + place), begin_s=place / 7) for place in range(8)]
    ended, _ = played(calls)
    assert all(each.how == "stop" for each in ended)


def test_a_watcher_may_cut_an_attempt_and_sees_what_it_gave() -> None:
    seen: list[Chunk] = []

    def watch(chunk: Chunk) -> bool:
        seen.append(chunk)
        return True

    async def main() -> FinishReason:
        attempt = RecordedAttempt(answer=7, work_s=1.0, num_tokens=5)
        engine = ReplayEngine(lambda place: itertools.repeat(attempt), trio.current_time)
        async with engine.running():
            sample = await engine.sample(prompt_of(0), SamplingParams(), timeout_s=9.0, on_chunk=watch)
        return sample.finish

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) is FinishReason.ABORTED
    assert seen == [Chunk(text="So the answer is \\boxed{7}.", num_tokens=5)]


def test_each_problem_plays_its_own_attempts_in_turn() -> None:
    async def main() -> list[str]:
        engine = ReplayEngine(
            lambda place: (RecordedAttempt(answer=10 * place + n, work_s=1.0, num_tokens=1) for n in itertools.count()),
            trio.current_time,
        )
        async with engine.running():
            samples = [
                await engine.sample(prompt_of(place), SamplingParams(), timeout_s=9.0) for place in (1, 2, 1, 2, 1)
            ]
        return [sample.text for sample in samples]

    texts = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert texts == [f"So the answer is \\boxed{{{answer}}}." for answer in (10, 20, 11, 21, 12)]


def test_an_engine_that_crashes_says_so_as_an_engine_error() -> None:
    async def main() -> None:
        engine = ReplayEngine(lambda place: iter(()), trio.current_time, (Fault(FaultKind.CRASH, 0.0, 1.0),))
        async with engine.running():
            with pytest.raises(EngineError, match="the engine is down"):
                await engine.sample(prompt_of(0), SamplingParams(), timeout_s=9.0)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
