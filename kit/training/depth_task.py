"""Tasks whose difficulty is the number of steps that depend on each other, without words: `table` and `chain`.

In: a seed and a number. Out: rows of tokens, each a map of symbols as pairs "a f(a) ;" in random order, then queries
that are to be answered at once. Of `table` the map is one cycle, the query "K_k s", the answer f^k(s). A single cycle
allows no shortcut by its length, but k steps forward are also (symbols - k) steps back, so few symbols make the largest
k easier.

The separator matters: each symbol stands once first and once second in a pair, and without it the token after the
second place, the next pair's first, looks like the image. A step was then right in 84–90 %, whatever was trained.

`chain` does not say how many steps it takes: several chains, whose last symbol maps to itself, and queries "? s",
whose answer is the end of the chain of s.

Train and test are disjoint by the walk that makes the map, by a hash of it. The same seed and number give the same rows
everywhere.

Letters: B rows, T columns, K queries of a row, S steps, N symbols, U those that a row uses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from kit.errors import InputError, check_fields
from kit.training.recursive import RecursiveBatch

TEST_ONE_IN = 16  # walks


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Rows of the task. columns_BK: where each query's answer is said. images_SBK: f^1(s) … f^S(s) of each query."""

    ids_BT: Tensor
    columns_BK: Tensor
    num_steps_BK: Tensor
    images_SBK: Tensor

    @property
    def answers(self) -> Tensor:
        """f^k(s), [B, K]."""
        answers_1BK = self.images_SBK.gather(0, self.num_steps_BK[None] - 1)
        return answers_1BK[0]

    @property
    def is_before(self) -> Tensor:
        """[S, B, K]: whether step 1…S of a query is one before its answer."""
        return torch.arange(1, len(self.images_SBK) + 1)[:, None, None] < self.num_steps_BK

    @property
    def step_targets(self) -> Tensor:
        """[S, B, K]: f^r(s) for recursion r, and the answer from r = k on."""
        return torch.where(self.is_before, self.images_SBK, self.answers)

    def batch(self, hidden_LBTD: Sequence[Tensor], targets_SBK: Tensor) -> RecursiveBatch:
        """The rows for a recursion over a backbone's hidden states, of which the last is the base."""
        return RecursiveBatch(
            hidden_LBTD=tuple(hidden_LBTD),
            base_BTD=hidden_LBTD[-1],
            position_BT=torch.arange(self.ids_BT.shape[1]).expand(self.ids_BT.shape),
            columns_BK=self.columns_BK,
            targets_SBK=targets_SBK,
            num_steps_BK=self.num_steps_BK,
        )


