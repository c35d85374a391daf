"""Does recursion pay where depth is known? A TRM against baselines with as many trained parameters, on `table`.

A tiny language model that has seen all difficulties is frozen. Every arm then trains on the same task up to TRAINED
steps; all are tested on unseen cycles, by the number of steps k and, where there is one, by the depth T. Each arm and
seed is one line of JSON in the folder; whatever is there is not run again, and a run that was killed goes on.

    python -m benchmarks.recursion_toy --folder out/toy     # the table so far is printed after each run

benchmarks.recursion_toy_report draws the picture.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from benchmarks.recursion_toy_report import read, table
from kit.training.depth_schedule import Curriculum, DepthSchedule, UniformDepth
from kit.training.depth_task import Tables, TableTask
from kit.training.ema import averaged_weights
from kit.training.language import LanguageBatch, LanguageObjective
from kit.training.loop import LoopRecipe, Objective, Training, Update
from kit.training.objective import IGNORED
from kit.training.optimiser import OptimiserRecipe, trainable
from kit.training.recursive import RecursiveBatch, RecursiveObjective, at_columns, iterates, joined
from kit.training.tiny.model import machine
from kit.trm.attention import AnchorReader, anchors, rotations
from kit.trm.cache import Slots
from kit.trm.config import TRMConfig
from kit.trm.layers import Net
from kit.trm.model import TinyRecursiveModel

TASK = TableTask()
TRAINED = 6  # steps; beyond it nothing but the backbone was trained
LABELLED = 3  # steps; up to it the recursing arms are told every intermediate result, beyond it the answer alone
DEPTHS = (0, 1, 2, 3, 5, 8, 10, 16)
NUM_ROWS = 16  # of a batch: 256 queries
NUM_UPDATES = 2800  # of a baseline; about as many as a recursing arm takes until its stages are over
NUM_TEST_ROWS = 512
SEEDS = (1, 2, 3)
RATES = (1e-3, 3e-3, 1e-2)  # tried by each baseline, on the first seed, for a sixth of the updates


# --- the backbone -----------------------------------------------------------------------------


def new_backbone(num_layers: int = 2) -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=TASK.vocab_size,
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=num_layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=TASK.num_columns,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    return Qwen2ForCausalLM(config)


def train_backbone(folder: Path) -> Qwen2ForCausalLM:
    """Trained on k = 1, then on all k with k = 1 in half of the rows, or loaded where that was done before."""
    torch.manual_seed(0)
    model = new_backbone()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(5)  # 0.02, the default, is for widths of thousands
    objective = LanguageObjective(module=model, language_model=model)

    def easy(number: int) -> list[LanguageBatch]:
        return [backbone_batch(draw("backbone", number, most_steps=1), NUM_ROWS)]

    def mixed(number: int) -> list[LanguageBatch]:
        most_steps = (1, TASK.max_steps)
        return [backbone_batch(draw("mixed", number, most_steps=most), NUM_ROWS // 2) for most in most_steps]

    stages: list[tuple[str, Any, Any, int]] = [("easy", easy, "constant", 1600), ("mixed", mixed, "linear", 900)]
    for name, batches, decay, num_updates in stages:
        optimiser = OptimiserRecipe(
            learning_rate=3e-3, weight_decay=0.01, warmup_updates=100, decay=decay, decay_share=1.0
        )
        recipe = LoopRecipe(num_groups=num_updates, optimiser=optimiser, ema_decay=0.99, save_every=200)
        train(objective, batches, recipe, folder / f"backbone-{name}.pt")
    return model.eval().requires_grad_(False)


def backbone_batch(tables: Tables, num_rows: int) -> LanguageBatch:
    """The first rows; beside the answers each f(a) of the table is asked for the token before it.

    Without that the two attention steps of a look-up take some 3,000 updates to form, with it some 400; a language
    model's features tell of the tokens before anyway.
    """
    ids_BT = tables.ids_BT[:num_rows]
    images_P = torch.arange(1, 2 * TASK.num_symbols, 2)
    columns_BP = images_P.expand(len(ids_BT), -1)
    return LanguageBatch(
        ids_BT=ids_BT,
        columns_BK=torch.cat([columns_BP, tables.columns_BK[:num_rows]], 1),
        targets_BK=torch.cat([ids_BT[:, images_P - 1], tables.answers[:num_rows]], 1),
    )


# --- arms -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What an arm has become: logits_TBKV of some tables by depth, its parameters, and how long it took."""

    logits: Callable[[Tables], Mapping[int, Tensor]]
    num_parameters: int
    num_updates: int


