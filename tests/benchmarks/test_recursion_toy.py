"""The toy's backbone before training, its tasks' targets, and its report's sums."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.recursion_toy_arms import eased
from benchmarks.recursion_toy_backbone import draw, new_backbone, start_as_look_up
from benchmarks.recursion_toy_report import groups_table
from benchmarks.recursion_toy_training import (
    LABELLED,
    TRAINED,
    Run,
    ToyBench,
    VariedObjective,
    late_answer_targets,
    step_targets,
)
from kit.training.depth_schedule import UniformDepth
from kit.training.depth_task import ChainTask
from kit.training.objective import IGNORED

TASK = ChainTask()


def test_the_untrained_backbones_first_layer_looks_at_the_token_before() -> None:
    torch.manual_seed(0)
    model = new_backbone(TASK)
    start_as_look_up(model)
    model.set_attn_implementation("eager")
    tables = TASK.draw("x", num_rows=2, least_steps=1, most_steps=2)
    with torch.no_grad():
        attention_BNTT = model(input_ids=tables.ids_BT, output_attentions=True).attentions[0]
    columns = torch.arange(1, TASK.num_columns)
    assert float(attention_BNTT[:, :, columns, columns - 1].min()) > 0.5


def test_step_targets_walk_and_then_hold_the_answer() -> None:
    tables = TASK.draw("x", num_rows=2, least_steps=1, most_steps=5)
    targets_SBK = step_targets(tables)
    for number, targets_BK in enumerate(targets_SBK, 1):
        walked_BK = tables.images_SBK[number - 1]
        assert torch.equal(targets_BK, torch.where(number < tables.num_steps_BK, walked_BK, tables.answers))


def test_late_answer_targets_say_nothing_before_the_answer_can_be_known() -> None:
    tables = TASK.draw("x", num_rows=2, least_steps=1, most_steps=5)
    for number, targets_BK in enumerate(late_answer_targets(tables), 1):
        is_early_BK = number < tables.num_steps_BK
        assert bool((targets_BK[is_early_BK] == IGNORED).all())
        assert torch.equal(targets_BK[~is_early_BK], tables.answers[~is_early_BK])


def test_a_baseline_sees_short_rows_then_easy_queries_then_all(tmp_path: Path) -> None:
    small = ChainTask(num_chains=2, max_steps=3)
    bench = ToyBench(task=TASK, small=small, backbone=new_backbone(TASK))
    run = Run(seed=1, rate=1e-3, num_updates=40, folder=tmp_path)
    seen = [eased(bench, run, number) for number in range(40)]
    assert [tables.ids_BT.shape[1] for tables in seen] == [small.num_columns] * 10 + [TASK.num_columns] * 30
    most_steps = [int(tables.num_steps_BK.max()) for tables in seen]
    assert max(most_steps[:20]) == LABELLED
    assert max(most_steps[20:]) == TRAINED


@pytest.mark.parametrize("variation", ["start_noise", "feature_noise", "settling"])
def test_what_is_tried_beside_the_recipe_changes_its_loss_and_has_a_gradient(variation: str) -> None:
    torch.manual_seed(0)
    backbone = new_backbone(TASK).requires_grad_(False)
    bench = ToyBench(task=TASK, small=TASK, backbone=backbone)
    model = bench.new_trm(1)
    torch.nn.init.normal_(model.out.weight)
    tables = draw(TASK, "x", num_rows=2, most_steps=3)
    batch = bench.recursive_batch(tables, step_targets(tables))

    def loss_with(depth: int = 3, **changes: Any) -> torch.Tensor:
        depths = UniformDepth(least=depth, most=depth)
        objective = VariedObjective(trm=model, lm_head=backbone.lm_head, depths=depths, **changes)
        return objective.loss(batch, None, random.Random(0)).answer.total

    plain, varied = loss_with(), loss_with(**{variation: 0.5})
    assert torch.equal(plain, loss_with())
    assert not torch.equal(plain, varied)
    assert bool(loss_with(depth=1, **{variation: 0.5}).isfinite())
    varied.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert all(
        bool(parameter.grad.isfinite().all()) for parameter in model.net.parameters() if parameter.grad is not None
    )
    block: Any = model.net.blocks[0]
    assert float(block.swiglu.down.weight.grad.abs().sum()) > 0


def test_a_group_of_difficulties_is_summed_over_them_and_over_seeds() -> None:
    def entry(seed: int, right: int) -> dict[str, object]:
        return {"arm": "TRM", "seed": seed, "accuracy": {"3": {str(k): [right, 10] for k in range(1, 9)}}}

    lines = groups_table([entry(1, 10), entry(2, 0)]).splitlines()
    assert lines[0] == "| arm | seed | T | k = 1–3 | k = 4–6 | k = 7–8 |"
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["1", "2", "all"]
    assert "50 (" in lines[4]
