"""How deep each token recurses: its own limit, and leaving early once a rule says so.

In: a reader, x, the first state, limits. Out: each token's state at the depth it ended, and that depth.
A token that ended keeps its state while its neighbours go on; a row whose tokens have all ended leaves
the computation. It does not decide whether ending early is harmless: kit.trm.config says where it is.

Letters: B rows, K columns that recurse, R the rows still running, D width.
Source: halting by q > 0 arXiv 2510.04871 section 4.6; convergence of the latent arXiv 2502.05171 section 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import vector_norm

from kit.trm.attention import Reader
from kit.trm.recursion import Rates, State, deep_recursion


class Recursed(NamedTuple):
    """state: at the depth where each token ended. depth_BK: int64, the deep recursions it took."""

    state: State
    depth_BK: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyExit:
    """When a token's recursion ends before its limit; None switches a part off.

    halting_logit: q of an answer state [R, K, D], as [R, K].
    """

    halting_logit: Callable[[Tensor], Tensor]
    halt_above: float | None
    converged_below: float | None

    @property
    def is_on(self) -> bool:
        """Whether it can end anything."""
        return self.halt_above is not None or self.converged_below is not None

    def has_ended(self, old: State, new: State) -> Tensor:
        """Which tokens need no further recursion, [R, K] bool."""
        ended_RK = torch.zeros(new.y.shape[:2], dtype=torch.bool, device=new.y.device)
        if self.halt_above is not None:
            ended_RK |= self.halting_logit(new.y) > self.halt_above
        if self.converged_below is not None:
            moved_RK = vector_norm(new.y - old.y, dim=-1)
            ended_RK |= moved_RK < self.converged_below * vector_norm(new.y, dim=-1)
        return ended_RK


def recurse(
    reader: Reader,
    x_BKD: Tensor,
    state: State,
    limit: int | Tensor,
    *,
    num_latent: int,
    rates: Rates | None,
    rule: EarlyExit,
) -> Recursed:
    """Recurse to `limit`, one for all or int64 [B, K], or until `rule` ends a token."""
    if isinstance(limit, int) and not rule.is_on:
        for index in range(limit):
            first = index * (num_latent + 1)
            state = deep_recursion(reader, x_BKD, state, num_latent=num_latent, rates=rates, first=first)
        return Recursed(state, torch.full(x_BKD.shape[:2], limit, device=x_BKD.device))
    limit_BK = torch.full(x_BKD.shape[:2], limit, device=x_BKD.device) if isinstance(limit, int) else limit
    return _recurse_apart(reader, x_BKD, state, limit_BK, num_latent=num_latent, rates=rates, rule=rule)


def _recurse_apart(
    reader: Reader,
    x_BKD: Tensor,
    state: State,
    limit_BK: Tensor,
    *,
    num_latent: int,
    rates: Rates | None,
    rule: EarlyExit,
) -> Recursed:
    """As `recurse`, with a depth for every token."""
    ended = State(state.y.clone(), state.z.clone())
    depth_BK = torch.zeros_like(limit_BK)
    running_RK, limit_RK = limit_BK > 0, limit_BK
    rows_R = torch.arange(len(x_BKD), device=x_BKD.device)
    x_RKD = x_BKD
    for index in range(int(limit_BK.max())):
        kept = _still_running(running_RK, reader)
        if kept is not None:
            reader, rows_R, x_RKD = reader.rows(kept), rows_R[kept], x_RKD[kept]
            state = State(state.y[kept], state.z[kept])
            running_RK, limit_RK = running_RK[kept], limit_RK[kept]
        if not len(rows_R):
            break
        first = index * (num_latent + 1)
        new = deep_recursion(reader, x_RKD, state, num_latent=num_latent, rates=rates, first=first)
        depth_BK[rows_R] += running_RK
        running_RK1 = running_RK[..., None]
        old, state = state, State(torch.where(running_RK1, new.y, state.y), torch.where(running_RK1, new.z, state.z))
        ended.y[rows_R], ended.z[rows_R] = state
        running_RK = running_RK & (limit_RK > index + 1)
        if rule.is_on:
            running_RK &= ~rule.has_ended(old, state)
    return Recursed(ended, depth_BK)


def _still_running(running_RK: Tensor, reader: Reader) -> Tensor | None:
    """The indices of the rows with a running token, or None while all must or do go on."""
    running_R = running_RK.any(-1)
    if not reader.is_separable or bool(running_R.all()):
        return None
    return running_R.nonzero()[:, 0]
