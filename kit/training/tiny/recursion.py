"""Training the shipped TRM: a recursion over the frozen tiny model that follows a map step by step.

In: the tiny model's folder, and fresh exercises of its families, never one of the test split. Out: a run folder
(hidden states, a checkpoint of each stage, a log) and, from it, a folder of kit.trm.checkpoint. What it learns is
`table`, whose difficulty is the number of steps that depend on each other; all other families are to stay as they are.

    steps     recursion r is told what step r gives: a curriculum on T, with maps and questions spliced
    answers   the answer from recursion k on, before it the backbone's own distribution, so that a vote at too small a T
              is divided; T as deep as it is served and beyond; the halting head; all other columns as the backbone

Each stage resumes from its checkpoint and ends with the weights of a run that was not stopped.

    python -m kit.training.tiny.recursion train --run-dir out/tiny-trm    # Ctrl-C saves; the same line resumes
    python -m kit.training.tiny.recursion export --run-dir out/tiny-trm

Source: docs/recursion.md (why step results, why a curriculum).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator

from kit.assets import TINY_MODEL, TINY_TRM
from kit.errors import MissingError, check_fields
from kit.training import checkpoint
from kit.training.depth_schedule import Curriculum, DepthSchedule, UniformDepth
from kit.training.ema import average_of, keep_average
from kit.training.loop import LoopRecipe, Training
from kit.training.optimiser import OptimiserRecipe, trainable
from kit.training.recursive import RecursiveBatch, RecursiveObjective, RecursiveWeights
from kit.training.tiny.command_line import add_recipe, append_line, asked_to_stop, run_command
from kit.training.tiny.evaluation import load
from kit.training.tiny.families import FAMILIES, Exercise, Split, draw
from kit.training.tiny.lookup import begin_with_lookup
from kit.training.tiny.model import machine
from kit.training.tiny.table_rows import FEATURE_LAYER, Backbone, KeptRows, TableRows, kept_rows, table_rows
from kit.training.update import Update
from kit.trm.checkpoint import save, weights_sha256
from kit.trm.config import TRMConfig
from kit.trm.model import TinyRecursiveModel

MOST_STEPS = 5  # of the exercises that are drawn
ROPE_BASE = 1e4  # more pairs of a head turn slowly, and can tell symbols apart wherever they stand
DEEPEST = 11  # T in training, somewhat beyond what is served: a recursion holds little further than it was trained
EMA_DECAY = 0.99
LOG_EVERY = 25  # updates
_KEPT_DIFFICULTIES = (1, 2, 3, 4)
_MAY_DIFFER = ("run_dir", "save_every", "threads")


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyRecursion:
    """The recipe; the defaults are the shipped model's.

    num_tables, num_kept: exercises of `table`, and of each family that is kept. steps: of those that are asked, at
    most. maps, questions: of a spliced batch; whole: exercises as they are beside it; kept: rows whose columns are
    kept. step_updates: at most, of the first stage, which ends with its curriculum; answer_updates: of the second.
    kl, halting: shares of the second's loss.
    """

    run_dir: Path
    num_tables: int = 768
    num_kept: int = 24
    maps: int = 24
    questions: int = 8
    whole: int = 16
    kept: int = 8
    steps: int = 5
    step_updates: int = 2400
    answer_updates: int = 300
    learning_rate: float = 1e-3
    kl: float = 1.0
    halting: float = 0.2
    save_every: int = 25
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        counts = ("num_tables", "num_kept", "maps", "questions", "whole", "kept", "step_updates", "answer_updates",
                  "save_every", "threads")  # fmt: skip
        steps = ("steps", 1 <= self.steps <= MOST_STEPS, f"in [1, {MOST_STEPS}]")
        check_fields(self, [*((name, getattr(self, name) >= 1, ">= 1") for name in counts), steps])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """as_backbone: what recursions before the k-th are to say; see TableRows.targets."""

    name: str
    schedule: DepthSchedule
    num_updates: int
    optimiser: OptimiserRecipe
    weights: RecursiveWeights
    as_backbone: bool
    is_over: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Data:
    tables: TableRows
    kept: KeptRows


def train(config: TinyRecursion, *, should_stop: Callable[[], bool] = lambda: False) -> bool:
    """Train both stages, each from its checkpoint if there is one; says whether both are done.

    should_stop: asked between updates; True saves and ends.
    Raises: StorageError; TrainingError.
    """
    torch.set_num_threads(config.threads)
    config.run_dir.mkdir(parents=True, exist_ok=True)
    backbone, tokenizer = load(TINY_MODEL)
    backbone.requires_grad_(False)
    data = _data(config, backbone, tokenizer)
    trm = new_trm(backbone.config, seed=config.seed)
    begin_with_lookup(trm, data.tables)
    log = config.run_dir / "log.jsonl"
    append_line(log, {"config": {name: str(value) for name, value in asdict(config).items()}, **machine()})
    for stage in _stages(config):
        objective = RecursiveObjective(trm=trm, lm_head=backbone.lm_head, depths=stage.schedule, weights=stage.weights)
        training = Training(
            objective=objective,
            batches=_batches(config, stage, data),
            recipe=LoopRecipe(
                num_groups=stage.num_updates,
                optimiser=stage.optimiser,
                ema_decay=EMA_DECAY,
                save_every=config.save_every,
                seed=config.seed,
                fingerprint=_fingerprint(config),
            ),
            path=config.run_dir / f"{stage.name}.pt",
            should_stop=lambda stage=stage: should_stop() or stage.is_over(),  # type: ignore[misc]
            tell=_teller(log, stage),
        )
        if not training.run() and not stage.is_over():
            return False
        keep_average(trainable(trm).values(), training.average)
    return True


def new_trm(backbone: Any, *, seed: int) -> TinyRecursiveModel:
    """The shipped TRM's shape, untrained: one narrow block, one latent update; backbone: its Hugging Face config."""
    config = TRMConfig.for_backbone(
        backbone,
        form="anchor",
        feature_layers=(FEATURE_LAYER,),
        num_layers=1,
        num_latent=1,
        intermediate_size=128,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        rope_base=ROPE_BASE,
        num_supervision=1,
    )
    torch.manual_seed(seed)
    trm: TinyRecursiveModel = TinyRecursiveModel(config).train()
    return trm


