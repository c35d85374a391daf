"""The arms of benchmarks.recursion_toy: a TRM and its variants, and baselines with as many trained parameters.

In: a bench (a task and its frozen backbone), a seed, a learning rate. Out: logits by depth, and what it took.
Everything trains on difficulties up to TRAINED; the recursing arms are told intermediate results up to LABELLED.

Letters: see kit.training.recursive.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen2ForCausalLM

from benchmarks.recursion_toy_backbone import draw, language_batch, new_backbone, train
from kit.training.depth_schedule import Curriculum, DepthSchedule, UniformDepth
from kit.training.depth_task import DepthTask, Tables
from kit.training.language import LanguageObjective
from kit.training.loop import LoopRecipe, Loss
from kit.training.objective import IGNORED
from kit.training.optimiser import OptimiserRecipe, trainable
from kit.training.recursive import (
    RecursiveBatch,
    RecursiveObjective,
    RecursiveWeights,
    answering,
    at_columns,
    iterates,
    joined,
)
from kit.trm.attention import AnchorReader, anchors, rotations
from kit.trm.cache import Slots
from kit.trm.config import TRMConfig
from kit.trm.layers import Net
from kit.trm.model import TinyRecursiveModel
from kit.trm.recursion import State

TRAINED = 6  # steps; of more nothing but the backbone has seen any
LABELLED = 3  # steps; up to it the recursing arms are told every intermediate result, beyond it the answer alone
WIDE = UniformDepth(least=6, most=10)
DEPTHS = (0, 1, 2, 3, 5, 8, 10, 16, 32)
RATES = (1e-3, 3e-3, 1e-2)  # tried by each baseline, on the first seed, for a sixth of the updates


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all arms share. small: the task with few pairs a row and few steps, where the first hop forms sooner."""

    task: DepthTask
    small: DepthTask
    backbone: Qwen2ForCausalLM


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


Arm = Callable[[Bench, Run], Trained]


# --- baselines --------------------------------------------------------------------------------


def fine_tune(bench: Bench, run: Run) -> Trained:
    model = _copied(bench)
    model.model.layers[-1].requires_grad_(True)
    return _train_language(bench, model, model, run)


def added_layer(bench: Bench, run: Run) -> Trained:
    """One more layer of the backbone's kind behind its last, which changes nothing until trained."""
    torch.manual_seed(run.seed)
    model = new_backbone(bench.task, num_layers=3)
    added = model.model.layers[-1]
    for parameter in added.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)  # as the TRM's; the default 0.02 is for widths
    model.load_state_dict(bench.backbone.state_dict(), strict=False)
    model.requires_grad_(False)
    added.requires_grad_(True)
    nn.init.zeros_(added.self_attn.o_proj.weight)
    nn.init.zeros_(added.mlp.down_proj.weight)
    return _train_language(bench, model, model, run)


