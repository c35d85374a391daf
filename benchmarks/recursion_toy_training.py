"""How the arms of benchmarks.recursion_toy that recurse are trained: in stages, by deep supervision on every iterate.

In: a bench (a task and its frozen backbone), a TRM, stages. Out: logits by depth, and what it took. Everything trains
on difficulties up to TRAINED; intermediate results are told up to LABELLED.

Letters: see kit.training.recursive.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import Qwen2ForCausalLM

from benchmarks.recursion_toy_backbone import NUM_ROWS, draw, train
from kit.training.depth_schedule import Curriculum, DepthSchedule, UniformDepth
from kit.training.depth_task import DepthTask, Tables
from kit.training.loop import LoopRecipe, Loss
from kit.training.objective import IGNORED
from kit.training.optimiser import OptimiserRecipe, trainable
from kit.training.recursive import (
    RecursiveBatch,
    RecursiveObjective,
    RecursiveWeights,
    iterates,
    logits_by_depth,
)
from kit.trm.config import TRMConfig
from kit.trm.model import TinyRecursiveModel
from kit.trm.recursion import State

TRAINED = 6  # steps; of more nothing but the backbone has seen any
LABELLED = 3  # steps; up to it the recursing arms are told every intermediate result, beyond it the answer alone
WIDE = UniformDepth(least=6, most=10)
DEPTHS = (0, 1, 2, 3, 5, 8, 10, 16, 32)
NUM_TEST_ROWS = 128


class Bench(Protocol):
    """What all arms share: a task and a frozen backbone. Its small rows have few pairs: the first hop forms sooner."""

    @property
    def lm_head(self) -> Callable[[Tensor], Tensor]:
        """The backbone's, frozen."""
        ...

    def draw(self, name: str, *, most_steps: int, is_small: bool = False) -> Tables:
        """A batch to train on; `name` seeds it."""
        ...

    def held_out(self, *, test: bool) -> Tables:
        """What an arm is measured on: with more steps than any in training, or unseen draws of training's kind."""
        ...

    def recursive_batch(self, tables: Tables, targets_SBK: Tensor) -> RecursiveBatch:
        """Its hidden states of such rows."""
        ...

    def new_trm(self, seed: int, **changes: Any) -> TinyRecursiveModel:
        """changes: of its config."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyBench:
    """See Bench; the backbone is tiny, and runs in each update."""

    task: DepthTask
    small: DepthTask
    backbone: Qwen2ForCausalLM

    @property
    def lm_head(self) -> Callable[[Tensor], Tensor]:
        head: Callable[[Tensor], Tensor] = self.backbone.lm_head
        return head

    def draw(self, name: str, *, most_steps: int, is_small: bool = False) -> Tables:
        return draw(self.small if is_small else self.task, name, most_steps=most_steps, num_rows=NUM_ROWS)

    def held_out(self, *, test: bool) -> Tables:
        name, most_steps = ("test" if test else "validation"), self.task.max_steps
        return self.task.draw(name, num_rows=NUM_TEST_ROWS, least_steps=1, most_steps=most_steps, test=test)

    @torch.no_grad()
    def recursive_batch(self, tables: Tables, targets_SBK: Tensor) -> RecursiveBatch:
        output = self.backbone.model(input_ids=tables.ids_BT, output_hidden_states=True, use_cache=False)
        return tables.batch(output.hidden_states, targets_SBK)

    def new_trm(self, seed: int, **changes: Any) -> TinyRecursiveModel:
        torch.manual_seed(seed)
        return TinyRecursiveModel(trm_config(self.backbone, **changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of an arm: num_updates of a baseline; a recursing arm stops its stages by itself."""

    seed: int
    rate: float
    num_updates: int
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What an arm has become: logits_TBKV of some tables by depth (-1: none), its parameters, its updates."""

    logits: Callable[[Tables], Mapping[int, Tensor]]
    num_parameters: int
    num_updates: int


Targets = Callable[[Tables], Tensor]
ALL_OF_IT = RecursiveWeights()  # gradients through all recursions, no other loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Part of a recursing arm's training: a curriculum, until it is over, or so many updates.

    most: difficulties of its queries; asked anew for each batch. is_small: of the bench's small task.
    """

    name: str
    depths: DepthSchedule
    rate: float
    targets: Targets
    num_updates: int = 1500
    most: Callable[[], int] = lambda: TRAINED
    decay_share: float = 0.0
    is_small: bool = False

    def is_over(self) -> bool:
        return isinstance(self.depths, Curriculum) and self.depths.is_over


def curriculum(last: int) -> Curriculum:
    """One hop more at a time; each is to be right in 95 of 100 before the next, since errors multiply."""
    return Curriculum(first=1, last=last, measures=("reached/{t}", "held/{t}"), threshold=0.95, afterwards=WIDE)