def export(run_dir: Path, target: Path) -> None:
    """Write the averaged weights of a finished run as a TRM of the shipped tiny model.

    Raises: MissingError if the run has not come to its second stage.
    """
    path = run_dir / "answers.pt"
    if not path.exists():
        raise MissingError(f"no checkpoint at {path}; run `train --run-dir {run_dir}` first")
    backbone, _ = load(TINY_MODEL)
    trm = new_trm(backbone.config, seed=0)
    state = checkpoint.load(path)
    average = average_of(trainable(trm).values(), decay=EMA_DECAY)
    average.load_state_dict(state["average"])
    keep_average(trainable(trm).values(), average)
    save(trm.eval(), target, backbone_folder=TINY_MODEL)
    (target / "model.safetensors").chmod(0o644)  # safetensors creates it for its owner alone


def _stages(config: TinyRecursion) -> tuple[_Stage, _Stage]:
    curriculum = Curriculum(
        first=1,
        last=config.steps,
        measures=("reached/{t}", "held/{t}"),
        afterwards=UniformDepth(least=config.steps, most=DEEPEST),
    )
    steps = _Stage(
        name="steps",
        schedule=curriculum,
        num_updates=config.step_updates,
        optimiser=OptimiserRecipe(learning_rate=config.learning_rate, weight_decay=0.01, decay="constant"),
        weights=RecursiveWeights(),
        as_backbone=False,
        is_over=lambda: curriculum.is_over,
    )
    answers = _Stage(
        name="answers",
        schedule=UniformDepth(least=3, most=DEEPEST),
        num_updates=config.answer_updates,
        optimiser=OptimiserRecipe(
            learning_rate=config.learning_rate / 2, weight_decay=0.01, decay="linear", decay_share=0.7
        ),
        weights=RecursiveWeights(kl=config.kl, halting=config.halting),
        as_backbone=True,
    )
    return steps, answers