def lora(bench: Bench, run: Run) -> Trained:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(run.seed)
    config = LoraConfig(r=18, lora_alpha=36, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped = get_peft_model(_copied(bench), config)
    return _train_language(bench, wrapped, wrapped.get_base_model(), run)


def one_step(bench: Bench, run: Run) -> Trained:
    """The TRM's own block, applied once: the same parameters without recursion."""
    stage = Stage(name="one", depths=UniformDepth(least=1, most=1), rate=run.rate, num_updates=run.num_updates,
                  targets=answer_targets, decay_share=0.25)  # fmt: skip
    return run_stages(bench, new_trm(bench, run.seed), run, [stage], depths=(0, 1))


# --- recursing arms ---------------------------------------------------------------------------


def trm(bench: Bench, run: Run) -> Trained:
    """Step labels for k <= LABELLED, then answers alone; a curriculum on T, then on k."""
    return run_stages(bench, new_trm(bench, run.seed), run, stages_of(run))


def trm_step_labels(bench: Bench, run: Run) -> Trained:
    """Step labels for all k: what the baselines cannot use."""
    hops = Stage(name="hops", depths=curriculum(TRAINED), rate=run.rate, most=lambda: TRAINED, targets=step_targets)
    wide = Stage(name="wide", depths=WIDE, rate=run.rate / 2, num_updates=100, targets=step_targets, decay_share=1.0)
    return run_stages(bench, new_trm(bench, run.seed), run, [small_rows(run), hops, wide])


def untied(bench: Bench, run: Run) -> Trained:
    """A block of its own for each of ten recursions: the TRM's FLOPs and training, ten times its parameters."""
    torch.manual_seed(run.seed)
    model = UntiedRecursion(trm_config(bench.backbone), num_nets=10)
    return run_stages(bench, model, run, stages_of(run))


def trm_states(bench: Bench, run: Run) -> Trained:
    """The paper's own form: every column recurses, and attends to the others' states."""
    return run_stages(bench, new_trm(bench, run.seed, form="states"), run, stages_of(run))


def trm_token(bench: Bench, run: Run) -> Trained:
    """No attention: a token's recursion sees the token alone. Its SwiGLU is wider by as much."""
    model = new_trm(bench, run.seed, form="token", intermediate_size=160)
    return run_stages(bench, model, run, stages_of(run))


def truncated(bench: Bench, run: Run) -> Trained:
    """Gradients through the last four recursions alone."""
    return _variant(bench, run, weights=RecursiveWeights(with_grad=4))


def halting(bench: Bench, run: Run) -> Trained:
    """The halting head is trained beside the answer."""
    return _variant(bench, run, weights=RecursiveWeights(halting=0.5))


def random_start(bench: Bench, run: Run) -> Trained:
    """The first states have noise of their own RMS added, anew in each update."""
    return _variant(bench, run, start_noise=1.0)


def noisy_features(bench: Bench, run: Run) -> Trained:
    """x has noise of a fifth of its RMS added, anew in each update."""
    return _variant(bench, run, feature_noise=0.2)


def fixed_point(bench: Bench, run: Run) -> Trained:
    """Beside the loss, what y moves by in the last recursion, as a share of its length: 0 where it has settled."""
    return _variant(bench, run, settling=0.1)


def _variant(bench: Bench, run: Run, **changes: Any) -> Trained:
    return run_stages(bench, new_trm(bench, run.seed), run, stages_of(run), **changes)


ARMS: Mapping[str, tuple[Arm, Sequence[float]]] = {
    "TRM": (trm, (3e-3,)),
    "last layer fine-tuned": (fine_tune, RATES),
    "added layer": (added_layer, RATES),
    "LoRA": (lora, RATES),
    "TRM's block, T = 1": (one_step, RATES),
    "ten untied blocks": (untied, (3e-3,)),
    "TRM, form states": (trm_states, (3e-3,)),
    "TRM, form token": (trm_token, (3e-3,)),
    "TRM, all step labels": (trm_step_labels, (3e-3,)),
    "TRM, truncated gradient": (truncated, (3e-3,)),
    "TRM, halting head": (halting, (3e-3,)),
    "TRM, random start": (random_start, (3e-3,)),
    "TRM, noisy features": (noisy_features, (3e-3,)),
    "TRM, fixed-point penalty": (fixed_point, (3e-3,)),
}


class UntiedRecursion(TinyRecursiveModel):
    """As many nets as recursions; deeper than that the last one is applied again."""

    def __init__(self, config: TRMConfig, *, num_nets: int) -> None:
        super().__init__(config)
        self.later_nets = nn.ModuleList(Net(config) for _ in range(num_nets - 1))
        for module in self.later_nets.modules():
            self._init_weights(module)

    def reader_at(
        self, x_BTD: Tensor, position_BT: Tensor, columns_BK: Tensor, *, mask_BT: Tensor | None = None
    ) -> Any:
        first = super().reader_at(x_BTD, position_BT, columns_BK, mask_BT=mask_BT)
        assert isinstance(first, AnchorReader)
        rope = rotations(self.net, position_BT, head_dim=self.config.head_dim, base=self.config.rope_base)
        slots = Slots(None, self.config, first=0, depth=1, num_past=0)
        readers = {0: first}

        def apply(h_BKD: Tensor, application: int) -> Tensor:
            index = min(application // self.config.num_applications, len(self.later_nets))
            if index not in readers:
                net: Any = self.later_nets[index - 1]
                readers[index] = replace(first, net=net, memory_L=anchors(net, x_BTD, rope, slots))
            return readers[index](h_BKD, application)

        return apply


# --- training ---------------------------------------------------------------------------------


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
        if self.settling:
            last_two: list[State] = list(iterates(self.trm, batch, depth=self.depths.draw(rng)))[-2:]
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
    **variation: float,
) -> Trained:
    num_done = 0
    for stage in stages:
        objective = VariedObjective(
            trm=model, lm_head=bench.backbone.lm_head, depths=stage.depths, weights=weights, **variation
        )

        def batches(number: int, stage: Stage = stage) -> list[RecursiveBatch]:
            task = bench.small if stage.is_small else bench.task
            tables = draw(task, f"{run.seed}/{stage.name}/{number}", most_steps=stage.most())
            return [recursive_batch(bench.backbone, tables, stage.targets(tables))]

        optimiser = OptimiserRecipe(learning_rate=stage.rate, weight_decay=0.01, decay_share=stage.decay_share)
        recipe = LoopRecipe(
            num_groups=stage.num_updates, optimiser=optimiser, ema_decay=0.99, save_every=50, seed=run.seed
        )
        path = run.folder / f"{stage.name}.pt"
        num_done += train(objective, batches, recipe, path, is_over=stage.is_over, ends=stage is stages[-1])

    @torch.no_grad()
    def logits(tables: Tables) -> dict[int, Tensor]:
        batch = recursive_batch(bench.backbone, tables, tables.images_SBK)
        base_BKD = at_columns(batch.base_BTD, batch.columns_BK)
        by_depth = {0: bench.backbone.lm_head(base_BKD)}
        for number, state in enumerate(iterates(model, batch, depth=max(depths)), 1):
            if number in depths:
                by_depth[number] = bench.backbone.lm_head(joined(model, base_BKD, answering(model, batch, state)))
        return by_depth

    return Trained(logits=logits, num_parameters=count(model), num_updates=num_done)


def _train_language(bench: Bench, module: nn.Module, model: Qwen2ForCausalLM, run: Run) -> Trained:
    objective = LanguageObjective(module=module, language_model=model)
    recipe = LoopRecipe(
        num_groups=run.num_updates,
        optimiser=OptimiserRecipe(learning_rate=run.rate, weight_decay=0.01),
        ema_decay=0.99,
        save_every=50,
        seed=run.seed,
    )
    train(
        objective,
        lambda number: [language_batch(draw(bench.task, f"{run.seed}/wide/{number}", most_steps=TRAINED))],
        recipe,
        run.folder / "model.pt",
    )

    @torch.no_grad()
    def logits(tables: Tables) -> dict[int, Tensor]:
        return {-1: objective.logits(language_batch(tables))}

    return Trained(logits=logits, num_parameters=count(module), num_updates=run.num_updates)


# --- models and data --------------------------------------------------------------------------


def trm_config(backbone: Qwen2ForCausalLM, **changes: Any) -> TRMConfig:
    sizes = {"intermediate_size": 72, "num_layers": 1, "num_latent": 1, "feature_layers": (0, 1, -1)}
    return TRMConfig.for_backbone(backbone.config, **{**sizes, **changes})


def new_trm(bench: Bench, seed: int, **changes: Any) -> TinyRecursiveModel:
    torch.manual_seed(seed)
    return TinyRecursiveModel(trm_config(bench.backbone, **changes))


def _copied(bench: Bench) -> Qwen2ForCausalLM:
    model = new_backbone(bench.task)
    model.load_state_dict(bench.backbone.state_dict())
    return model.requires_grad_(False)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in trainable(module).values())


