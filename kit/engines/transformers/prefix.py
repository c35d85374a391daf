"""What prompts have in common at their beginning is computed once: few-shot examples, a system message.

In: the token sequences of rows that join together, and how to compute a piece. Out: a cache that holds the common
tokens in every row. The last prefix is kept while there are rows, so that one that joins alone starts from it as well.

Memory: each row has a copy of its own. 1,200 common tokens of a 30-layer model with 3 heads of 64 in float32 (46 kB a
token) are 55 MB a row, so 1.8 GB for 32 rows: as much as without sharing. What is kept is at most one row more.

Letters: U rows, H key-value heads, P tokens of the prefix, D head size.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from kit.engines.transformers.cache import growing_cache

# Fewer tokens saved are not worth a forward pass of their own.
MIN_SAVED_TOKENS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """The keys and values of some tokens, [1, H, P, D] each, a pair a layer. kind: of the rows that may use it."""

    ids: tuple[int, ...]
    kind: Hashable
    layers: tuple[tuple[Tensor, Tensor], ...]


class PrefixStore:
    """The prefix of the rows of one model.

    compute: appends the columns of some tokens to a cache of one row.
    """

    def __init__(self, config: Any, *, compute: Callable[[Sequence[int], Any], None]) -> None:
        self._config = config
        self._compute = compute
        self._kept: Prefix | None = None

    def clear(self) -> None:
        """Forget what is kept."""
        self._kept = None

    def share(self, sequences_U: Sequence[tuple[int, ...]], *, kind: Hashable) -> int:
        """Compute and keep what distinct sequences have in common, if it pays; gives how many tokens that spares each.

        At least one token of each sequence is left to compute.
        """
        num_known = self._num_known(sequences_U, kind)
        num_shared = min(num_common(sequences_U), *(len(ids) - 1 for ids in sequences_U))
        if (num_shared - num_known) * (len(sequences_U) - 1) < MIN_SAVED_TOKENS:
            return num_known
        cache = self._cache(num_known, num_rows=1)
        ids = sequences_U[0][:num_shared]
        self._compute(ids[num_known:], cache)
        layers = tuple((layer.keys, layer.values) for layer in cache.layers)
        self._kept = Prefix(ids=ids, kind=kind, layers=layers)
        return num_shared

    def begin(self, sequences_U: Sequence[tuple[int, ...]], *, kind: Hashable) -> Any:
        """A cache with a row for each sequence, which holds the tokens that all of them share with what is kept."""
        return self._cache(self._num_known(sequences_U, kind), num_rows=len(sequences_U))

    def _num_known(self, sequences_U: Sequence[tuple[int, ...]], kind: Hashable) -> int:
        if self._kept is None or self._kept.kind != kind:
            return 0
        num_tokens = min(num_common([*sequences_U, self._kept.ids]), *(len(ids) - 1 for ids in sequences_U))
        return num_tokens if num_tokens * len(sequences_U) >= MIN_SAVED_TOKENS else 0

    def _cache(self, num_tokens: int, *, num_rows: int) -> Any:
        """The first tokens of what is kept in every row; they are copied when the cache grows."""
        cache = growing_cache(self._config)
        if not num_tokens:
            return cache
        assert self._kept is not None
        cache.layers += [cache.layer_class_to_replicate() for _ in self._kept.layers[len(cache.layers) :]]
        for layer, (keys_1HPD, values_1HPD) in zip(cache.layers, self._kept.layers, strict=True):
            layer.show(
                keys_1HPD[:, :, :num_tokens].expand(num_rows, -1, -1, -1),
                values_1HPD[:, :, :num_tokens].expand(num_rows, -1, -1, -1),
            )
        return cache


def num_common(sequences: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all sequences begin with alike."""
    # what the least and the greatest begin with, all between them do
    pairs = zip(min(sequences), max(sequences), strict=False)
    num_tokens = 0
    for first, last in pairs:
        if first != last:
            break
        num_tokens += 1
    return num_tokens
