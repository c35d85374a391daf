"""The recursion of the teaching notebook; that it learns is shown where the notebook is executed."""

from __future__ import annotations

import torch

from kit.training.depth_demo import DepthDemo, shares, train_demo
from kit.training.depth_task import TableTask
from kit.training.update import Update

SMALL = DepthDemo(task=TableTask(num_symbols=6, max_steps=3, num_queries=4), trained_steps=2, num_updates=30)


def test_a_short_run_lowers_its_loss_and_depends_on_the_seed_alone() -> None:
    losses: list[list[float]] = [[], []]

    def tell(number: int, update: Update) -> None:
        losses[number].append(update.loss)

    weights = []
    for number in range(2):
        trained = train_demo(SMALL, tell=lambda update, number=number: tell(number, update))  # type: ignore[misc]
        weights.append(trained.trm.out.weight)
    assert len(losses[0]) == SMALL.num_updates
    assert sum(losses[0][-5:]) < 0.8 * sum(losses[0][:5])
    assert losses[0] == losses[1]
    assert torch.equal(*weights)


def test_every_query_is_counted_once_at_each_depth() -> None:
    trained = train_demo(SMALL)
    found = shares(trained, (0, 2), num_rows=10)
    assert [(each.depth, each.num_steps) for each in found] == [(t, k) for t in (0, 2) for k in (1, 2, 3)]
    for depth in (0, 2):
        assert sum(each.num for each in found if each.depth == depth) == 10 * SMALL.task.num_queries
    assert all(0 <= each.right <= each.num for each in found)


def test_a_recursions_target_is_its_own_image_until_the_answer_and_then_the_answer() -> None:
    tables = SMALL.task.draw("x", num_rows=3, least_steps=1, most_steps=3)
    targets_SBK = tables.step_targets
    for row in range(3):
        pairs = tables.ids_BT[row, : 3 * SMALL.task.num_symbols].reshape(-1, 3)
        images = {int(symbol): int(image) for symbol, image, _ in pairs}
        for query in range(SMALL.task.num_queries):
            symbol = int(tables.ids_BT[row, tables.columns_BK[row, query]])
            for step in range(3):
                if step < tables.num_steps_BK[row, query]:
                    symbol = images[symbol]
                assert targets_SBK[step, row, query] == symbol