Arm = Callable[[Qwen2ForCausalLM, int, float, int, Path], Trained]


def fine_tune(backbone: Qwen2ForCausalLM, seed: int, rate: float, num_updates: int, folder: Path) -> Trained:
    model = copied(backbone)
    model.model.layers[-1].requires_grad_(True)
    return train_language(model, model, seed, rate, num_updates, folder)


def added_layer(backbone: Qwen2ForCausalLM, seed: int, rate: float, num_updates: int, folder: Path) -> Trained:
    """One more layer of the backbone's kind behind its last, which changes nothing until trained."""
    torch.manual_seed(seed)
    model = new_backbone(num_layers=3)
    model.load_state_dict(backbone.state_dict(), strict=False)
    model.requires_grad_(False)
    layer = model.model.layers[-1].requires_grad_(True)
    nn.init.zeros_(layer.self_attn.o_proj.weight)
    nn.init.zeros_(layer.mlp.down_proj.weight)
    return train_language(model, model, seed, rate, num_updates, folder)


def lora(backbone: Qwen2ForCausalLM, seed: int, rate: float, num_updates: int, folder: Path) -> Trained:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=21, lora_alpha=42, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped = get_peft_model(copied(backbone), config)
    return train_language(wrapped, wrapped.get_base_model(), seed, rate, num_updates, folder)


def trm(backbone: Qwen2ForCausalLM, seed: int, rate: float, num_updates: int, folder: Path) -> Trained:
    """Step labels for k <= LABELLED, then answers alone; a curriculum on T, then on k."""
    return train_recursion(backbone, new_trm(backbone, seed), seed, rate, num_updates, folder)


def trm_step_labels(backbone: Qwen2ForCausalLM, seed: int, rate: float, num_updates: int, folder: Path) -> Trained:
    """Step labels for all k: what the baselines cannot use."""
    model = new_trm(backbone, seed)
    curriculum = Curriculum(
        first=1, last=TRAINED, measures=("reached/{t}", "held/{t}"), afterwards=UniformDepth(least=6, most=10)
    )
    stage = Stage(name="labels", rate=rate, num_updates=num_updates, least=1, most=lambda: TRAINED, decay="linear")
    return run_stages(backbone, model, seed, folder, [(stage, curriculum, step_targets)])


def one_step(backbone: Qwen2ForCausalLM, seed: int, rate: float, num_updates: int, folder: Path) -> Trained:
    """The TRM's own block, applied once: the same parameters without recursion."""
    stage = Stage(name="one", rate=rate, num_updates=num_updates, least=1, most=lambda: TRAINED, decay="linear")
    once = UniformDepth(least=1, most=1)
    return run_stages(backbone, new_trm(backbone, seed), seed, folder, [(stage, once, answer_targets)], depths=(0, 1))


def untied(backbone: Qwen2ForCausalLM, seed: int, rate: float, num_updates: int, folder: Path) -> Trained:
    """A block of its own for each of ten recursions: the TRM's FLOPs and training, ten times its parameters."""
    torch.manual_seed(seed)
    model = UntiedRecursion(trm_config(backbone), num_nets=10)
    return train_recursion(backbone, model, seed, rate, num_updates, folder)


ARMS: Mapping[str, tuple[Arm, Sequence[float]]] = {
    "last layer fine-tuned": (fine_tune, RATES),
    "added layer": (added_layer, RATES),
    "LoRA": (lora, RATES),
    "TRM": (trm, (3e-3,)),
    "TRM's block, T = 1": (one_step, RATES),
    "ten untied blocks": (untied, (3e-3,)),
    "TRM, all step labels": (trm_step_labels, (3e-3,)),
}
ORDER = ("TRM", "last layer fine-tuned", "added layer", "LoRA", "TRM's block, T = 1", "ten untied blocks",
         "TRM, all step labels")  # fmt: skip


