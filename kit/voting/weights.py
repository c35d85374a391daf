"""How much a vote weighs. In: a sample's token statistics. Out: a weight within kit.voting.tally's bounds.

Ways to weigh (`WEIGHINGS`): count, entropy, the entropy of the tail, DeepConf's four readings of the tokens'
confidence, and a recursive engine's halting score. Each is one absolute, monotone map, linear between two
constants and flat beyond, so that no attempt's weight depends on the others. What is not known, or is NaN or
infinite, weighs 1.

A token whose reading is None is left out of its trace (nothing recursed there, or the engine was not asked);
one reading that is NaN or infinite makes what is read from its part of the trace unknown. A sample without
token_stats, such as one resumed from the journal, weighs 1 in all but `count`, `entropy` and, from its mean,
`halting`.

Does not know answers' texts, engines or time. Source: DeepConf, arXiv 2508.15260 section 3.1, and
facebookresearch/deepconf for what the paper leaves open (short traces, the least group).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from operator import sub
from types import MappingProxyType
from typing import Final, Literal

from kit.errors import InputError, check_fields, did_you_mean
from kit.sampling import CONFIDENCE_TOP_K, Sample, TokenStats
from kit.voting.tally import MAX_WEIGHT, MIN_WEIGHT, Vote, confidence_weight

TAIL_ENTROPY_TOKENS = 256
"""Tokens whose entropy speaks for the end of a trace. Source: docs/peers.md#second-place-of-aimo3."""

GROUP_TOKENS = 2048
"""Tokens of one of DeepConf's groups, and of its tail. Source: WINDOW_SIZE in facebookresearch/deepconf."""

BOTTOM_SHARE = 0.1
"""Of the groups, the share that `bottom_confidence` averages. Source: arXiv 2508.15260, section 3.1."""

LEAST_CONFIDENCE = 10.0
MOST_CONFIDENCE = 20.0
"""A trace's confidence, in nats, that weighs MIN_WEIGHT and MAX_WEIGHT. One token's is ln 20 = 3 at the very least
(flat over the top 20), 11.9 if flat over a vocabulary of 150,000, and about 19 where the other nineteen share
1e-8; the reference code's own fixed threshold is 17. The range spans what finished traces mean to, with 17 above
its middle. It is reasoned, not fitted: a wrong range costs slope, never order."""

SMALL_ANSWER = 20
SMALL_ANSWER_PRIOR = 0.6
"""AIMO2's second place weighs answers up to 20, and multiples of 100, by 0.6 (docs/peers.md#second-place-of-aimo2)."""

Weighing = Literal[
    "count",
    "entropy",
    "tail_entropy",
    "deepconf_mean",
    "deepconf_tail",
    "deepconf_bottom",
    "deepconf_lowest",
    "halting",
]
"""The names of the ways to weigh, as a setting spells them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VotingConfig:
    """What a vote weighs, always within kit.voting.tally's bounds.

    weighing: by what, one of WEIGHINGS; on a real model none gained beyond its interval over `count`
    (benchmarks/results/evaluation_2026-11-26.md). small_answer_prior: factor for an answer up to 20 or divisible by
    100; 1 is off.
    Raises: InputError for a value outside its range.
    """

    weighing: Weighing = "count"
    small_answer_prior: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self, (("small_answer_prior", 0 < self.small_answer_prior <= 1, "in (0, 1]"),))


# ----------------------------------------------------------------------------------------- readings


def tail_entropy(token_stats: Sequence[TokenStats], *, window_tokens: int = TAIL_ENTROPY_TOKENS) -> float | None:
    """Mean entropy of the last `window_tokens` tokens, in nats; None for no token statistics."""
    return _mean([token.entropy for token in token_stats[-window_tokens:]])


def mean_confidence(token_stats: Sequence[TokenStats]) -> float | None:
    """DeepConf's average trace confidence, in nats; None if the engine gave none."""
    return _mean(token_confidences(token_stats))


def tail_confidence(token_stats: Sequence[TokenStats], *, window_tokens: int = GROUP_TOKENS) -> float | None:
    """DeepConf's tail confidence: the mean of the last `window_tokens` tokens, in nats; None if there is none."""
    return _mean(token_confidences(token_stats)[-window_tokens:])


def bottom_confidence(token_stats: Sequence[TokenStats], *, window_tokens: int = GROUP_TOKENS) -> float | None:
    """DeepConf's bottom-10 % confidence: the mean of the lowest tenth of the groups, at least of one; in nats."""
    groups = group_confidences(token_stats, window_tokens=window_tokens)
    return _mean(sorted(groups)[: max(1, int(len(groups) * BOTTOM_SHARE))])


def lowest_confidence(token_stats: Sequence[TokenStats], *, window_tokens: int = GROUP_TOKENS) -> float | None:
    """DeepConf's lowest group confidence, in nats; None if the engine gave none."""
    return min(group_confidences(token_stats, window_tokens=window_tokens), default=None)


