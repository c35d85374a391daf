"""The paper's loop over a net, for inference and for training; it holds no weights.

In: a net as a function, the injected features x, a state. Out: the next state.

    latent recursion   z = net(x + y + z), n times, then y = net(y + z), which leaves x out   (Figure 3)
    deep recursion     T latent recursions; in training T - 1 without gradient, one with
    deep supervision   N_sup deep recursions, each with a loss and an optimiser step, detached in between

At inference the two outer levels are one loop: N_sup supervision steps at depth T give the same state
as one call at depth N_sup * T. "Depth" counts runs through the inner two lines.

Letters: B rows, K columns that recurse, D width. Symbols: y the answer's state, z the latent one,
x the injected features, n `num_latent`, T `depth`. Source: arXiv 2510.04871 Figure 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# One application of the net to a fused input [B, K, D]. The number counts applications from 0 since the
# initial state: whoever keeps states for later tokens needs to know which one it is looking at.
Apply = Callable[[Tensor, int], Tensor]


class State(NamedTuple):
    """What recurses, a pair for each column: y_BKD, z_BKD."""

    y: Tensor
    z: Tensor

    def detach(self) -> State:
        """The same numbers without their history, as deep supervision hands them on."""
        return State(self.y.detach(), self.z.detach())


class Rates(NamedTuple):
    """The share of the way that y and z move to the net's output: scalars in (0, 1)."""

    y: Tensor
    z: Tensor


def deep_recursion(
    apply: Apply, x_BKD: Tensor, state: State, *, num_latent: int, rates: Rates | None = None, first: int = 0
) -> State:
    """n updates of the latent and one of the answer; `first` is the number of its first application."""
    y, z = state
    for index in range(num_latent):
        z = _moved(z, apply(x_BKD + y + z, first + index), rates and rates.z)
    y = _moved(y, apply(y + z, first + num_latent), rates and rates.y)
    return State(y, z)


def iterates(
    apply: Apply,
    x_BKD: Tensor,
    state: State,
    *,
    depth: int,
    num_latent: int,
    rates: Rates | None = None,
    num_with_grad: int = 1,
) -> Iterator[State]:
    """The states after deep recursion 1 to T, of which the last `num_with_grad` are differentiable.

    The last of them, with num_with_grad = 1, is the paper's supervision step: the caller takes its loss, steps its
    optimiser, and hands the state on detached.
    """
    assert 1 <= num_with_grad <= depth
    for index in range(depth):
        with torch.set_grad_enabled(index >= depth - num_with_grad and torch.is_grad_enabled()):
            first = index * (num_latent + 1)
            state = deep_recursion(apply, x_BKD, state, num_latent=num_latent, rates=rates, first=first)
        yield state


def _moved(old: Tensor, new: Tensor, rate: Tensor | None) -> Tensor:
    return new if rate is None else old + rate * (new - old)
