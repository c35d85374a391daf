"""Weights against plain loops written from the paper."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InputError
from kit.sampling import FinishReason, Message, Prompt, Sample, TokenStats
from kit.voting.tally import MAX_WEIGHT, MIN_WEIGHT, Vote, confidence_weight, tally
from kit.voting.weights import (
    GROUP_TOKENS,
    LEAST_CONFIDENCE,
    MOST_CONFIDENCE,
    SMALL_ANSWER_PRIOR,
    TAIL_ENTROPY_TOKENS,
    WEIGHINGS,
    VotingConfig,
    Weighing,
    bottom_confidence,
    group_confidences,
    is_small,
    lowest_confidence,
    mean_confidence,
    mean_halting,
    num_logprobs_of,
    tail_confidence,
    tail_entropy,
    weigh,
)
from tests.voting.traces import confident, plain_groups, plain_mean, sample, token

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
NATS = st.floats(0, 25)
PROMPT = Prompt((Message("user", "What is $1+1$?"),))
ANY_TOKEN = st.builds(
    TokenStats,
    logprob=ANY_FLOAT,
    entropy=ANY_FLOAT,
    confidence=st.none() | ANY_FLOAT,
    halting=st.none() | ANY_FLOAT,
)
ANY_SAMPLE = st.builds(
    sample,
    st.lists(ANY_TOKEN, max_size=30).map(tuple),
    mean_entropy=st.none() | ANY_FLOAT,
    halting=st.none() | ANY_FLOAT,
)


# ------------------------------------------------------------------------------------------- oracle


def plain_bottom(confidences: list[float], window_tokens: int) -> float:
    groups = plain_groups(confidences, window_tokens)
    num_lowest = len(groups) // 10 or 1
    lowest: list[float] = []
    for _ in range(num_lowest):
        groups.remove(least := min(groups))
        lowest.append(least)
    return plain_mean(lowest)


@given(st.lists(NATS, min_size=1, max_size=60), st.integers(1, 70))
def test_the_windows_of_confidence_are_those_of_the_paper(confidences: list[float], window_tokens: int) -> None:
    token_stats = confident(*confidences)
    groups = plain_groups(confidences, window_tokens)
    tail = plain_mean(confidences[max(0, len(confidences) - window_tokens) :])
    close = pytest.approx
    assert group_confidences(token_stats, window_tokens=window_tokens) == close(groups, abs=1e-10)
    assert lowest_confidence(token_stats, window_tokens=window_tokens) == close(min(groups), abs=1e-10)
    bottom = bottom_confidence(token_stats, window_tokens=window_tokens)
    assert bottom == close(plain_bottom(confidences, window_tokens), abs=1e-10)
    assert tail_confidence(token_stats, window_tokens=window_tokens) == close(tail, abs=1e-10)
    assert mean_confidence(token_stats) == close(plain_mean(confidences), abs=1e-10)


@given(st.lists(st.floats(0, 12), min_size=1, max_size=60), st.integers(1, 70))
def test_the_tail_of_entropy_is_the_mean_of_its_last_tokens(entropies: list[float], window_tokens: int) -> None:
    token_stats = tuple(token(entropy=each) for each in entropies)
    last = entropies[max(0, len(entropies) - window_tokens) :]
    assert tail_entropy(token_stats, window_tokens=window_tokens) == pytest.approx(plain_mean(last), abs=1e-10)


def test_a_long_trace_is_read_as_exactly_as_a_short_one() -> None:
    """Running sums over 20,000 tokens, against sums of a few windows added up anew."""
    random = Random(0)
    confidences = [random.uniform(5, 25) for _ in range(20_000)]
    groups = group_confidences(confident(*confidences))
    assert len(groups) == 20_000 - GROUP_TOKENS + 1
    for begin in (0, 1, 9_999, len(groups) - 1):
        assert groups[begin] == pytest.approx(plain_mean(confidences[begin : begin + GROUP_TOKENS]), abs=1e-10)


# ------------------------------------------------------------------------------------------ weights


def test_the_table_holds_exactly_the_names_that_a_setting_may_have() -> None:
    assert tuple(WEIGHINGS) == get_args(Weighing)


@given(ANY_SAMPLE, st.sampled_from(get_args(Weighing)), st.integers(0, 99_999), st.floats(0, 1, exclude_min=True))
def test_a_weight_is_bounded_and_finite_whatever_the_token_stats_holds(
    any_sample: Sample, how: Weighing, answer: int, prior: float
) -> None:
    for weight in (WEIGHINGS[how](any_sample), weigh(any_sample, how, answer=answer, small_answer_prior=prior)):
        assert MIN_WEIGHT <= weight <= MAX_WEIGHT  # which NaN is not


@given(ANY_SAMPLE, ANY_SAMPLE, ANY_SAMPLE, st.sampled_from(get_args(Weighing)))
def test_no_sample_outvotes_two_others(one: Sample, two: Sample, three: Sample, how: Weighing) -> None:
    votes = [Vote(9, weigh(one, how)), Vote(1, weigh(two, how)), Vote(1, weigh(three, how))]
    assert tally(votes).standings[0].answer == 1


@pytest.mark.parametrize("how", get_args(Weighing))
def test_a_sample_of_which_nothing_is_known_weighs_one(how: Weighing) -> None:
    assert weigh(sample(), how) == 1.0
    assert weigh(sample(confident(None, None)), how) in (1.0, confidence_weight(0.3))  # its entropy is known


@pytest.mark.parametrize("how", get_args(Weighing))
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_weighs_one(how: Weighing, broken: float) -> None:
    good, bad = (token(entropy=each, confidence=each, halting=each) for each in (0.0, broken))
    for token_stats in ((bad,), (good, bad, good), (good, good, bad)):
        assert weigh(sample(token_stats, mean_entropy=broken), how) == 1.0
    assert weigh(sample(mean_entropy=broken, halting=broken), how) == 1.0


def test_a_token_that_is_not_finite_before_the_tail_does_not_touch_it() -> None:
    token_stats = (token(entropy=math.nan, confidence=math.nan), *[token(entropy=0.0, confidence=30.0)] * GROUP_TOKENS)
    assert weigh(sample(token_stats), "tail_entropy") == MAX_WEIGHT
    assert weigh(sample(token_stats), "deepconf_tail") == MAX_WEIGHT
    assert weigh(sample(token_stats), "deepconf_lowest") == 1.0


def test_tokens_without_a_reading_are_left_out() -> None:
    assert mean_confidence(confident(12.0, None, 14.0)) == 13.0
    assert group_confidences(confident(12.0, None, 14.0, 10.0), window_tokens=2) == [13.0, 12.0]
    assert mean_halting(sample((token(halting=0.2), token(), token(halting=0.6)))) == pytest.approx(0.4)


@given(st.lists(st.floats(0, 12), min_size=1, max_size=40), st.data())
def test_more_entropy_never_weighs_more(entropies: list[float], data: st.DataObject) -> None:
    more = [each + data.draw(st.floats(0, 3)) for each in entropies]
    for how in ("entropy", "tail_entropy"):
        less_, more_ = (
            weigh(sample(tuple(token(entropy=each) for each in values), mean_entropy=plain_mean(values)), how)
            for values in (entropies, more)
        )
        assert more_ <= less_


@given(st.lists(NATS, min_size=1, max_size=40), st.data())
def test_more_confidence_never_weighs_less(confidences: list[float], data: st.DataObject) -> None:
    more = [each + data.draw(st.floats(0, 3)) for each in confidences]
    hows: tuple[Weighing, ...] = ("deepconf_mean", "deepconf_tail", "deepconf_bottom", "deepconf_lowest")
    for how in hows:
        assert weigh(sample(confident(*more)), how) >= weigh(sample(confident(*confidences)), how) - 1e-12


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_halting_never_weighs_less(one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert weigh(sample(halting=less), "halting") <= weigh(sample(halting=more), "halting")


@pytest.mark.parametrize(
    ("how", "least", "even", "most"),
    [
        ("entropy", sample(mean_entropy=1.0), sample(mean_entropy=0.5), sample(mean_entropy=0.0)),
        ("tail_entropy", sample((token(entropy=1.0),)), sample((token(entropy=0.5),)), sample((token(entropy=0.0),))),
        ("halting", sample(halting=0.0), sample(halting=0.5), sample(halting=1.0)),
        ("halting", sample((token(halting=0.0),)), sample((token(halting=0.5),)), sample((token(halting=1.0),))),
        *[
            (how, *(sample(confident(each)) for each in (LEAST_CONFIDENCE, 15.0, MOST_CONFIDENCE)))
            for how in get_args(Weighing)
            if how.startswith("deepconf")
        ],
    ],
)
def test_each_range_is_mapped_onto_the_whole_of_the_bounds(
    how: Weighing, least: Sample, even: Sample, most: Sample
) -> None:
    assert [weigh(each, how) for each in (least, even, most)] == pytest.approx([MIN_WEIGHT, 1.0, MAX_WEIGHT])


def test_each_way_reads_its_own_part_of_the_trace() -> None:
    """Sure, then lost for a while, then sure again: the mean and the tail like it, the lowest group does not."""
    trace = sample(confident(*[20.0] * 3 * GROUP_TOKENS, *[10.0] * GROUP_TOKENS, *[20.0] * GROUP_TOKENS))
    mean, tail, bottom, lowest = (
        weigh(trace, how) for how in ("deepconf_mean", "deepconf_tail", "deepconf_bottom", "deepconf_lowest")
    )
    assert lowest == pytest.approx(MIN_WEIGHT)
    assert lowest < bottom < mean < tail == MAX_WEIGHT
    late_doubt = (*[token(entropy=0.0)] * 5_000, *[token(entropy=1.0)] * TAIL_ENTROPY_TOKENS)
    assert weigh(sample(late_doubt, mean_entropy=0.05), "tail_entropy") == MIN_WEIGHT
    assert weigh(sample(late_doubt, mean_entropy=0.05), "entropy") > 1.2


def test_counting_and_entropy_are_the_kits_own() -> None:
    trace = sample(confident(10.0), mean_entropy=0.25)
    assert weigh(trace, "count") == 1.0
    assert weigh(trace) == weigh(trace, "entropy") == confidence_weight(0.25)


def test_the_prior_on_small_answers_is_off_unless_asked_for_and_stays_within_the_bounds() -> None:
    trace = sample(mean_entropy=0.0)
    for answer in (0, 20, 100, 99_900):
        assert is_small(answer)
        assert weigh(trace, answer=answer) == MAX_WEIGHT
        assert weigh(trace, answer=answer, small_answer_prior=SMALL_ANSWER_PRIOR) == MIN_WEIGHT
        assert weigh(trace, answer=answer, small_answer_prior=0.8) == 1.0
    for other in (21, 99, 101, 99_999, None):
        assert weigh(trace, answer=other, small_answer_prior=SMALL_ANSWER_PRIOR) == MAX_WEIGHT


def test_an_unknown_way_or_prior_is_refused_with_the_fix() -> None:
    with pytest.raises(InputError, match="did you mean 'deepconf_tail'"):
        weigh(sample(), "deepconf_tial")  # type: ignore[arg-type]
    for prior in (0.0, -1.0, 1.5, math.nan):
        with pytest.raises(InputError, match="small_answer_prior must be in"):
            weigh(sample(), small_answer_prior=prior)


@pytest.mark.parametrize("how", WEIGHINGS)
def test_a_weighing_that_reads_no_log_probabilities_weighs_the_same_without_them(how: Weighing) -> None:
    one = TokenStats(logprob=-9.0, entropy=2.5, confidence=14.0, halting=0.9)
    told = Sample(
        text="", num_tokens=3, finish=FinishReason.STOP, seconds=1, seed=0, mean_logprob=-9.0, mean_entropy=2.5,
        halting=0.9, token_stats=(one,) * 3,
    )  # fmt: skip
    untold = replace(told, mean_logprob=None, mean_entropy=None, token_stats=())
    assert (weigh(told, how) == weigh(untold, how)) == (num_logprobs_of(how) == 0)
    assert num_logprobs_of(how) in (0, 20)


def test_refuses_a_prior_out_of_range() -> None:
    with pytest.raises(InputError, match="small_answer_prior"):
        VotingConfig(small_answer_prior=0)
