"""DeepConf's early abort, on trio's autojump clock."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from kit.engines.scripted import Fault, Script, ScriptedEngine
from kit.errors import InputError
from kit.sampling import Chunk, FinishReason, Message, Prompt, Sample, SamplingParams
from kit.voting.early_abort import EarlyAbort, EarlyAbortConfig, percentile
from tests.voting.traces import confident, plain_groups, sample

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
NATS = st.floats(0, 25)
PROMPT = Prompt((Message("user", "What is $1+1$?"),))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20), st.sampled_from([1, 10, 25, 50, 75, 90, 99]))
def test_a_percentile_is_the_inclusive_one_of_the_standard_library(values: list[float], percent: int) -> None:
    expected = statistics.quantiles([*values, *values[:1]] if len(values) == 1 else values, n=100, method="inclusive")
    assert percentile(values, percent) == pytest.approx(expected[percent - 1], rel=1e-9, abs=1e-9)


def test_the_ends_of_a_percentile_are_the_least_and_the_greatest_value() -> None:
    assert percentile([3.0, 1.0, 2.0], 0) == 1.0
    assert percentile([3.0, 1.0, 2.0], 100) == 3.0
    assert percentile([3.0, 1.0], 10) == pytest.approx(1.2)


def chunk(*confidences: float | None) -> Chunk:
    return Chunk(text="", num_tokens=len(confidences), token_stats=confident(*confidences))


def warmed(*lowest: float, keep_percent: float = 90.0, window_tokens: int = 4) -> EarlyAbort:
    early_abort = EarlyAbort(
        EarlyAbortConfig(warmup=len(lowest), keep_percent=keep_percent, window_tokens=window_tokens)
    )
    for each in lowest:
        early_abort.observe(sample(confident(*[each] * window_tokens, *[each + 5] * window_tokens)))
    return early_abort


def test_the_threshold_is_the_percentile_of_the_warmups_lowest_groups() -> None:
    lowest = [14.0, 12.0, 16.0, 18.0, 10.0]
    assert warmed(*lowest, keep_percent=100).threshold == pytest.approx(10.0)
    assert warmed(*lowest, keep_percent=90).threshold == pytest.approx(10.8)
    assert warmed(*lowest, keep_percent=50).threshold == pytest.approx(14.0)
    assert warmed(*lowest, keep_percent=10).threshold == pytest.approx(17.2)


def test_broken_and_unread_samples_do_not_warm_up_and_the_threshold_never_moves() -> None:
    early_abort = EarlyAbort(EarlyAbortConfig(warmup=2, window_tokens=2))
    early_abort.observe(sample(confident(12.0, 12.0)))
    early_abort.observe(sample(confident(1.0, 1.0), finish=FinishReason.FAILED))
    early_abort.observe(sample(confident(None, None)))
    early_abort.observe(sample(confident(math.nan, 12.0)))
    early_abort.observe(sample())
    assert early_abort.threshold is None
    early_abort.observe(sample(confident(12.0, 12.0), finish=FinishReason.ABORTED))
    assert early_abort.threshold == pytest.approx(12.0)
    early_abort.observe(sample(confident(1.0, 1.0)))
    assert early_abort.threshold == pytest.approx(12.0)


def test_nothing_ends_before_the_warm_up_is_complete() -> None:
    watch = EarlyAbort(EarlyAbortConfig(warmup=1, window_tokens=2)).watch()
    assert not any(watch(chunk(0.0, 0.0, 0.0)) for _ in range(5))


def test_only_a_full_group_ends_an_attempt() -> None:
    watch = warmed(12.0, 12.0).watch()
    assert not watch(chunk(1.0, 1.0, 1.0))
    assert watch(chunk(1.0))


def test_an_attempt_in_flight_is_judged_by_its_current_group_once_the_threshold_stands() -> None:
    early_abort = EarlyAbort(EarlyAbortConfig(warmup=1, window_tokens=2))
    recovered, lost = early_abort.watch(), early_abort.watch()
    assert not recovered(chunk(1.0, 1.0, 20.0, 20.0))
    assert not lost(chunk(20.0, 20.0, 1.0, 1.0))
    early_abort.observe(sample(confident(12.0, 12.0)))
    assert not recovered(chunk(20.0))
    assert lost(chunk(1.0))


def test_a_dip_in_the_middle_of_a_chunk_is_seen() -> None:
    assert warmed(12.0, window_tokens=2).watch()(chunk(20.0, 20.0, 1.0, 1.0, 20.0, 20.0))


def test_a_reading_that_is_not_finite_begins_the_group_anew() -> None:
    watch = warmed(12.0, window_tokens=3).watch()
    for broken in (math.nan, math.inf, -math.inf):
        assert not watch(chunk(1.0, 1.0, broken))
    assert not watch(chunk(None, 1.0, 1.0))
    assert watch(chunk(1.0))


@given(st.lists(st.floats(5, 25), min_size=1, max_size=60), st.integers(1, 8), st.integers(1, 7), st.floats(5, 25))
def test_a_watcher_ends_exactly_where_a_plain_loop_would(
    confidences: list[float], window_tokens: int, chunk_tokens: int, threshold: float
) -> None:
    early_abort = warmed(threshold, window_tokens=window_tokens)
    watch = early_abort.watch()
    pieces = [confidences[at : at + chunk_tokens] for at in range(0, len(confidences), chunk_tokens)]
    ended = next((number for number, piece in enumerate(pieces) if watch(chunk(*piece))), None)
    groups = plain_groups(confidences, window_tokens) if len(confidences) >= window_tokens else []
    falls = [at for at, group in enumerate(groups) if group < threshold - 1e-6]
    near = [at for at, group in enumerate(groups) if group < threshold]
    if falls == near:  # apart from readings within rounding of the threshold
        assert ended == ((falls[0] + window_tokens - 1) // chunk_tokens if falls else None)


@given(st.floats(5, 25), st.integers(1, 50))
def test_an_attempt_just_like_the_warm_up_lives(confidence: float, window_tokens: int) -> None:
    """Rounding of running sums must not end what equals the threshold."""
    early_abort = warmed(confidence, window_tokens=window_tokens)
    watch = early_abort.watch()
    assert not any(watch(chunk(*[confidence] * 7)) for _ in range(30))


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"warmup": 0}, "warmup"), ({"keep_percent": 101.0}, "keep_percent"), ({"keep_percent": math.nan}, "keep_percent"),
     ({"window_tokens": 0}, "window_tokens")],
)  # fmt: skip
def test_a_kill_outside_its_range_is_refused(changes: dict[str, float], named: str) -> None:
    with pytest.raises(InputError, match=named):
        EarlyAbortConfig(**changes)  # type: ignore[arg-type]


NUM_TOKENS = 100


def healthy() -> Script:
    return Script(
        text="x" * 100, seconds=100, num_tokens=NUM_TOKENS, num_chunks=20, token_stats=confident(*[17.0] * 100)
    )


def losing_itself(after: int) -> Script:
    """Sure for `after` tokens, then lost."""
    token_stats = confident(*[17.0] * after, *[11.0] * (NUM_TOKENS - after))
    return Script(text="x" * 100, seconds=100, num_tokens=NUM_TOKENS, num_chunks=20, token_stats=token_stats)


def play(write: Callable[[Prompt, SamplingParams], Script], seeds: list[int]) -> tuple[dict[int, Sample], float]:
    """The warm-up one after another, then the seeds at once; the samples and the time that the second part took."""
    engine = ScriptedEngine(write)
    early_abort = EarlyAbort(EarlyAbortConfig(warmup=4, window_tokens=10))
    samples: dict[int, Sample] = {}

    async def attempt(seed: int) -> None:
        drawn = await engine.sample(PROMPT, SamplingParams(seed=seed), timeout_s=1000, on_chunk=early_abort.watch())
        early_abort.observe(drawn)
        samples[seed] = drawn

    async def competition() -> float:
        for seed in range(100, 104):
            await attempt(seed)
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            for seed in seeds:
                nursery.start_soon(attempt, seed)
        return trio.current_time() - begun

    return samples, trio.run(competition, clock=trio.testing.MockClock(autojump_threshold=0))


def test_an_attempt_that_loses_itself_is_cut_and_its_slots_time_is_saved() -> None:
    scripts = {1: losing_itself(after=30), 2: losing_itself(after=60)}
    samples, seconds = play(lambda prompt, params: scripts.get(params.seed, healthy()), [1, 2])
    assert {samples[seed].finish for seed in scripts} == {FinishReason.ABORTED}
    assert samples[1].seconds == pytest.approx(35)  # the chunk in which the group's mean falls below
    assert samples[2].seconds == pytest.approx(65) == pytest.approx(seconds)
    assert len(samples[1].token_stats) == 35


def test_healthy_attempts_are_not_touched() -> None:
    samples, seconds = play(lambda prompt, params: healthy(), [1, 2, 3])
    assert {each.finish for each in samples.values()} == {FinishReason.STOP}
    assert seconds == pytest.approx(100)


def test_nobody_is_cut_in_the_warm_up_however_lost() -> None:
    samples, _ = play(lambda prompt, params: losing_itself(after=0), [])
    assert {each.finish for each in samples.values()} == {FinishReason.STOP}


def test_without_token_statistics_the_early_abort_never_acts() -> None:
    samples, _ = play(lambda prompt, params: Script(text="x", fault=Fault.NONE, num_chunks=5), [1, 2])
    assert {each.finish for each in samples.values()} == {FinishReason.STOP}