def group_confidences(token_stats: Sequence[TokenStats], *, window_tokens: int = GROUP_TOKENS) -> list[float]:
    """The mean confidence of each `window_tokens` neighbours, stride 1, in nats; a shorter trace is one group.

    Running sums: O(tokens), within 1e-9 of adding up each group anew. Empty if there is no confidence, or one
    that is not finite.
    """
    confidences = token_confidences(token_stats)
    size = min(window_tokens, len(confidences))
    sums = list(accumulate(confidences, initial=0.0))
    if not size or not math.isfinite(sums[-1]):  # nothing finite comes after a NaN or an infinity
        return []
    return [total / size for total in map(sub, islice(sums, size, None), sums)]


def mean_halting(sample: Sample) -> float | None:
    """Mean probability, over the tokens that recursed, that the token is right; None if nothing recursed."""
    if sample.halting is not None:
        return sample.halting
    return _mean([token.halting for token in sample.token_stats if token.halting is not None])


def token_confidences(token_stats: Iterable[TokenStats]) -> list[float]:
    """The confidences of the tokens that have one, in order, in nats."""
    return [token.confidence for token in token_stats if token.confidence is not None]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


# ------------------------------------------------------------------------------------------ weights


def vote_for(answer: int, sample: Sample, voting: VotingConfig) -> Vote:
    """What a sample that gives this answer counts."""
    prior = voting.small_answer_prior
    weight = weigh(sample, voting.weighing, answer=answer, small_answer_prior=prior)
    return Vote(answer, weight, sample.num_calls)


def weigh(
    sample: Sample, how: Weighing = "entropy", *, answer: int | None = None, small_answer_prior: float = 1.0
) -> float:
    """The weight of a sample's vote for `answer`, in [MIN_WEIGHT, MAX_WEIGHT] whatever the token statistics holds.

    small_answer_prior: factor for an answer up to 20 or divisible by 100, which a confused model falls back on;
    1 is off, SMALL_ANSWER_PRIOR is the peers'. The bounds hold after it, so 0.6 means MIN_WEIGHT.
    Raises: InputError for an unknown `how`, or a prior outside (0, 1].
    """
    if how not in WEIGHINGS:
        hint = did_you_mean(how, WEIGHINGS) or f"known: {', '.join(WEIGHINGS)}"
        raise InputError(f"there is no weighing {how!r}; {hint}")
    if not 0 < small_answer_prior <= 1:
        raise InputError(f"small_answer_prior must be in (0, 1], got {small_answer_prior!r}; 1 turns it off")
    weight = WEIGHINGS[how](sample)
    if answer is not None and is_small(answer):
        weight *= small_answer_prior
    return min(max(weight, MIN_WEIGHT), MAX_WEIGHT)


def is_small(answer: int) -> bool:
    """Whether an answer is one that a confused model falls back on: up to 20, or divisible by 100."""
    return answer <= SMALL_ANSWER or answer % 100 == 0


def _rising(value: float | None, *, least: float, most: float) -> float:
    """MIN_WEIGHT at `least` and below, MAX_WEIGHT at `most` and above, linear between; 1 for what is not known."""
    if value is None or not math.isfinite(value):
        return 1.0
    share = min(max((value - least) / (most - least), 0.0), 1.0)
    return MIN_WEIGHT + (MAX_WEIGHT - MIN_WEIGHT) * share


def _of_entropy(value: float | None) -> float:
    return 1.0 if value is None or not math.isfinite(value) else confidence_weight(value)


def _of_confidence(value: float | None) -> float:
    return _rising(value, least=LEAST_CONFIDENCE, most=MOST_CONFIDENCE)


WEIGHINGS: Mapping[str, Callable[[Sample], float]] = MappingProxyType(
    {
        "count": lambda sample: 1.0,
        "entropy": lambda sample: _of_entropy(sample.mean_entropy),
        "tail_entropy": lambda sample: _of_entropy(tail_entropy(sample.token_stats)),
        "deepconf_mean": lambda sample: _of_confidence(mean_confidence(sample.token_stats)),
        "deepconf_tail": lambda sample: _of_confidence(tail_confidence(sample.token_stats)),
        "deepconf_bottom": lambda sample: _of_confidence(bottom_confidence(sample.token_stats)),
        "deepconf_lowest": lambda sample: _of_confidence(lowest_confidence(sample.token_stats)),
        "halting": lambda sample: _rising(mean_halting(sample), least=0.0, most=1.0),
    }
)
"""Each way to weigh, without the prior. The keys are those of `Weighing`."""

_WITHOUT_LOGPROBS: Final[frozenset[Weighing]] = frozenset(("count", "halting"))


def num_logprobs_of(how: Weighing) -> int:
    """How many of the likeliest tokens' log-probabilities a weighing reads of each token: none, or the top 20.

    An entropy is of the whole distribution, of which 20 tell most; DeepConf's confidence is defined over 20.
    """
    return 0 if how in _WITHOUT_LOGPROBS else CONFIDENCE_TOP_K
