"""A task whose difficulty is the number of steps that depend on each other, without words: `table`.

In: a seed and a number. Out: rows of tokens, each one cycle of symbols as pairs "a f(a)" in random order, then queries
"K_k s", whose answer f^k(s) is to be said at once. A single cycle allows no shortcut by its length, but k steps forward
are also (symbols - k) steps back, so few symbols make the largest k easier.

Train and test are disjoint by the cycle, by a hash of it. The same seed and number give the same rows everywhere.

Letters: B rows, T columns, K queries of a row, S steps, N symbols.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from kit.errors import check_fields

TEST_ONE_IN = 16  # cycles


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTask:
    """The task's sizes. Tokens: the symbols, then K_1 … K_max_steps."""

    num_symbols: int = 8
    max_steps: int = 8
    num_queries: int = 16

    def __post_init__(self) -> None:
        checks = (
            ("num_symbols", self.num_symbols >= 4, ">= 4"),
            ("max_steps", self.max_steps >= 1, ">= 1"),
            ("num_queries", self.num_queries >= 1, ">= 1"),
        )
        check_fields(self, checks)

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return self.num_symbols + self.max_steps

    @property
    def num_columns(self) -> int:
        """Of a row."""
        return 2 * (self.num_symbols + self.num_queries)

    def draw(self, seed: str, *, num_rows: int, least_steps: int, most_steps: int, test: bool = False) -> Tables:
        """Rows with queries of uniform difficulty; `seed` names them."""
        generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7]))
        images_BN = self._cycles(generator, num_rows, test=test)
        order_BN = torch.rand(num_rows, self.num_symbols, generator=generator).argsort(-1)
        pairs_BN2 = torch.stack([order_BN, images_BN.gather(1, order_BN)], -1)
        shape = (num_rows, self.num_queries)
        num_steps_BK = torch.randint(least_steps, most_steps + 1, shape, generator=generator)
        symbols_BK = torch.randint(self.num_symbols, shape, generator=generator)
        queries_BK2 = torch.stack([self.num_symbols + num_steps_BK - 1, symbols_BK], -1)
        columns_K = 2 * self.num_symbols + 1 + 2 * torch.arange(self.num_queries)
        images_SBK: list[Tensor] = []
        for _ in range(self.max_steps):
            images_SBK.append(images_BN.gather(1, images_SBK[-1] if images_SBK else symbols_BK))
        return Tables(
            ids_BT=torch.cat([pairs_BN2.flatten(1), queries_BK2.flatten(1)], 1),
            columns_BK=columns_K.expand(shape),
            num_steps_BK=num_steps_BK,
            images_SBK=torch.stack(images_SBK),
        )

    def _cycles(self, generator: torch.Generator, num_rows: int, *, test: bool) -> Tensor:
        """images_BN: f as a single cycle, uniform over those of the split."""
        found: list[Tensor] = []
        while sum(map(len, found)) < num_rows:
            num_drawn = 2 * num_rows * (TEST_ONE_IN if test else 1)
            rest_BN = 1 + torch.rand(num_drawn, self.num_symbols - 1, generator=generator).argsort(-1)
            walk_BN = torch.cat([torch.zeros_like(rest_BN[:, :1]), rest_BN], 1)
            found.append(walk_BN[_is_test(walk_BN) == test])
        walk_BN = torch.cat(found)[:num_rows]
        return torch.empty_like(walk_BN).scatter_(1, walk_BN, walk_BN.roll(-1, 1))


def _is_test(walk_BN: Tensor) -> Tensor:
    """Whether a cycle, walked from symbol 0, belongs to the test split; a hash of it, the same on every machine."""
    hash_B = torch.zeros_like(walk_BN[:, 0])
    for symbol_B in walk_BN.unbind(1):
        hash_B = (hash_B * 1000003 + symbol_B + 1) % 2147483647
    return hash_B % TEST_ONE_IN == 0
