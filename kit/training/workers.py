"""The processes that train together, as the loop sees them: what they add up.

In: sums of one process. Out: sums over all. `OneProcess` is the double that needs no accelerate; kit.training.launch
has the other. Gradients are added, not averaged, since the loop divides by the tokens of all processes: a mean over
ranks of unequal length would not be the loss of one process.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from torch import Tensor


class Workers(Protocol):
    """One of `number` processes that train together; rank 0 writes."""

    @property
    def rank(self) -> int:
        """Which of them this is."""
        ...

    @property
    def number(self) -> int:
        """How many there are."""
        ...

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in place; all call it with equal shapes."""
        ...

    def all_names(self, names: Collection[str]) -> list[str]:
        """The names of all processes, each once, sorted: what one of them measures another may have no row for."""
        ...

    def autocast(self) -> AbstractContextManager[None]:
        """The context in which losses are computed."""
        ...


class OneProcess:
    """Nobody else."""

    rank = 0
    number = 1

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """They are the sums already."""

    def all_names(self, names: Collection[str]) -> list[str]:
        """These."""
        return sorted(names)

    def autocast(self) -> AbstractContextManager[None]:
        """Everything is computed in the type of the weights."""
        return nullcontext()
