"""The training loop: one for a recursion, a fine-tune, a LoRA; resumable to the bit.

In: an objective (what is trained and its loss), batches by number, a recipe. Out: trained weights in the objective's
module, their moving average, and a checkpoint that goes on from the last whole group of batches.

    group    as many batches as gradients are accumulated over
    update   one optimiser step; a group has N_sup of them (1 for what does not recurse)

Between the updates of a group each batch's states are carried on, detached (deep supervision), on the CPU if the
objective puts them there. The batches of a group depend on its number alone, the depth of an update on the seed and
its number alone, so whoever resumes sees what an unbroken run would have seen.

Source: deep supervision arXiv 2510.04871 Figure 3; the sum over tokens of all processes docs/recursion.md.
"""

from __future__ import annotations

import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from kit.errors import InputError, TrainingError, check_fields
from kit.training import checkpoint
from kit.training.ema import average_of, collected
from kit.training.objective import TokenSum
from kit.training.optimiser import (
    OptimiserRecipe,
    learning_rate_at,
    optimiser_for,
    scale_and_clip,
    set_learning_rate,
    trainable,
)
from kit.training.update import Update
from kit.training.workers import OneProcess, Workers

SAVED_WITHIN_S = 600.0
"""Groups of many slow updates are saved by the clock, too: a kill without warning costs no more."""