def stages_of(run: Run) -> list[Stage]:
    """Hops with step labels up to LABELLED, held for a while; answers alone, one step more at a time; wide depths."""
    answers = Curriculum(
        first=LABELLED + 1, last=TRAINED, spread=2, measures=("solved/{t}",), threshold=0.8, afterwards=WIDE
    )
    hold = UniformDepth(least=LABELLED, most=TRAINED)
    return [
        small_rows(run),
        Stage(name="hops", depths=curriculum(LABELLED), rate=run.rate, most=lambda: LABELLED, targets=step_targets),
        Stage(name="hold", depths=hold, rate=run.rate, num_updates=50, most=lambda: LABELLED, targets=step_targets),
        Stage(name="answers", depths=answers, rate=run.rate * 2 / 3, most=lambda: min(answers.stage, TRAINED),
              targets=late_answer_targets),
        Stage(name="wide", depths=WIDE, rate=run.rate / 2, num_updates=100, targets=late_answer_targets,
              decay_share=1.0),
    ]  # fmt: skip


def small_rows(run: Run) -> Stage:
    """The first two hops among few pairs: with all pairs this plateau alone takes several times as long."""
    return Stage(name="small", depths=curriculum(2), rate=run.rate, most=lambda: LABELLED, targets=step_targets,
                 is_small=True)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class VariedObjective(RecursiveObjective):
    """What was tried beside the recipe, each 0 where it is not; see the arms."""

    start_noise: float = 0.0
    feature_noise: float = 0.0
    settling: float = 0.0

    def loss(self, batch: RecursiveBatch, carry: State | None, rng: random.Random) -> Loss:
        generator = torch.Generator().manual_seed(rng.getrandbits(60))
        if self.feature_noise:
            noisy = tuple(_noised(hidden, self.feature_noise, generator) for hidden in batch.hidden_LBTD)
            batch = replace(batch, hidden_LBTD=noisy)
        if self.start_noise:
            first = self.trm.initial_state(*batch.columns_BK.shape)
            carry = State(*(_noised(each, self.start_noise, generator) for each in first))
        loss = RecursiveObjective.loss(self, batch, carry, rng)
        depth = self.depths.draw(rng) if self.settling else 1
        if depth > 1:  # one recursion alone has settled nowhere
            last_two: list[State] = list(iterates(self.trm, batch, depth=depth))[-2:]
            before, after = (state.y for state in last_two)
            moved_BK = (after - before).square().mean(-1) / before.detach().square().mean(-1)
            loss = replace(loss, answer=loss.answer._replace(total=loss.answer.total + self.settling * moved_BK.sum()))
        return loss


def _noised(tensor: Tensor, share: float, generator: torch.Generator) -> Tensor:
    rms = tensor.detach().square().mean(-1, keepdim=True).sqrt()
    return tensor + share * rms * torch.randn(tensor.shape, generator=generator)


def run_stages(
    bench: Bench,
    model: TinyRecursiveModel,
    run: Run,
    stages: Sequence[Stage],
    *,
    depths: Sequence[int] = DEPTHS,
    weights: RecursiveWeights = ALL_OF_IT,
    **variation: Any,  # of VariedObjective
) -> Trained:
    num_done = 0
    for stage in stages:
        objective = VariedObjective(trm=model, lm_head=bench.lm_head, depths=stage.depths, weights=weights, **variation)

        def batches(number: int, stage: Stage = stage) -> list[RecursiveBatch]:
            name = f"{run.seed}/{stage.name}/{number}"
            tables = bench.draw(name, most_steps=stage.most(), is_small=stage.is_small)
            return [bench.recursive_batch(tables, stage.targets(tables))]

        optimiser = OptimiserRecipe(learning_rate=stage.rate, weight_decay=0.01, decay_share=stage.decay_share)
        recipe = LoopRecipe(
            num_groups=stage.num_updates, optimiser=optimiser, ema_decay=0.99, save_every=50, seed=run.seed
        )
        path = run.folder / f"{stage.name}.pt"
        num_done += train(objective, batches, recipe, path, is_over=stage.is_over, ends=stage is stages[-1])

    def logits(tables: Tables) -> dict[int, Tensor]:
        batch = bench.recursive_batch(tables, tables.images_SBK)
        return logits_by_depth(model, batch, bench.lm_head, {0, *depths})

    return Trained(logits=logits, num_parameters=count(model), num_updates=num_done)


def trm_config(backbone: Qwen2ForCausalLM, **changes: Any) -> TRMConfig:
    sizes = {"intermediate_size": 72, "num_layers": 1, "num_latent": 1, "feature_layers": (0, 1, -1)}
    return TRMConfig.for_backbone(backbone.config, **{**sizes, **changes})


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in trainable(module).values())


def step_targets(tables: Tables) -> Tensor:
    """f^r(s) of recursion r, and the answer from r = k on."""
    return tables.step_targets


def late_answer_targets(tables: Tables) -> Tensor:
    """The answer of recursion r >= k; none before."""
    return torch.where(tables.is_before, IGNORED, tables.answers)


def answer_targets(tables: Tables) -> Tensor:
    """The answer of every recursion."""
    return tables.answers[None]
