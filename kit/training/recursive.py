"""The loss of a Tiny Recursive Model over a frozen backbone's hidden states.

In: hidden states, the columns that answer, targets for each deep recursion. Out: the loss of one supervision step, on
every iterate that has a gradient, and the state the next step goes on from. It runs no backbone and no optimiser.

    logits_r = lm_head(b + out(y_r)), r = 1…T
    loss = mean over r and tokens of CE(logits_r, target_r)
           + KL(backbone || logits_r) where the backbone's argmax is target_r + BCE of the halting logit

Where intermediate results are known, target_r is the r-th of them, and the answer from the last step on, so that the
recursion learns to hold what it has. A loss on the last iterate alone leaves a recursion dead (docs/recursion.md).

Letters: B rows, T columns, K the columns that answer, N of all rows' those that have a loss, D width, L hidden states
that make x, S steps with targets of their own, V vocabulary.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kit.errors import check_fields
from kit.training.depth_schedule import DepthSchedule
from kit.training.loop import Loss
from kit.training.objective import (
    Said,
    TokenSum,
    answer_loss,
    at_columns,
    halting_loss,
    has_loss,
    has_target,
    is_right,
    kl_to_backbone,
    said,
)
from kit.trm import recursion
from kit.trm.model import Columns, TinyRecursiveModel
from kit.trm.recursion import State


@dataclass(frozen=True, slots=True, kw_only=True)
class RecursiveBatch:
    """Frozen states of some rows, and what their answering columns should say.

    hidden_LBTD, base_BTD: see kit.trm.language_model.Frozen. columns_BK: which columns answer; a row with fewer
    repeats one and ignores its target. targets_SBK: of recursion 1…S, the last one the answer's and good for every
    deeper one; IGNORED: no loss; AS_BACKBONE: KL to the backbone alone. mask_BT: 0 on padding; None: none.
    num_steps_BK: how many dependent steps an answer takes, where that is known, and 0 for a column that takes none: for
    measures alone. answers_BK: what the halting head is asked about; None: the last of the targets. visible_BKT: see
    TinyRecursiveModel.reader_at.
    """

    hidden_LBTD: tuple[Tensor, ...]
    base_BTD: Tensor
    position_BT: Tensor
    columns_BK: Tensor
    targets_SBK: Tensor
    mask_BT: Tensor | None = None
    num_steps_BK: Tensor | None = None
    answers_BK: Tensor | None = None
    visible_BKT: Tensor | None = None

    @property
    def final(self) -> Tensor:
        """The token that each column is to end with, where that is known."""
        return self.targets_SBK[-1] if self.answers_BK is None else self.answers_BK


@dataclass(frozen=True, slots=True, kw_only=True)
class RecursiveWeights:
    """Shares of the loss beside the answer's. with_grad: the last recursions with a gradient; None: all (T)."""

    kl: float = 0.0
    halting: float = 0.0
    with_grad: int | None = None

    def __post_init__(self) -> None:
        checks = (
            ("kl", 0 <= self.kl < math.inf, ">= 0 and finite"),
            ("halting", 0 <= self.halting < math.inf, ">= 0 and finite"),
            ("with_grad", self.with_grad is None or self.with_grad >= 1, ">= 1 or None"),
        )
        check_fields(self, checks)