class UntiedRecursion(TinyRecursiveModel):
    """As many nets as recursions; deeper than that the last one is applied again."""

    def __init__(self, config: TRMConfig, *, num_nets: int) -> None:
        super().__init__(config)
        self.later_nets = nn.ModuleList(Net(config) for _ in range(num_nets - 1))
        for module in self.later_nets.modules():
            self._init_weights(module)

    def reader_at(
        self,
        x_BTD: Tensor,
        position_BT: Tensor,
        columns_BK: Tensor,
        *,
        mask_BT: Tensor | None = None,
        visible_BKT: Tensor | None = None,
    ) -> Any:
        first = super().reader_at(x_BTD, position_BT, columns_BK, mask_BT=mask_BT, visible_BKT=visible_BKT)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Part of a recursing arm's training: queries of least…most steps; `most` is asked anew for each batch."""

    name: str
    rate: float
    num_updates: int
    least: int
    most: Callable[[], int]
    decay: Any = "constant"
    is_over: Callable[[], bool] = lambda: False


Targets = Callable[[Tables], Tensor]


def train_recursion(
    backbone: Qwen2ForCausalLM, model: TinyRecursiveModel, seed: int, rate: float, num_updates: int, folder: Path
) -> Trained:
    hops = Curriculum(
        first=1, last=LABELLED, measures=("reached/{t}", "held/{t}"), afterwards=UniformDepth(least=3, most=6)
    )
    num_wide = 0

    def hops_are_over() -> bool:
        """300 updates after the last hop: enough to hold the answer for longer than it takes."""
        nonlocal num_wide
        num_wide += hops.is_over
        return num_wide > 300

    answers = Curriculum(
        first=LABELLED + 1, last=TRAINED, spread=2, measures=("solved/{t}",), afterwards=UniformDepth(least=6, most=10)
    )
    wide = UniformDepth(least=6, most=10)
    last = 460
    stages: list[tuple[Stage, DepthSchedule, Targets]] = [
        (
            Stage(
                name="hops", rate=rate, num_updates=num_updates // 2, least=1, most=lambda: LABELLED,
                is_over=hops_are_over,
            ),
            hops, step_targets,
        ),
        (
            Stage(
                name="answers", rate=rate * 2 / 3, num_updates=num_updates // 2, least=1,
                most=lambda: min(answers.stage, TRAINED), is_over=lambda: answers.is_over,
            ),
            answers, late_answer_targets,
        ),
        (
            Stage(name="wide", rate=rate / 2, num_updates=last, least=1, most=lambda: TRAINED, decay="linear"),
            wide, late_answer_targets,
        ),
    ]  # fmt: skip
    return run_stages(backbone, model, seed, folder, stages)


def run_stages(
    backbone: Qwen2ForCausalLM,
    model: TinyRecursiveModel,
    seed: int,
    folder: Path,
    stages: Sequence[tuple[Stage, DepthSchedule, Targets]],
    *,
    depths: Sequence[int] = DEPTHS,
) -> Trained:
    num_done = 0
    for stage, schedule, targets in stages:
        objective = RecursiveObjective(trm=model, lm_head=backbone.lm_head, depths=schedule)

        def batches(number: int, stage: Stage = stage, targets: Targets = targets) -> list[RecursiveBatch]:
            tables = draw(f"{seed}/{stage.name}", number, least_steps=stage.least, most_steps=stage.most())
            return [recursive_batch(backbone, tables, targets(tables))]

        optimiser = OptimiserRecipe(
            learning_rate=stage.rate, weight_decay=0.01, decay=stage.decay,
            decay_share=1.0 if len(stages) > 1 else 0.25,
        )  # fmt: skip
        recipe = LoopRecipe(
            num_groups=stage.num_updates, optimiser=optimiser, ema_decay=0.99, save_every=100, seed=seed
        )
        path = folder / f"{stage.name}.pt"
        num_done += train(objective, batches, recipe, path, is_over=stage.is_over, ends=stage is stages[-1][0])

    @torch.no_grad()
    def logits(tables: Tables) -> dict[int, Tensor]:
        batch = recursive_batch(backbone, tables, tables.images_SBK)
        base_BKD = at_columns(batch.base_BTD, batch.columns_BK)
        by_depth = {0: backbone.lm_head(base_BKD)}
        for number, state in enumerate(iterates(model, batch, depth=max(depths)), 1):
            if number in depths:
                by_depth[number] = backbone.lm_head(joined(model, base_BKD, state.y))
        return by_depth

    return Trained(logits=logits, num_parameters=count(model), num_updates=num_done)


