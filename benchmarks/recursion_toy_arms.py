"""The arms of benchmarks.recursion_toy: a TRM and its variants, and baselines with as many trained parameters.

In: a bench and a run (seed, learning rate, folder). Out: logits by depth, and what it took.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import Qwen2ForCausalLM

from benchmarks.recursion_toy_backbone import language_batch, new_backbone, train
from benchmarks.recursion_toy_training import (
    LABELLED,
    TRAINED,
    WIDE,
    Bench,
    Run,
    Stage,
    ToyBench,
    Trained,
    answer_targets,
    count,
    curriculum,
    run_stages,
    small_rows,
    stages_of,
    step_targets,
    trm_config,
)
from kit.training.depth_schedule import UniformDepth
from kit.training.depth_task import Tables
from kit.training.language import LanguageObjective
from kit.training.loop import LoopRecipe
from kit.training.optimiser import OptimiserRecipe
from kit.training.recursive import RecursiveWeights
from kit.trm.attention import AnchorReader, anchors, rotations
from kit.trm.cache import Slots
from kit.trm.config import TRMConfig
from kit.trm.layers import Net
from kit.trm.model import TinyRecursiveModel

RATES = (3e-4, 1e-3, 3e-3, 1e-2)  # tried by each baseline, on the first seed, for a sixth of the updates

Arm = Callable[[ToyBench, Run], Trained]


# --- baselines --------------------------------------------------------------------------------


def fine_tune(bench: ToyBench, run: Run) -> Trained:
    model = _copied(bench)
    model.model.layers[-1].requires_grad_(True)
    return _train_language(bench, model, model, run)


def added_layer(bench: ToyBench, run: Run) -> Trained:
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


def lora(bench: ToyBench, run: Run) -> Trained:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(run.seed)
    config = LoraConfig(r=18, lora_alpha=36, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped = get_peft_model(_copied(bench), config)
    return _train_language(bench, wrapped, wrapped.get_base_model(), run)


def one_step(bench: Bench, run: Run) -> Trained:
    """The TRM's own block, applied once: the same parameters without recursion."""
    stages = [_once(phase, run) for phase in phases(run.num_updates)]
    return run_stages(bench, bench.new_trm(run.seed), run, stages, depths=(0, 1))


def _once(phase: Phase, run: Run) -> Stage:
    is_last = phase.updates.stop == run.num_updates
    return Stage(name=phase.name, depths=UniformDepth(least=1, most=1), rate=run.rate, targets=answer_targets,
                 num_updates=len(phase.updates), most=lambda: phase.most, is_small=phase.is_small,
                 decay_share=0.5 if is_last else 0.0)  # fmt: skip


class Phase(NamedTuple):
    """Part of a baseline's training. most: steps of its queries. is_small: on the bench's small task."""

    name: str
    updates: range
    most: int
    is_small: bool = False


def phases(num_updates: int) -> tuple[Phase, ...]:
    """A baseline's curriculum: short rows for a quarter of its updates, easy queries for a quarter, then all."""
    quarter = num_updates // 4
    return (
        Phase("small", range(quarter), LABELLED, is_small=True),
        Phase("easy", range(quarter, 2 * quarter), LABELLED),
        Phase("all", range(2 * quarter, num_updates), TRAINED),
    )


def eased(bench: Bench, run: Run, number: int) -> Tables:
    """What a baseline that is a language model sees in this update."""
    (phase,) = (each for each in phases(run.num_updates) if number in each.updates)
    return bench.draw(f"{run.seed}/eased/{number}", most_steps=phase.most, is_small=phase.is_small)


def language_recipe(run: Run) -> LoopRecipe:
    """Of a baseline that is a language model."""
    return LoopRecipe(
        num_groups=run.num_updates,
        optimiser=OptimiserRecipe(learning_rate=run.rate, weight_decay=0.01),
        ema_decay=0.99,
        save_every=50,
        seed=run.seed,
    )


def _train_language(bench: ToyBench, module: nn.Module, model: Qwen2ForCausalLM, run: Run) -> Trained:
    objective = LanguageObjective(module=module, language_model=model)
    train(
        objective,
        lambda number: [language_batch(eased(bench, run, number))],
        language_recipe(run),
        run.folder / "model.pt",
    )

    @torch.no_grad()
    def logits(tables: Tables) -> dict[int, Tensor]:
        return {-1: objective.logits(language_batch(tables))}

    return Trained(logits=logits, num_parameters=count(module), num_updates=run.num_updates)


def _copied(bench: ToyBench) -> Qwen2ForCausalLM:
    model = new_backbone(bench.task)
    model.load_state_dict(bench.backbone.state_dict())
    return model.requires_grad_(False)


# --- recursing arms ---------------------------------------------------------------------------


def trm(bench: Bench, run: Run) -> Trained:
    """Step labels for k <= LABELLED, then answers alone; a curriculum on T, then on k."""
    return run_stages(bench, bench.new_trm(run.seed), run, stages_of(run))


def trm_step_labels(bench: Bench, run: Run) -> Trained:
    """Step labels for all k: what the baselines cannot use."""
    hops = Stage(name="hops", depths=curriculum(TRAINED), rate=run.rate, most=lambda: TRAINED, targets=step_targets)
    wide = Stage(name="wide", depths=WIDE, rate=run.rate / 2, num_updates=100, targets=step_targets, decay_share=1.0)
    return run_stages(bench, bench.new_trm(run.seed), run, [small_rows(run), hops, wide])


def untied(bench: ToyBench, run: Run) -> Trained:
    """A block of its own for each of ten recursions: the TRM's FLOPs and training, ten times its parameters."""
    torch.manual_seed(run.seed)
    model = UntiedRecursion(trm_config(bench.backbone), num_nets=10)
    return run_stages(bench, model, run, stages_of(run))


def trm_states(bench: Bench, run: Run) -> Trained:
    """The paper's own form: every column recurses, and attends to the others' states."""
    return run_stages(bench, bench.new_trm(run.seed, form="states"), run, stages_of(run))


def trm_token(bench: Bench, run: Run) -> Trained:
    """No attention: a token's recursion sees the token alone. Its SwiGLU is wider by as much."""
    model = bench.new_trm(run.seed, form="token", intermediate_size=160)
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
    return run_stages(bench, bench.new_trm(run.seed), run, stages_of(run), **changes)


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

    def reader_at(self, x_BTD: Tensor, position_BT: Tensor, columns_BK: Tensor, **masks: Tensor | None) -> Any:
        first = super().reader_at(x_BTD, position_BT, columns_BK, **masks)
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