@dataclass(slots=True, kw_only=True)
class RecursiveObjective:
    """Deep supervision of a TRM; kit.training.loop's Objective.

    lm_head: the backbone's own, frozen. depths: where T comes from. offload: the carried states wait on the CPU.
    """

    trm: TinyRecursiveModel
    lm_head: Callable[[Tensor], Tensor]
    depths: DepthSchedule
    weights: RecursiveWeights = field(default_factory=RecursiveWeights)
    num_supervision: int = 1
    offload: bool = False

    @property
    def module(self) -> TinyRecursiveModel:
        """See Objective."""
        return self.trm

    def loss(self, batch: RecursiveBatch, carry: State | None, rng: random.Random) -> Loss:
        """See Objective; the carry is the last iterate's state, detached."""
        depth = self.depths.draw(rng)
        first_graded = depth - min(depth, self.weights.with_grad or depth)
        graded = _graded(batch)
        base_ND = at_columns(batch.base_BTD, batch.columns_BK)[graded.places_BK]
        backbone = said(self.lm_head(base_ND).detach()) if self.weights.kl else None
        states = iterates(self.trm, batch, depth=depth, carry=carry, first_graded=first_graded)
        sums = _Sums()
        for index, state in enumerate(states):
            if index >= first_graded:
                targets_N = graded.targets_SN[min(index, len(graded.targets_SN) - 1)]
                y_ND = answering(self.trm, batch, state)[graded.places_BK]
                model = said(self.lm_head(joined(self.trm, base_ND, y_ND)))
                sums.add("answer", answer_loss(model, targets_N))
                if backbone is not None:
                    sums.add("kl", kl_to_backbone(backbone, model, targets_N), share=self.weights.kl)
                if self.weights.halting:
                    q_N = self.trm.halting_logit(y_ND)
                    halting = halting_loss(q_N, model, graded.final_N)
                    sums.add("halting", halting, share=self.weights.halting)
                    _measure_halting(sums, q_N, model, graded.final_N)
                _measure(sums, is_right(model, targets_N), targets_N, graded.num_steps_N, number=index + 1)
        _measure_by_steps(sums, model, graded)
        device = torch.device("cpu") if self.offload else state.y.device
        carried = State(*(each.detach().to(device) for each in state))
        loss = TokenSum(torch.stack(sums.parts).sum(), sums.measured["answer"].number)
        return Loss(answer=loss, carry=carried, measured=sums.measured)

    def observe(self, means: Mapping[str, float]) -> None:
        """See Objective."""
        self.depths.observe(means)

    def state_dict(self) -> dict[str, Any]:
        """See Objective."""
        return self.depths.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See Objective."""
        self.depths.load_state_dict(state)


def iterates(
    trm: TinyRecursiveModel, batch: RecursiveBatch, *, depth: int, carry: State | None = None, first_graded: int = 0
) -> Iterator[State]:
    """The states after recursion 1…depth; gradients flow from recursion `first_graded` + 1 on.

    They are the answering columns', in the form "states" all columns', since later ones read them.
    """
    x_BTD = trm.inject(batch.hidden_LBTD)
    if trm.config.form == "states":
        columns = Columns(position_BT=batch.position_BT, mask_BS=batch.mask_BT, num_keep=x_BTD.shape[1])
        reader, x_BKD = trm.reader(x_BTD, columns, depth=depth), x_BTD
    else:
        reader = trm.reader_at(
            x_BTD, batch.position_BT, batch.columns_BK, mask_BT=batch.mask_BT, visible_BKT=batch.visible_BKT
        )
        x_BKD = at_columns(x_BTD, batch.columns_BK)
    state = carry or trm.initial_state(*x_BKD.shape[:2])
    state = State(state.y.to(x_BKD.device), state.z.to(x_BKD.device))
    return recursion.iterates(
        reader,
        x_BKD,
        state,
        depth=depth,
        num_latent=trm.config.num_latent,
        rates=trm.rates,
        num_with_grad=depth - first_graded,
    )


def answering(trm: TinyRecursiveModel, batch: RecursiveBatch, state: State) -> Tensor:
    """y_BKD of the answering columns."""
    return at_columns(state.y, batch.columns_BK) if trm.config.form == "states" else state.y


def joined(trm: TinyRecursiveModel, base_D: Tensor, y_D: Tensor) -> Tensor:
    """What the backbone's head reads, of any leading axes, in the backbone's dtype."""
    return base_D + trm.delta(y_D).to(base_D.dtype)


@torch.no_grad()
def logits_by_depth(
    trm: TinyRecursiveModel, batch: RecursiveBatch, lm_head: Callable[[Tensor], Tensor], depths: Collection[int]
) -> dict[int, Tensor]:
    """logits_BKV of the answering columns at each of these depths; T = 0 is the backbone's own."""
    base_BKD = at_columns(batch.base_BTD, batch.columns_BK)
    found = {0: lm_head(base_BKD)} if 0 in depths else {}
    for number, state in enumerate(iterates(trm, batch, depth=max(depths)), 1):
        if number in depths:
            found[number] = lm_head(joined(trm, base_BKD, answering(trm, batch, state)))
    return found


class _Graded(NamedTuple):
    """The places of a batch, N of its columns that answer, that have a loss; of the others no logits are made."""

    places_BK: Tensor
    targets_SN: Tensor
    final_N: Tensor
    num_steps_N: Tensor | None


def _graded(batch: RecursiveBatch) -> _Graded:
    places_BK = has_loss(batch.targets_SBK).any(0) | has_loss(batch.final)
    return _Graded(
        places_BK=places_BK,
        targets_SN=batch.targets_SBK[:, places_BK],
        final_N=batch.final[places_BK],
        num_steps_N=None if batch.num_steps_BK is None else batch.num_steps_BK[places_BK],
    )


@dataclass(slots=True)
class _Sums:
    """The parts of the loss so far, and what was measured, by name."""

    parts: list[Tensor] = field(default_factory=list)
    measured: dict[str, TokenSum] = field(default_factory=dict)

    def add(self, name: str, each: TokenSum, *, share: float = 1.0) -> None:
        """A part of the loss."""
        self.parts.append(share * each.total)
        self.measure(name, each)

    def measure(self, name: str, each: TokenSum) -> None:
        """Something that is no part of the loss."""
        total, number = each.total.detach(), each.number
        if before := self.measured.get(name):
            total, number = total + before.total, number + before.number
        self.measured[name] = TokenSum(total, number)


def _measure(sums: _Sums, right_N: Tensor, targets_N: Tensor, num_steps_N: Tensor | None, *, number: int) -> None:
    """How often iterate `number` has its target; apart for answers it cannot have yet, and those it must hold."""
    counted_N = has_target(targets_N)
    sums.measure(f"right/{number}", _share_of(right_N, counted_N))
    if num_steps_N is not None:
        is_held_N = (num_steps_N > 0) & (num_steps_N < number)
        sums.measure(f"reached/{number}", _share_of(right_N, counted_N & (num_steps_N >= number)))
        sums.measure(f"held/{number}", _share_of(right_N, counted_N & is_held_N))


def _measure_halting(sums: _Sums, q_N: Tensor, model: Said, final_N: Tensor) -> None:
    """How often "q > 0" says of a token what is true."""
    agrees_N = (q_N > 0) == is_right(model, final_N)
    sums.measure("halting_right", _share_of(agrees_N, has_target(final_N)))


def _measure_by_steps(sums: _Sums, model: Said, graded: _Graded) -> None:
    """How often the last iterate has the answer, by the number of steps that it takes."""
    if graded.num_steps_N is None:
        return
    steps_N, answers_N = graded.num_steps_N, graded.targets_SN[-1]
    right_N = is_right(model, answers_N)
    for num_steps in sorted(set(steps_N[steps_N > 0].tolist())):
        counted_N = (steps_N == num_steps) & has_target(answers_N)
        sums.measure(f"solved/{num_steps}", _share_of(right_N, counted_N))


def _share_of(right_N: Tensor, counted_N: Tensor) -> TokenSum:
    return TokenSum((right_N & counted_N).sum(), counted_N.sum())
