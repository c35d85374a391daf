"""The decoder of kit.engines.transformers for a recursive model: every row at its own depth, with its halting score.

In: attempts (token ids and params). Out: the same attempts with tokens and, for each, the depth and the halting logit
of the distribution that it was drawn from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import torch

from kit.engines.transformers.attention import use_grouped_attention
from kit.engines.transformers.batch import check_supported
from kit.engines.transformers.decoding import Attempt, Decoder, sequence_of
from kit.trm.cache import num_cache_layers, reserve, show_zeros
from kit.trm.language_model import RecursiveLM, RecursiveOutput


class Recursion(NamedTuple):
    """Of one token's distribution; halting_logit is NaN without recursion."""

    depth: int
    halting_logit: float

    @property
    def halting(self) -> float | None:
        """The halting logit as the probability of being right; None without recursion."""
        if math.isnan(self.halting_logit):
            return None
        return 0.5 * (1.0 + math.tanh(0.5 * self.halting_logit))  # the sigmoid, without overflow


@dataclass(slots=True, kw_only=True, eq=False)
class RecursiveAttempt(Attempt):
    """An attempt at one depth T; `recursions` has an entry a token, and may be one ahead."""

    depth: int
    recursions: list[Recursion] = field(default_factory=list)


class Dial:
    """A RecursiveLM as the batch calls it, with a depth for each row.

    depths: set by the owner before a call; from the number of rows. A row keeps its depth, so rows at depth 0 keep
    nothing in the cache; they show zeros of the same shape to rows that join. reach: the deepest depth of any row, so
    that in the form "states" all rows have equally many slots.
    """

    def __init__(self, model: RecursiveLM, *, reach: int) -> None:
        self.config, self.device, self.forward = model.config, model.device, model.forward
        self.depths: Callable[[int], list[int]] = lambda num_rows: [reach] * num_rows
        self.last: list[Recursion] = []
        self._model = model
        self._first = model.backbone.config.num_hidden_layers
        self._reach = reach

    def __call__(self, *, past_key_values: Any, input_ids: torch.Tensor, **settings: Any) -> RecursiveOutput:
        """One forward pass; `last` then has an entry a row."""
        trm, depth = self._model.trm, self.depths(len(input_ids))
        recurses = max(depth) > 0
        if recurses:
            reserve(past_key_values, num_layers=self._first + num_cache_layers(trm.config, self._reach))
        output: RecursiveOutput = self._model(
            input_ids=input_ids, past_key_values=past_key_values, depth=depth, recurses_later=recurses, **settings
        )
        if not recurses:
            show_zeros(past_key_values, trm.config, first=self._first, depth=self._reach, dtype=trm.dtype)
        assert output.depth is not None
        assert output.halting_logit is not None
        depths, logits = output.depth[:, -1].tolist(), output.halting_logit[:, -1].tolist()
        self.last = [Recursion(*pair) for pair in zip(depths, logits, strict=True)]
        return output


class RecursiveDecoder(Decoder):
    """A decoder whose rows have depths; everything else is inherited."""

    def __init__(self, model: RecursiveLM, *, eos_ids: frozenset[int], max_depth: int) -> None:
        check_supported(model.backbone)
        use_grouped_attention(model.backbone)
        self._dial = Dial(model, reach=max_depth)
        super().__init__(self._dial, eos_ids=eos_ids)
        self._next: dict[Attempt, Recursion] = {}

    def admit(self, attempts: Sequence[Attempt]) -> None:
        """Prefill attempts, those of one depth together, and merge them into the batch."""
        for depth, group in groupby(sorted(attempts, key=_depth_of), key=_depth_of):
            arrivals = list(group)
            self._dial.depths = lambda num_rows, depth=depth: [depth] * num_rows  # type: ignore[misc]
            self._admit(arrivals, kind=depth)

    def _prefill(self, attempts: Sequence[Attempt], *, kind: Hashable) -> None:
        super()._prefill(attempts, kind=kind)
        # the batch prefills equal sequences once, in the order of their first appearance
        sequences = [sequence_of(attempt) for attempt in attempts]
        row_of = {ids: row for row, ids in enumerate(dict.fromkeys(sequences))}
        for attempt, ids in zip(attempts, sequences, strict=True):
            self._next[attempt] = self._dial.last[row_of[ids]]

    def step(self) -> None:
        """Draw a token for every row, and note its recursion before anyone sees it."""
        for attempt in self.attempts:
            assert isinstance(attempt, RecursiveAttempt)
            del attempt.recursions[len(attempt.tokens) :]  # a step that failed half-way left one too many
            attempt.recursions.append(self._next[attempt])
        self._dial.depths = lambda _num_rows: [_depth_of(attempt) for attempt in self.attempts]
        self._dial.last = []
        super().step()
        self._next = dict(zip(self.attempts, self._dial.last, strict=True)) if self.attempts else {}


def _depth_of(attempt: Attempt) -> int:
    assert isinstance(attempt, RecursiveAttempt)
    return attempt.depth