def train_language(
    module: nn.Module, model: Qwen2ForCausalLM, seed: int, rate: float, num_updates: int, folder: Path
) -> Trained:
    objective = LanguageObjective(module=module, language_model=model)
    optimiser = OptimiserRecipe(learning_rate=rate, weight_decay=0.01)
    recipe = LoopRecipe(num_groups=num_updates, optimiser=optimiser, ema_decay=0.99, save_every=400, seed=seed)
    train(
        objective,
        lambda number: [language_batch(draw(f"{seed}/wide", number, most_steps=TRAINED))],
        recipe,
        folder / "model.pt",
    )

    @torch.no_grad()
    def logits(tables: Tables) -> dict[int, Tensor]:
        return {-1: objective.logits(language_batch(tables))}

    return Trained(logits=logits, num_parameters=count(module), num_updates=num_updates)


def train(
    objective: Objective[Any],
    batches: Callable[[int], Sequence[Any]],
    recipe: LoopRecipe,
    path: Path,
    *,
    is_over: Callable[[], bool] = lambda: False,
    ends: bool = True,
) -> int:
    """Train to the end or until `is_over`; the updates taken. ends: the weights become their moving average."""
    path.parent.mkdir(parents=True, exist_ok=True)
    training = Training(
        objective=objective, batches=batches, recipe=recipe, path=path, should_stop=is_over, tell=printed(path)
    )
    training.run()
    if ends:
        parameters = list(trainable(objective.module).values())
        with averaged_weights(parameters, training.average):
            averages = [parameter.detach().clone() for parameter in parameters]
        with torch.no_grad():
            for parameter, average in zip(parameters, averages, strict=True):
                parameter.copy_(average)
    return training.num_groups_done


def printed(path: Path) -> Callable[[Update], None]:
    def tell(update: Update) -> None:
        if update.number % 100 == 0:
            shown = {n: round(v, 2) for n, v in sorted(update.means.items()) if n.startswith(("solved", "right"))}
            print(f"{path.parent.name}/{path.stem} {update.number} {update.loss:.3f} {update.seconds:.0f} s {shown}",
                  flush=True)  # fmt: skip

    return tell


# --- data -------------------------------------------------------------------------------------


def draw(name: str, number: int, *, most_steps: int, least_steps: int = 1) -> Tables:
    return TASK.draw(f"{name}/{number}", num_rows=NUM_ROWS, least_steps=least_steps, most_steps=most_steps)


def language_batch(tables: Tables) -> LanguageBatch:
    return LanguageBatch(ids_BT=tables.ids_BT, columns_BK=tables.columns_BK, targets_BK=tables.answers)


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
    numbers_S11 = torch.arange(1, TASK.max_steps + 1)[:, None, None]
    return torch.where(numbers_S11 < tables.num_steps_BK, tables.images_SBK, tables.answers)


def late_answer_targets(tables: Tables) -> Tensor:
    """The answer of recursion r >= k; none before."""
    numbers_S11 = torch.arange(1, TASK.max_steps + 1)[:, None, None]
    return torch.where(numbers_S11 < tables.num_steps_BK, IGNORED, tables.answers)


def answer_targets(tables: Tables) -> Tensor:
    """The answer of every recursion."""
    return tables.answers[None]


# --- measuring --------------------------------------------------------------------------------


def trm_config(backbone: Qwen2ForCausalLM) -> TRMConfig:
    return TRMConfig.for_backbone(
        backbone.config, intermediate_size=176, num_layers=1, num_latent=1, feature_layers=(0, 1, -1)
    )


def new_trm(backbone: Qwen2ForCausalLM, seed: int) -> TinyRecursiveModel:
    torch.manual_seed(seed)
    return TinyRecursiveModel(trm_config(backbone))


def copied(backbone: Qwen2ForCausalLM) -> Qwen2ForCausalLM:
    model = new_backbone()
    model.load_state_dict(backbone.state_dict())
    return model.requires_grad_(False)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in trainable(module).values())


