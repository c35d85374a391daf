"""kit.engines.transformers's decoder for a recursive model: every row at its own depth, and what halting says.

In: attempts (token ids and params). Out: the same attempts, with tokens and, token by token, the depth
and the halting logit of the distribution it was drawn from. Rows, cache and drawing are the hf engine's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import torch

from kit.engines.transformers.batch import check_supported
from kit.engines.transformers.decoding import Attempt, Decoder
from kit.trm.cache import num_cache_layers, reserve, show_zeros
from kit.trm.language_model import RecursiveLM, RecursiveOutput


class Recursion(NamedTuple):
    """How a token's distribution came about; halting_logit is NaN where nothing recursed."""

    depth: int
    halting_logit: float

    @property
    def halting(self) -> float | None:
        """The probability of being right that the halting logit stands for; None where nothing recursed."""
        if math.isnan(self.halting_logit):
            return None
        return 0.5 * (1.0 + math.tanh(0.5 * self.halting_logit))  # the sigmoid, without overflow


@dataclass(slots=True, kw_only=True, eq=False)
class RecursiveAttempt(Attempt):
    """An attempt at one depth T; `recursions` has an entry for each token, and may be one ahead."""

    depth: int
    recursions: list[Recursion] = field(default_factory=list)


class Dial:
    """A RecursiveLM as the batch calls it, with the depths of whatever rows it is called for.

    depths: set by the owner before any call; given the number of rows. A row keeps its depth, so rows that are
    all at depth 0 need nothing kept for them; they show zeros of the same shape to rows that join them.
    reach: in the form "states", the deepest depth that any row of the batch may ever have, so that all rows
    have equally many slots.
    """

    def __init__(self, model: RecursiveLM, *, reach: int) -> None:
        self.config, self.device, self.forward = model.config, model.device, model.forward
        self.depths: Callable[[int], list[int]] = lambda num_rows: [reach] * num_rows
        self.last: list[Recursion] = []
        self._model = model
        self._first = model.backbone.config.num_hidden_layers
        self._reach = reach

    def __call__(self, *, past_key_values: Any, input_ids: torch.Tensor, **settings: Any) -> RecursiveOutput:
        """One forward pass; `last` then tells of each row."""
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
    """A decoder whose rows have depths.

    It inherits, since the decode thread and the rows are the same down to the order of events.
    """

    def __init__(self, model: RecursiveLM, *, eos_ids: frozenset[int], max_depth: int) -> None:
        check_supported(model.backbone)
        self._dial = Dial(model, reach=max_depth)
        super().__init__(self._dial, eos_ids=eos_ids)
        self._next: dict[Attempt, Recursion] = {}

    def admit(self, attempts: Sequence[Attempt]) -> None:
        """Prefill attempts, those of one depth together, and merge them into the batch."""
        for depth, group in groupby(sorted(attempts, key=_depth_of), key=_depth_of):
            arrivals = list(group)
            self._dial.depths = lambda num_rows, depth=depth: [depth] * num_rows  # type: ignore[misc]
            super().admit(arrivals)
            # the batch prefills equal sequences once, in the order of their first appearance
            sequences = [attempt.prompt_ids + tuple(token.id for token in attempt.tokens) for attempt in arrivals]
            row_of = {ids: row for row, ids in enumerate(dict.fromkeys(sequences))}
            for attempt, ids in zip(arrivals, sequences, strict=True):
                self._next[attempt] = self._dial.last[row_of[ids]]

    def step(self) -> None:
        """Draw a token for every row; note what its distribution came from before anyone can see it."""
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
