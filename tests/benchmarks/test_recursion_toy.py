"""The toy's backbone before training, its tasks' targets, and its report's sums."""

from __future__ import annotations

import torch

from benchmarks.recursion_toy_backbone import new_backbone, start_as_look_up
from benchmarks.recursion_toy_report import groups_table
from benchmarks.recursion_toy_training import late_answer_targets, step_targets
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


def test_a_group_of_difficulties_is_summed_over_them_and_over_seeds() -> None:
    def entry(seed: int, right: int) -> dict[str, object]:
        return {"arm": "TRM", "seed": seed, "accuracy": {"3": {str(k): [right, 10] for k in range(1, 9)}}}

    lines = groups_table([entry(1, 10), entry(2, 0)]).splitlines()
    assert lines[0] == "| arm | seed | T | k = 1–3 | k = 4–6 | k = 7–8 |"
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["1", "2", "all"]
    assert "50 (" in lines[4]