def measure(trained: Trained, seed: str = "test", *, test: bool = True) -> dict[str, dict[str, list[int]]]:
    """[right, of how many] by depth ("-1": no depth) and number of steps."""
    tables = TASK.draw(seed, num_rows=NUM_TEST_ROWS, least_steps=1, most_steps=TASK.max_steps, test=test)
    measured: dict[str, dict[str, list[int]]] = {}
    for depth, logits_BKV in trained.logits(tables).items():
        right_BK = logits_BKV.argmax(-1) == tables.answers
        measured[str(depth)] = {
            str(k): [int((right_BK & (tables.num_steps_BK == k)).sum()), int((tables.num_steps_BK == k).sum())]
            for k in range(1, TASK.max_steps + 1)
        }
    return measured


def hard(measured: Mapping[str, Mapping[str, Sequence[int]]]) -> float:
    """The best accuracy over depths on k from LABELLED + 1 to TRAINED."""
    shares = []
    for by_steps in measured.values():
        cells = [by_steps[str(k)] for k in range(LABELLED + 1, TRAINED + 1)]
        shares.append(sum(right for right, _ in cells) / sum(number for _, number in cells))
    return max(shares)


# --- the runs ---------------------------------------------------------------------------------


def run(folder: Path, *, arms: Sequence[str], seeds: Sequence[int], num_updates: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    backbone = train_backbone(folder)
    log = folder / "runs.jsonl"
    base = Trained(logits=lambda tables: {-1: _no_grad_logits(backbone, tables)}, num_parameters=0, num_updates=0)
    if not _is_done(log, "backbone", 0):
        _append(log, {"arm": "backbone", "seed": 0, "accuracy": measure(base), "parameters": 0, "machine": machine()})
    for seed in seeds:
        for arm in arms:
            if not _is_done(log, arm, seed):
                _append(log, run_arm(backbone, arm, seed, folder, num_updates))
            print(table(read(log)), flush=True)


def run_arm(backbone: Qwen2ForCausalLM, name: str, seed: int, folder: Path, num_updates: int) -> dict[str, Any]:
    arm = ARMS[name][0]
    begun, begun_cpu_s = time.monotonic(), _cpu_s()
    rate, tried = chosen_rate(backbone, name, folder, num_updates)
    trained = arm(backbone, seed, rate, num_updates, folder / _slug(f"{name} {seed}"))
    return {
        "arm": name,
        "seed": seed,
        "learning_rate": rate,
        "rates_tried": tried,
        "parameters": trained.num_parameters,
        "updates": trained.num_updates,
        "queries_per_update": NUM_ROWS * TASK.num_queries,
        "seconds": round(time.monotonic() - begun),
        "cpu_s": round(_cpu_s() - begun_cpu_s),
        "accuracy": measure(trained),
    }


def chosen_rate(
    backbone: Qwen2ForCausalLM, name: str, folder: Path, num_updates: int
) -> tuple[float, dict[str, float]]:
    """The rate that is best on unseen draws of training cycles, on the first seed, after a sixth of the updates."""
    arm, rates = ARMS[name]
    if len(rates) == 1:
        return rates[0], {}
    path = folder / _slug(f"{name} rates") / "rates.json"
    if not path.exists():
        tried = {}
        for rate in rates:
            trained = arm(backbone, SEEDS[0], rate, num_updates // 6, path.parent / f"{rate:g}")
            tried[f"{rate:g}"] = hard(measure(trained, "validation", test=False))
        path.write_text(json.dumps(tried))
    tried = json.loads(path.read_text())
    return float(max(tried, key=lambda rate: tried[rate])), tried


@torch.no_grad()
def _no_grad_logits(backbone: Qwen2ForCausalLM, tables: Tables) -> Tensor:
    return LanguageObjective(module=backbone, language_model=backbone).logits(language_batch(tables))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower())


def _append(path: Path, entry: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def _is_done(path: Path, arm: str, seed: int) -> bool:
    return path.exists() and any(entry["arm"] == arm and entry["seed"] == seed for entry in read(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=list(ORDER), choices=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--updates", type=int, default=NUM_UPDATES)
    args = parser.parse_args()
    torch.set_num_threads(1)
    run(args.folder, arms=args.arms, seeds=args.seeds, num_updates=args.updates)


if __name__ == "__main__":
    main()