@torch.no_grad()
def recursive_batch(backbone: Qwen2ForCausalLM, tables: Tables, targets_SBK: Tensor) -> RecursiveBatch:
    hidden = backbone.model(input_ids=tables.ids_BT, output_hidden_states=True, use_cache=False).hidden_states
    return RecursiveBatch(
        hidden_LBTD=tuple(hidden),
        base_BTD=hidden[-1],
        position_BT=torch.arange(tables.ids_BT.shape[1]).expand(tables.ids_BT.shape),
        columns_BK=tables.columns_BK,
        targets_SBK=targets_SBK,
        num_steps_BK=tables.num_steps_BK,
    )


def step_targets(tables: Tables) -> Tensor:
    """f^r(s) of recursion r, and the answer from r = k on."""
    numbers_S11 = torch.arange(1, len(tables.images_SBK) + 1)[:, None, None]
    return torch.where(numbers_S11 < tables.num_steps_BK, tables.images_SBK, tables.answers)


def late_answer_targets(tables: Tables) -> Tensor:
    """The answer of recursion r >= k; none before."""
    numbers_S11 = torch.arange(1, len(tables.images_SBK) + 1)[:, None, None]
    return torch.where(numbers_S11 < tables.num_steps_BK, IGNORED, tables.answers)


def answer_targets(tables: Tables) -> Tensor:
    """The answer of every recursion."""
    return tables.answers[None]
