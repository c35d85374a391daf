"""A recursion that learns `table` in a minute: for the teaching notebook, where depth is seen to buy answers.

In: a seed. Out: a trained TRM over a stand-in for a backbone, and how often it is right by number of steps and by T.
The stand-in is not trained: it tells of each column its own symbol and, for the image of a pair, the symbol before it,
which is what the first layers of a language model find. Claims about models are made on trained backbones
(benchmarks/recursion_toy.py), not here.

Letters: B rows, T columns, K queries, D width, S steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from kit.plots.depth_curves import DepthCurve, DepthPoint
from kit.training.depth_schedule import Curriculum, UniformDepth
from kit.training.depth_task import TableTask
from kit.training.loop import LoopRecipe, Training
from kit.training.optimiser import OptimiserRecipe
from kit.training.recursive import RecursiveBatch, RecursiveObjective, logits_by_depth
from kit.training.update import Update
from kit.trm.config import TRMConfig
from kit.trm.model import TinyRecursiveModel

WIDTH = 64
NUM_ROWS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthDemo:
    """task: its sizes. trained_steps: the most dependent steps of a training query. num_updates, rate: of the run."""

    task: TableTask = field(default_factory=lambda: TableTask(num_symbols=6, max_steps=5))
    trained_steps: int = 3
    num_updates: int = 700
    rate: float = 4e-3
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedDemo:
    """What a run ends with."""

    trm: TinyRecursiveModel
    backbone: StandIn
    task: TableTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """right of num queries, of num_steps dependent steps, at T = depth."""

    num_steps: int
    depth: int
    right: int
    num: int


class StandIn(nn.Module):
    """The frozen features: one random vector a token, one a token that stands before an image, and the head."""

    def __init__(self, task: TableTask, seed: int) -> None:
        super().__init__()
        self._num_symbols = task.num_symbols
        generator = torch.Generator().manual_seed(seed)
        self._own, self._before = (
            nn.Parameter(torch.randn(task.vocab_size, WIDTH, generator=generator) / WIDTH**0.5, requires_grad=False)
            for _ in range(2)
        )

    def hidden(self, ids_BT: Tensor) -> Tensor:
        """[B, T, D]."""
        before_BTD = self._before[ids_BT.roll(1, 1)]
        in_pairs, places_T = 3 * self._num_symbols, torch.arange(ids_BT.shape[1])  # "a f(a) ;", then queries "K_k s"
        is_second_T = torch.where(places_T < in_pairs, places_T % 3 == 1, (places_T - in_pairs) % 2 == 1)
        return self._own[ids_BT] + before_BTD * is_second_T[:, None]

    def head(self, hidden_BKD: Tensor) -> Tensor:
        """Logits of the tokens."""
        logits_BKV: Tensor = WIDTH**0.5 * hidden_BKD @ self._own.T
        return logits_BKV


def train_demo(
    demo: DepthDemo, *, path: Path | None = None, tell: Callable[[Update], None] = lambda update: None
) -> TrainedDemo:
    """Train on queries of up to `trained_steps` steps, whose intermediate results are told, by a curriculum on T.

    path: of a checkpoint, from which an interrupted run goes on; None keeps none.
    """
    backbone = StandIn(demo.task, demo.seed)
    torch.manual_seed(demo.seed)
    trm = TinyRecursiveModel(_config(demo.task))
    last = demo.trained_steps
    schedule = Curriculum(
        first=1, last=last, measures=("reached/{t}", "held/{t}"), afterwards=UniformDepth(least=last, most=2 * last)
    )

    def batches(number: int) -> Sequence[RecursiveBatch]:
        tables = demo.task.draw(
            f"demo {demo.seed}/{number}", num_rows=NUM_ROWS, least_steps=1, most_steps=demo.trained_steps
        )
        return [tables.batch([backbone.hidden(tables.ids_BT)], tables.step_targets)]

    recipe = LoopRecipe(
        num_groups=demo.num_updates,
        save_every=50,
        optimiser=OptimiserRecipe(learning_rate=demo.rate, weight_decay=0.01, decay_share=0.5),
        seed=demo.seed,
        fingerprint=repr(demo),
    )
    objective = RecursiveObjective(trm=trm.train(), lm_head=backbone.head, depths=schedule)
    training = Training(objective=objective, batches=batches, recipe=recipe, path=path, tell=tell)
    training.run()
    return TrainedDemo(trm=trm, backbone=backbone, task=demo.task)


def _config(task: TableTask) -> TRMConfig:
    return TRMConfig(
        hidden_size=WIDTH, vocab_size=task.vocab_size, num_attention_heads=4, num_key_value_heads=4, head_dim=16,
        intermediate_size=176, num_layers=1, num_latent=1,
    )  # fmt: skip


def shares(trained: TrainedDemo, depths: Sequence[int], *, num_rows: int = 256) -> tuple[Share, ...]:
    """By depth and number of steps, on cycles that training has not seen."""
    trm, backbone, task = trained.trm, trained.backbone, trained.task
    tables = task.draw("demo test", num_rows=num_rows, least_steps=1, most_steps=task.max_steps, test=True)
    batch = tables.batch([backbone.hidden(tables.ids_BT)], tables.images_SBK)
    found = logits_by_depth(trm.eval(), batch, backbone.head, depths)
    result = []
    for depth in depths:
        right_BK = found[depth].argmax(-1) == tables.answers
        for k in range(1, task.max_steps + 1):
            of_BK = tables.num_steps_BK == k
            result.append(Share(num_steps=k, depth=depth, right=int((right_BK & of_BK).sum()), num=int(of_BK.sum())))
    return tuple(result)


def curves(found: Sequence[Share], *, interval: Callable[[float, int], tuple[float, float]]) -> tuple[DepthCurve, ...]:
    """A curve for each number of steps, to draw. interval: of so many right ones among so many queries."""
    points: dict[int, list[DepthPoint]] = defaultdict(list)
    for each in found:
        low, high = interval(each.right, each.num)
        points[each.num_steps].append(DepthPoint(depth=each.depth, accuracy=each.right / each.num, low=low, high=high))
    return tuple(DepthCurve(name=f"k = {k}", points=tuple(points[k])) for k in sorted(points))
