"""A run of seconds: a recursion over a random backbone, with dropout, accumulation and deep supervision.

python -m tests.training.small_run CHECKPOINT [--kill-at UPDATE]   # prints a digest of the weights it ends with
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from kit.training.depth_schedule import Curriculum, UniformDepth
from kit.training.loop import LoopRecipe, Loss, Training
from kit.training.optimiser import OptimiserRecipe, trainable
from kit.training.recursive import RecursiveBatch, RecursiveObjective, RecursiveWeights
from kit.training.update import Update
from tests.trm import tiny_trm

NUM_GROUPS = 12


@dataclass(slots=True, kw_only=True)
class Noisy(RecursiveObjective):
    """Noise on the features, so that the random state matters."""

    noise: float = field(default=0.1)

    def loss(self, batch: RecursiveBatch, carry: Any, rng: random.Random) -> Loss:
        noisy = tuple(hidden + self.noise * torch.randn_like(hidden) for hidden in batch.hidden_LBTD)
        changed = {name: getattr(batch, name) for name in RecursiveBatch.__dataclass_fields__}
        return RecursiveObjective.loss(self, RecursiveBatch(**{**changed, "hidden_LBTD": noisy}), carry, rng)


def batch_of(
    number: int, *, num_rows: int = 3, num_columns: int = 6, dtype: torch.dtype = torch.float32
) -> RecursiveBatch:
    backbone = tiny_trm.backbone(dtype=dtype)
    ids_BT = tiny_trm.ids(num_rows, num_columns, seed=number)
    with torch.no_grad():
        hidden_BTD = backbone.model(input_ids=ids_BT, use_cache=False).last_hidden_state
    generator = torch.Generator().manual_seed(number)
    return RecursiveBatch(
        hidden_LBTD=(hidden_BTD,),
        base_BTD=hidden_BTD,
        position_BT=torch.arange(num_columns).expand(num_rows, -1),
        columns_BK=torch.tensor([3, 5]).expand(num_rows, -1),
        targets_SBK=torch.randint(tiny_trm.VOCAB_SIZE, (2, num_rows, 2), generator=generator),
        num_steps_BK=torch.ones(num_rows, 2, dtype=torch.long),
    )


def batches(number: int) -> Sequence[RecursiveBatch]:
    return [batch_of(2 * number), batch_of(2 * number + 1)]


def training(path: Path | None, **changes: Any) -> Training[RecursiveBatch]:
    torch.manual_seed(0)
    backbone = tiny_trm.backbone(dtype=torch.float32)
    curriculum = Curriculum(
        first=1, last=2, measures=("right/{t}",), threshold=1e-9, least_updates=9,
        afterwards=UniformDepth(least=1, most=3),
    )  # fmt: skip
    objective = Noisy(
        trm=tiny_trm.trm_for(backbone, is_trained=False).train(),
        lm_head=backbone.lm_head,
        depths=curriculum,
        weights=RecursiveWeights(kl=0.1, halting=0.5),
        num_supervision=2,
    )
    recipe = LoopRecipe(
        num_groups=NUM_GROUPS, optimiser=OptimiserRecipe(learning_rate=1e-2, warmup_updates=5), save_every=3
    )
    settings: dict[str, Any] = {"objective": objective, "batches": batches, "recipe": recipe, "path": path}
    return Training(**{**settings, **changes})


def digest(run: Training[Any]) -> str:
    """Of the trained weights, their average and the optimiser's moments."""
    found = hashlib.sha256()
    state = run.state()
    moments = [value for each in state["optimiser"]["state"].values() for value in each.values()]
    for tensor in (*trainable(run.objective.module).values(), *state["average"].values(), *moments):
        found.update(tensor.detach().numpy().tobytes())
    return found.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--kill-at", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)

    def tell(update: Update) -> None:
        if update.number == args.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    run = training(args.path, tell=tell)
    run.run()
    print(digest(run))


if __name__ == "__main__":
    main()
