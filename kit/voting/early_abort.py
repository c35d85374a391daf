"""A watch that ends hopeless attempts early: DeepConf's online form. Off by default: no gain is measured yet.

In: the token statistics of an attempt in flight. Out: whether to end it. The first attempts at a problem run free, and
their least confident groups set the threshold for the others.
Source: DeepConf, arXiv 2508.15260, section 3.3 (online, with warm-up).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from kit.errors import check_fields
from kit.sampling import Chunk, FinishReason, OnChunk, Sample
from kit.voting.weights import GROUP_TOKENS, lowest_confidence, token_confidences


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyAbortConfig:
    """When DeepConf ends an attempt.

    warmup: traces that end before the threshold stands; the paper's 16 is more than most problems here draw.
    keep_percent: share of the warm-up traces that the threshold would have let live (eta: 90 is DeepConf-high,
    10 DeepConf-low). window_tokens: tokens of a group.
    Raises: InputError for a value outside its range.
    """

    warmup: int = 16
    keep_percent: float = 90.0
    window_tokens: int = GROUP_TOKENS

    def __post_init__(self) -> None:
        checks = (
            ("warmup", self.warmup >= 1, ">= 1"),
            ("keep_percent", 0 <= self.keep_percent <= 100, "in [0, 100]"),
            ("window_tokens", self.window_tokens >= 1, ">= 1"),
        )
        check_fields(self, checks)


class EarlyAbort:
    """One problem's online DeepConf: attempts whose current group is less confident than the warm-up's worst end.

    Feed `observe` every sample that ends, and give each attempt its own `watch`. The threshold is set once and
    then never changes; watchers in flight see it from their next chunk on. Before that no watcher ends anything.
    Threads: `observe` belongs to one; a watcher reads the threshold alone and otherwise its own state.
    """

    def __init__(self, config: EarlyAbortConfig) -> None:
        self._config = config
        self._lowest: list[float] = []
        self._threshold: float | None = None

    @property
    def threshold(self) -> float | None:
        """The group confidence, in nats, below which an attempt ends; None before the warm-up is complete."""
        return self._threshold

    def observe(self, sample: Sample) -> None:
        """Count a sample towards the warm-up; broken ones and those without confidence do not count.

        One that some other watcher cut, at its answer, does: during the warm-up it was not cut from here.
        """
        if self._threshold is not None or sample.finish is FinishReason.FAILED:
            return
        lowest = lowest_confidence(sample.token_stats, window_tokens=self._config.window_tokens)
        if lowest is None or not math.isfinite(lowest):
            return
        self._lowest.append(lowest)
        if len(self._lowest) == self._config.warmup:
            self._threshold = percentile(self._lowest, 100 - self._config.keep_percent)

    def watch(self) -> OnChunk:
        """A watcher for one attempt: True once a full group's confidence is below the threshold."""
        return _Watcher(self, self._config.window_tokens).see


def percentile(values: Iterable[float], percent: float) -> float:
    """The value that `percent` of the sorted values lie below, linear between neighbours, as numpy has it."""
    ranked = sorted(values)
    place = (len(ranked) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] * (1 - (place - below)) + ranked[above] * (place - below)


_ROUNDING = 1e-6  # nats: above what running sums round by, below any difference that means something


class _Watcher:
    """The running group of one attempt."""

    def __init__(self, early_abort: EarlyAbort, window_tokens: int) -> None:
        self._early_abort = early_abort
        self._size = window_tokens
        self._group: deque[float] = deque()
        self._sum = 0.0

    def see(self, chunk: Chunk) -> bool:
        threshold = self._early_abort.threshold
        least = -math.inf if threshold is None else threshold - _ROUNDING
        return any(self._falls_below(least, confidence) for confidence in token_confidences(chunk.token_stats))

    def _falls_below(self, least: float, confidence: float) -> bool:
        """Move the group on by one token, and tell whether it is full and its mean below `least`."""
        if not math.isfinite(confidence):  # nothing is known of any group with this token in it
            self._group.clear()
            self._sum = 0.0
            return False
        self._group.append(confidence)
        self._sum += confidence
        if len(self._group) > self._size:
            self._sum -= self._group.popleft()
        if len(self._group) < self._size or self._sum >= least * self._size:
            return False
        self._sum = sum(self._group)  # added up anew: the running sum's rounding must not end an attempt
        return self._sum < least * self._size