class DepthTask(Protocol):
    """Where rows of some difficulty come from."""

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        ...

    @property
    def num_columns(self) -> int:
        """Of a row."""
        ...

    @property
    def max_steps(self) -> int:
        """The largest difficulty."""
        ...

    @property
    def num_queries(self) -> int:
        """Of a row."""
        ...

    def draw(self, seed: str, *, num_rows: int, least_steps: int, most_steps: int, test: bool = False) -> Tables:
        """Rows with queries of uniform difficulty; `seed` names them.

        Raises: InputError for more steps than max_steps.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTask:
    """The task's sizes. Tokens: the symbols, then K_1 … K_max_steps, then the separator.

    num_used: how many of the symbols a row's cycle has, others in each row; None: all.
    """

    num_symbols: int = 8
    max_steps: int = 8
    num_queries: int = 16
    num_used: int | None = None

    def __post_init__(self) -> None:
        checks = (
            ("num_symbols", self.num_symbols >= 4, ">= 4"),
            ("num_used", 4 <= (self.num_used or 4) <= self.num_symbols, "in [4, num_symbols] or None"),
            ("max_steps", self.max_steps >= 1, ">= 1"),
            ("num_queries", self.num_queries >= 1, ">= 1"),
        )
        check_fields(self, checks)

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return self.num_symbols + self.max_steps + 1

    @property
    def num_columns(self) -> int:
        """Of a row."""
        return 3 * self._num_used + 2 * self.num_queries

    @property
    def _num_used(self) -> int:
        return self.num_used or self.num_symbols

    def draw(self, seed: str, *, num_rows: int, least_steps: int, most_steps: int, test: bool = False) -> Tables:
        """See DepthTask."""
        _check_steps(most_steps, self.max_steps)
        generator = seeded(seed)
        walk_BU = _walks(generator, num_rows, self.num_symbols, self._num_used, test=test)
        shape = (num_rows, self.num_queries)
        num_steps_BK = torch.randint(least_steps, most_steps + 1, shape, generator=generator)
        symbols_BK = walk_BU.gather(1, torch.randint(self._num_used, shape, generator=generator))
        queries_BK2 = torch.stack([self.num_symbols + num_steps_BK - 1, symbols_BK], -1)
        return _tables(walk_BU, walk_BU.roll(-1, 1), queries_BK2, num_steps_BK, self, generator)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTask:
    """The task's sizes. Tokens: the symbols, then the query's "?", then the separator.

    Each row has num_chains chains of max_steps + 1 symbols, all as long, so that nothing but walking tells which end
    is meant: a guess among the ends is right in one of num_chains. A row may use some of the symbols only.
    """

    num_symbols: int = 27
    num_chains: int = 3
    max_steps: int = 8
    num_queries: int = 16

    def __post_init__(self) -> None:
        used = f"num_chains x (max_steps + 1), {self._num_used}"
        checks = (
            ("num_chains", self.num_chains >= 2, ">= 2"),
            ("max_steps", self.max_steps >= 1, ">= 1"),
            ("num_symbols", self.num_symbols >= self._num_used, f">= {used}"),
            ("num_queries", self.num_queries >= 1, ">= 1"),
        )
        check_fields(self, checks)

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return self.num_symbols + 2

    @property
    def num_columns(self) -> int:
        """Of a row."""
        return 3 * self._num_used + 2 * self.num_queries

    @property
    def _num_used(self) -> int:
        return self.num_chains * (self.max_steps + 1)

    def draw(self, seed: str, *, num_rows: int, least_steps: int, most_steps: int, test: bool = False) -> Tables:
        """See DepthTask."""
        _check_steps(most_steps, self.max_steps)
        generator = seeded(seed)
        walk_BU = _walks(generator, num_rows, self.num_symbols, self._num_used, test=test)
        is_end_U = torch.arange(self._num_used) % (self.max_steps + 1) == self.max_steps
        images_BU = torch.where(is_end_U, walk_BU, walk_BU.roll(-1, 1))
        shape = (num_rows, self.num_queries)
        num_steps_BK = torch.randint(least_steps, most_steps + 1, shape, generator=generator)
        chains_BK = torch.randint(self.num_chains, shape, generator=generator)
        symbols_BK = walk_BU.gather(1, (chains_BK + 1) * (self.max_steps + 1) - 1 - num_steps_BK)
        queries_BK2 = torch.stack([torch.full_like(symbols_BK, self.num_symbols), symbols_BK], -1)
        return _tables(walk_BU, images_BU, queries_BK2, num_steps_BK, self, generator)


def _walks(generator: torch.Generator, num_rows: int, num_symbols: int, num_used: int, *, test: bool) -> Tensor:
    """walk_BU: the symbols of each row in the order in which the map walks them, uniform over those of the split."""
    found: list[Tensor] = []
    while sum(map(len, found)) < num_rows:
        num_drawn = 2 * num_rows * (TEST_ONE_IN if test else 1)
        walk_BU = torch.rand(num_drawn, num_symbols, generator=generator).argsort(-1)[:, :num_used]
        # a cycle is the same wherever its walk begins; for chains it does no harm
        found.append(walk_BU[_is_test(_from_its_least(walk_BU)) == test])
    return torch.cat(found)[:num_rows]


def _from_its_least(walk_BU: Tensor) -> Tensor:
    """The same cycle, walked from its least symbol."""
    places_BU = walk_BU.argmin(1, keepdim=True) + torch.arange(walk_BU.shape[1])
    return walk_BU.gather(1, places_BU % walk_BU.shape[1])


def _is_test(walk_BN: Tensor) -> Tensor:
    """Whether a walk belongs to the test split; a hash of it, the same on every machine."""
    hash_B = torch.zeros_like(walk_BN[:, 0])
    for symbol_B in walk_BN.unbind(1):
        hash_B = (hash_B * 1000003 + symbol_B + 1) % 2147483647
    return hash_B % TEST_ONE_IN == 0


def _check_steps(most_steps: int, max_steps: int) -> None:
    if most_steps > max_steps:
        raise InputError(f"queries of {most_steps} steps were asked for, but max_steps is {max_steps}; raise it")


def seeded(seed: str) -> torch.Generator:
    """The same random numbers for the same name, on every machine."""
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7]))


def _tables(
    walk_BU: Tensor,
    images_BU: Tensor,
    queries_BK2: Tensor,
    num_steps_BK: Tensor,
    task: TableTask | ChainTask,
    generator: torch.Generator,
) -> Tables:
    """Rows that write the map's pairs in random order, then the queries, each a head and a symbol."""
    num_rows, num_used = walk_BU.shape
    order_BU = torch.rand(num_rows, num_used, generator=generator).argsort(-1)
    separators_BU = torch.full_like(order_BU, task.vocab_size - 1)
    pairs_BU3 = torch.stack([walk_BU.gather(1, order_BU), images_BU.gather(1, order_BU), separators_BU], -1)
    map_BN = torch.zeros(num_rows, task.num_symbols, dtype=torch.long).scatter_(1, walk_BU, images_BU)
    images_SBK = [map_BN.gather(1, queries_BK2[..., 1])]
    for _ in range(1, task.max_steps):
        images_SBK.append(map_BN.gather(1, images_SBK[-1]))
    return Tables(
        ids_BT=torch.cat([pairs_BU3.flatten(1), queries_BK2.flatten(1)], 1),
        columns_BK=(3 * num_used + 1 + 2 * torch.arange(task.num_queries)).expand(num_steps_BK.shape),
        num_steps_BK=num_steps_BK,
        images_SBK=torch.stack(images_SBK),
    )
