"""The loss of a causal language model: against a sum over single tokens, and what it makes no logits for."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kit.training.language import LanguageBatch, LanguageObjective
from kit.training.objective import IGNORED
from tests.trm import tiny_trm

NUM_TOKENS = 6
COLUMNS = [[1, 2, 4], [3, 3, 3]]
TARGETS = [[5, IGNORED, 9], [2, IGNORED, IGNORED]]


@pytest.fixture(name="objective")
def objective_fixture() -> LanguageObjective:
    backbone = tiny_trm.language_model().backbone
    return LanguageObjective(module=backbone, language_model=backbone)


def some_batch() -> LanguageBatch:
    return LanguageBatch(
        ids_BT=tiny_trm.ids(2, NUM_TOKENS), columns_BK=torch.tensor(COLUMNS), targets_BK=torch.tensor(TARGETS)
    )


def test_the_loss_is_the_sum_over_the_tokens_with_a_target(objective: LanguageObjective) -> None:
    batch = some_batch()
    logits_BTV = objective.language_model(input_ids=batch.ids_BT).logits.double()
    expected, num_right = 0.0, 0
    for row, (columns, targets) in enumerate(zip(COLUMNS, TARGETS, strict=True)):
        for column, target in zip(columns, targets, strict=True):
            if target != IGNORED:
                expected -= float(torch.log_softmax(logits_BTV[row, column], 0)[target])
                num_right += int(logits_BTV[row, column].argmax()) == target
    found = objective.loss(batch, None, random.Random(0))
    assert found.answer.total.item() == pytest.approx(expected, rel=1e-5)
    assert int(found.answer.number) == 3
    assert [int(each) for each in found.measured["right"]] == [num_right, 3]


def test_the_head_reads_only_places_with_a_target(
    objective: LanguageObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, shapes = objective.language_model.get_output_embeddings(), []

    def counting(hidden_D: Tensor) -> Tensor:
        shapes.append(tuple(hidden_D.shape[:-1]))
        return head(hidden_D)

    monkeypatch.setattr(objective.language_model, "get_output_embeddings", lambda: counting)
    objective.loss(some_batch(), None, random.Random(0))
    objective.logits(some_batch())
    assert shapes == [(3,), (2, 3)]


def test_a_batch_without_a_target_has_no_loss_and_no_gradient(objective: LanguageObjective) -> None:
    """A process may get no row of a group's last batch."""
    objective.module.requires_grad_()
    found = objective.loss(replace(some_batch(), targets_BK=torch.full((2, 3), IGNORED)), None, random.Random(0)).answer
    assert (found.total.item(), int(found.number)) == (0.0, 0)
    found.total.backward()  # type: ignore[no-untyped-call]
    assert all(each.grad is None or not each.grad.any() for each in objective.module.parameters())