BatchT = TypeVar("BatchT")
BatchT_contra = TypeVar("BatchT_contra", contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What one batch gave in one update.

    answer: the loss whose gradient is wanted; its number is what gradients are divided by. carry: the states the next
    update of this batch goes on from; None where nothing recurses. measured: sums for the record, by name; processes
    that train together must measure the same names.
    """

    answer: TokenSum
    carry: Any = None
    measured: Mapping[str, TokenSum] = field(default_factory=dict)


class Objective(Protocol[BatchT_contra]):
    """What is trained, and how a batch says how good it is."""

    @property
    def module(self) -> nn.Module:
        """Its parameters that require a gradient are trained."""
        ...

    @property
    def num_supervision(self) -> int:
        """How many updates a batch gets, N_sup."""
        ...

    def loss(self, batch: BatchT_contra, carry: Any, rng: random.Random) -> Loss:
        """The loss of one update; `rng` is the same for all batches and processes of the update."""
        ...

    def observe(self, means: Mapping[str, float]) -> None:
        """Told after each update what was measured, over all batches and processes."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What it knows beside the weights."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopRecipe:
    """How long, how, and how safely.

    num_groups: groups of batches in all. ema_decay: of the weights' moving average. save_every: groups between two
    checkpoints. fingerprint: of all that the batches depend on; a checkpoint of another one is refused.
    """

    num_groups: int
    optimiser: OptimiserRecipe
    ema_decay: float = 0.999
    save_every: int = 100
    seed: int = 0
    fingerprint: str = ""

    def __post_init__(self) -> None:
        checks = (
            ("num_groups", self.num_groups >= 1, ">= 1"),
            ("ema_decay", 0 <= self.ema_decay < 1, "in [0, 1)"),
            ("save_every", self.save_every >= 1, ">= 1"),
        )
        check_fields(self, checks)


@dataclass(slots=True, kw_only=True)
class Training(Generic[BatchT]):
    """A run under way.

    batches: the batches of a group by its number, this process's share of them. path: of the checkpoint; None keeps
    none. resume_from: another checkpoint to go on from; None: that at `path`. should_stop: asked between groups; True
    saves and ends. tell: given each update.
    """

    objective: Objective[BatchT]
    batches: Callable[[int], Sequence[BatchT]]
    recipe: LoopRecipe
    path: Path | None = None
    resume_from: Path | None = None
    should_stop: Callable[[], bool] = lambda: False
    tell: Callable[[Update], None] = lambda _: None
    workers: Workers = field(default_factory=OneProcess)
    num_groups_done: int = field(init=False, default=0)
    _parameters: dict[str, nn.Parameter] = field(init=False)
    _optimiser: torch.optim.AdamW = field(init=False)
    _average: AveragedModel = field(init=False)
    _seconds: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._parameters = trainable(self.objective.module)
        self._optimiser = optimiser_for(self.objective.module, self.recipe.optimiser)
        self._average = average_of(self._parameters.values(), decay=self.recipe.ema_decay)
        source = self.resume_from or self.path
        if source is not None and source.exists():
            self._resume(source)

    @property
    def average(self) -> AveragedModel:
        """The moving average of the trained parameters, for kit.training.ema.averaged_weights."""
        return self._average

    @property
    def num_updates(self) -> int:
        """Of the whole run: groups x N_sup, as the learning rate's schedule counts them."""
        return self.recipe.num_groups * self.objective.num_supervision

    def run(self) -> bool:
        """Train until all groups are done or `should_stop`; says whether all are done.

        Raises: TrainingError naming the group whose loss or gradient was not finite, before it changes a weight;
            StorageError. Either leaves the last checkpoint as it was.
        """
        begun = time.monotonic() - self._seconds
        saved_s = self._seconds
        while self.num_groups_done < self.recipe.num_groups and not self._is_asked_to_stop():
            self._train_group(begun)
            self.num_groups_done += 1
            self._seconds = time.monotonic() - begun
            if self.num_groups_done % self.recipe.save_every == 0 or self._seconds - saved_s >= SAVED_WITHIN_S:
                self.save()
                saved_s = self._seconds
        self.save()
        return self.num_groups_done >= self.recipe.num_groups

    @property
    def seconds(self) -> float:
        """Of training, in all sessions."""
        return self._seconds

    @property
    def _device(self) -> torch.device:
        return next(iter(self._parameters.values())).device

    def _is_asked_to_stop(self) -> bool:
        """Whether one of the processes is: they stop together, or those that go on would wait for the others."""
        asked = torch.tensor([float(self.should_stop())], device=self._device)
        self.workers.add_up([asked])
        return bool(asked)

    def save(self) -> None:
        """Write the checkpoint, if this process is the one that writes.

        Raises: StorageError.
        """
        if self.path is not None and self.workers.rank == 0:
            checkpoint.save(self.path, self.state())

    def state(self) -> dict[str, Any]:
        """All that a checkpoint holds."""
        return {
            "fingerprint": self.recipe.fingerprint,
            "num_groups_done": self.num_groups_done,
            "seconds": self._seconds,
            "weights": {name: parameter.detach() for name, parameter in self._parameters.items()},
            "optimiser": self._optimiser.state_dict(),
            "average": self._average.state_dict(),
            "objective": self.objective.state_dict(),
            "random": checkpoint.random_state(),
        }

    def _train_group(self, begun: float) -> None:
        batches = self.batches(self.num_groups_done)
        carries: list[Any] = [None] * len(batches)
        for step in range(self.objective.num_supervision):
            number = self.num_groups_done * self.objective.num_supervision + step
            rate = learning_rate_at(number, self.num_updates, self.recipe.optimiser)
            set_learning_rate(self._optimiser, rate)
            sums = self._accumulate(batches, carries, number)
            norm = self._apply(sums)
            means = {name: float(total / of) for name, (total, of) in sums.items() if of}
            self.objective.observe(means)
            self.tell(
                Update(
                    number=number,
                    num_updates=self.num_updates,
                    step=step,
                    loss=means.pop("loss"),
                    num_tokens=int(sums["loss"].number),
                    grad_norm=norm,
                    learning_rate=rate,
                    seconds=time.monotonic() - begun,
                    means=means,
                )
            )

    def _accumulate(self, batches: Sequence[BatchT], carries: list[Any], number: int) -> dict[str, TokenSum]:
        """Gradients of the summed loss of all batches of all processes; `carries` are moved on."""
        sums: dict[str, list[TokenSum]] = defaultdict(list)
        for index, batch in enumerate(batches):
            with self.workers.autocast():
                loss = self.objective.loss(batch, carries[index], random.Random(f"{self.recipe.seed}/{number}"))
            loss.answer.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            carries[index] = loss.carry
            for name, each in {"loss": loss.answer, **loss.measured}.items():
                sums[name].append(TokenSum(each.total.detach(), each.number))
        names = self.workers.all_names(sums)
        table_M2 = torch.stack([_added(sums[name], self._device) for name in names])
        self.workers.add_up([table_M2, *(p.grad for p in self._parameters.values() if p.grad is not None)])
        return {name: TokenSum(*table_M2[row]) for row, name in enumerate(names)}

    def _apply(self, sums: Mapping[str, TokenSum]) -> float:
        """One optimiser step from the accumulated gradients; the gradient's norm."""
        num_tokens = float(sums["loss"].number)
        if not num_tokens:
            raise InputError(f"no token of {self._where()} has a target; the answers do not fit into the batch")
        parameters = self._parameters.values()
        clip = self.recipe.optimiser.max_grad_norm
        norm = float(scale_and_clip(parameters, factor=1 / num_tokens, max_norm=clip))
        if not (math.isfinite(norm) and math.isfinite(float(sums["loss"].total))):
            raise TrainingError(
                f"the loss of {self._where()} is {float(sums['loss'].total) / num_tokens}, its gradient's norm {norm}; "
                "the weights are those before it: resume with a lower learning rate, or look at that batch"
            )
        self._optimiser.step()
        self._optimiser.zero_grad()
        self._average.update_parameters(collected(parameters))
        return norm

    def _where(self) -> str:
        return f"group {self.num_groups_done} of {self.recipe.num_groups}"

    def _resume(self, path: Path) -> None:
        state = checkpoint.load(path)
        if state.get("fingerprint") != self.recipe.fingerprint or state["weights"].keys() != self._parameters.keys():
            raise InputError(
                f"{path} is of another run: its model, data or settings differ from what was asked for; name another "
                "folder, or remove the file to begin anew"
            )
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(state["weights"][name])
        self._optimiser.load_state_dict(state["optimiser"])
        self._average.load_state_dict(state["average"])
        self.objective.load_state_dict(state["objective"])
        checkpoint.restore_random_state(state["random"])
        self.num_groups_done, self._seconds = state["num_groups_done"], state["seconds"]


def _added(sums: Sequence[TokenSum], device: torch.device) -> Tensor:
    """Total and count in float64, so that no count of tokens is rounded; 0 and 0 where nothing was measured."""
    nothing = torch.zeros(2, dtype=torch.float64, device=device)
    return torch.stack([nothing, *(torch.stack([s.total.double(), s.number.double()]) for s in sums)]).sum(0)