def _batches(config: TinyRecursion, stage: _Stage, data: _Data) -> Callable[[int], list[RecursiveBatch]]:
    def of_group(number: int) -> list[RecursiveBatch]:
        generator = Generator().manual_seed(random.Random(f"{config.seed}/{stage.name}/{number}").getrandbits(60))
        how: Any = {"most_steps": config.steps, "as_backbone": stage.as_backbone}
        batches = [
            data.tables.spliced(generator, config.maps, config.questions, **how),
            data.tables.whole(generator, config.whole, **how),
        ]
        if stage.as_backbone:
            batches.append(data.kept.batch(generator, config.kept, 4))
        return batches

    return of_group


def _data(config: TinyRecursion, backbone: Any, tokenizer: Any) -> _Data:
    frozen = Backbone(
        model=backbone, tokenizer=tokenizer, sha256=weights_sha256(TINY_MODEL), folder=config.run_dir / "states"
    )
    frozen.folder.mkdir(exist_ok=True)
    tables = [_exercise("table", number, range(1, MOST_STEPS + 1)) for number in range(config.num_tables)]
    kept = [_exercise(family, number, _KEPT_DIFFICULTIES) for family in FAMILIES for number in range(config.num_kept)]
    return _Data(tables=table_rows(tables, frozen, most_steps=MOST_STEPS), kept=kept_rows(kept, frozen))


def _exercise(family: str, number: int, difficulties: Sequence[int]) -> Exercise:
    """The same for the same number; every difficulty equally often."""
    rng = random.Random(f"{family}/{number}")
    return draw(family, rng, difficulty=difficulties[number % len(difficulties)], split=Split.TRAIN)


def _teller(log: Path, stage: _Stage) -> Callable[[Update], None]:
    """Writes the means over LOG_EVERY updates."""
    sums: dict[str, list[float]] = {}

    def tell(update: Update) -> None:
        for name, value in {"loss": update.loss, **update.means}.items():
            sums.setdefault(name, []).append(value)
        if (update.number + 1) % LOG_EVERY == 0:
            means = {name: round(sum(values) / len(values), 4) for name, values in sorted(sums.items())}
            entry = {"stage": stage.name, "update": update.number + 1, "seconds": round(update.seconds, 1), **means}
            append_line(log, entry)
            sums.clear()

    return tell


def _fingerprint(config: TinyRecursion) -> str:
    """Of all that decides the weights."""
    decides = {name: value for name, value in asdict(config).items() if name not in _MAY_DIFFER}
    return json.dumps([decides, weights_sha256(TINY_MODEL)], sort_keys=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_command(_parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kit.training.tiny.recursion", description="The shipped TRM.")
    commands = parser.add_subparsers(required=True, metavar="command")
    training = commands.add_parser("train", help="train, or resume training; Ctrl-C saves")
    add_recipe(training, TinyRecursion)
    training.set_defaults(run=_run_train)
    exporting = commands.add_parser("export", help="write a run's weights as a TRM of the shipped tiny model")
    exporting.add_argument("--run-dir", type=Path, required=True)
    exporting.add_argument("--target", type=Path, default=TINY_TRM)
    exporting.set_defaults(run=_run_export)
    return parser


def _run_train(**settings: Any) -> int:
    return 0 if train(TinyRecursion(**settings), should_stop=asked_to_stop()) else 130


def _run_export(*, run_dir: Path, target: Path) -> int:
    export(run_dir, target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
