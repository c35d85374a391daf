"""The recursion's loss against the slow reference, in float64: losses, gradients, carried states."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from kit.errors import SettingError
from kit.training.depth_schedule import UniformDepth
from kit.training.objective import IGNORED, at_columns
from kit.training.recursive import RecursiveBatch, RecursiveObjective, RecursiveWeights, iterates
from kit.trm.language_model import RecursiveLM
from tests.oracles.trm_reference import Reference
from tests.trm import tiny_trm
from tests.trm.test_oracle import reference_of, vectors

NUM_TOKENS = 5
COLUMNS = ((1, 4), (3, 3))  # the second row has one answer, and repeats its column
TARGETS = (((7, 2), (4, IGNORED)), ((9, IGNORED), (1, IGNORED)))  # of the first recursion, and of all later ones
RNG = random.Random(0)


def batch_for(model: RecursiveLM, **changes: Any) -> RecursiveBatch:
    ids_BT = tiny_trm.ids(2, NUM_TOKENS)
    frozen = model.read(ids_BT)
    batch = RecursiveBatch(
        hidden_LBTD=frozen.hidden_LBTD,
        base_BTD=frozen.base_BTD,
        position_BT=torch.arange(NUM_TOKENS).expand(2, -1),
        columns_BK=torch.tensor(COLUMNS),
        targets_SBK=torch.tensor(TARGETS),
    )
    return replace(batch, **changes)


def objective_for(model: RecursiveLM, *, depth: int = 3, **weights: Any) -> RecursiveObjective:
    return RecursiveObjective(
        trm=model.trm,
        lm_head=model.get_output_embeddings(),
        depths=UniformDepth(least=depth, most=depth),
        weights=RecursiveWeights(**weights),
    )


def reference_loss(
    reference: Reference, batch: RecursiveBatch, head_VD: Tensor, *, kl: float, halting: float
) -> Tensor:
    """At depth 3: the sum over rows, columns and recursions, by the number of targets; loops and logarithms alone."""
    parts: list[Tensor] = []
    num_targets, targets_SBK = 0, batch.targets_SBK.tolist()
    for row, columns in enumerate(COLUMNS):
        states = reference.steps([vectors(hidden[row]) for hidden in batch.hidden_LBTD], 3)
        for place, column in enumerate(columns):
            base_D = batch.base_BTD[row, column]
            base_log_V = torch.log_softmax(head_VD @ base_D, 0)
            answer = targets_SBK[-1][row][place]
            for number in (1, 2, 3):
                y_D = states[number].y[column]
                log_V = torch.log_softmax(head_VD @ (base_D + reference.weights["out.weight"] @ y_D), 0)
                target = targets_SBK[min(number, 2) - 1][row][place]
                if target != IGNORED:
                    num_targets += 1
                    parts.append(-log_V[target])
                    if int(base_log_V.argmax()) == target:
                        parts.append(kl * (base_log_V.exp() * (base_log_V - log_V)).sum())
                if answer != IGNORED:
                    chance = torch.sigmoid(reference.halting_logit(y_D))
                    parts.append(-halting * torch.log(chance if int(log_V.argmax()) == answer else 1 - chance))
    return torch.stack(parts).sum() / num_targets


@pytest.mark.parametrize(
    "config",
    [{"form": "anchor", "feature_layers": (0, -1), "damped": True}, {"form": "states"}, {"form": "token"}],
    ids=str,
)
def test_loss_and_gradients_are_the_references(config: dict[str, Any]) -> None:
    model = tiny_trm.language_model(**config)
    reference, batch = reference_of(model), batch_for(model)
    head_VD = model.get_output_embeddings().weight.detach()
    batch.targets_SBK[0, 0, 0] = (head_VD @ batch.base_BTD[0, 1]).argmax()  # the backbone gets one right
    found = objective_for(model, kl=0.3, halting=0.5).loss(batch, None, RNG).answer
    loss = found.total / found.number
    expected = reference_loss(reference, batch, head_VD, kl=0.3, halting=0.5)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-10)
    loss.backward()  # type: ignore[no-untyped-call]
    expected.backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.trm.named_parameters():
        wanted = reference.weights[name].grad
        given = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(given, torch.zeros_like(given) if wanted is None else wanted, rtol=0, atol=1e-10)


def test_the_head_reads_only_places_with_a_loss() -> None:
    model = tiny_trm.language_model()
    batch = batch_for(model)
    num_places = int((batch.targets_SBK != IGNORED).any(0).sum())
    assert num_places < batch.columns_BK.numel()
    head, read = model.get_output_embeddings(), []

    def counting(hidden_ND: Tensor) -> Tensor:
        read.append(len(hidden_ND))
        return head(hidden_ND)

    replace(objective_for(model), lm_head=counting).loss(batch, None, RNG)
    assert read == [num_places] * 3


def test_truncated_gradients_have_their_loss_on_the_last_recursions_alone() -> None:
    model = tiny_trm.language_model()
    batch = batch_for(model)
    loss = objective_for(model, with_grad=1).loss(batch, None, RNG)
    assert "right/3" in loss.measured
    assert "right/2" not in loss.measured
    loss.answer.total.backward()  # type: ignore[no-untyped-call]
    assert model.trm.y_init.grad is None  # constants then, as in the paper's code
    assert model.trm.out.weight.grad is not None


def test_two_carried_steps_end_in_the_state_of_one_twice_as_deep() -> None:
    model = tiny_trm.language_model()
    batch = batch_for(model)
    objective = objective_for(model, depth=2)
    first = objective.loss(batch, None, RNG)
    second = objective.loss(batch, first.carry, RNG)
    whole = list(iterates(model.trm, batch, depth=4))[-1]
    assert torch.equal(second.carry.y, whole.y)
    assert not second.carry.y.requires_grad


def test_columns_of_the_past_change_nothing_for_each_other() -> None:
    """The chosen columns recurse as they do when all of them do."""
    model = tiny_trm.language_model()
    batch = batch_for(model)
    everywhere = replace(batch, columns_BK=torch.arange(NUM_TOKENS).expand(2, -1))
    for few, all_of_them in zip(
        iterates(model.trm, batch, depth=3), iterates(model.trm, everywhere, depth=3), strict=True
    ):
        torch.testing.assert_close(few.y, at_columns(all_of_them.y, batch.columns_BK), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", ["anchor", "states", "token"])
def test_padding_on_the_right_or_the_left_changes_no_loss(form: str) -> None:
    model = tiny_trm.language_model(form=form)
    ids_1T = tiny_trm.ids(1, NUM_TOKENS)
    losses = []
    for left, right in ((0, 0), (3, 0), (0, 2)):
        padded_1T = torch.nn.functional.pad(ids_1T, (left, right), value=3)
        mask_1T = torch.nn.functional.pad(torch.ones_like(ids_1T), (left, right))
        position_1T = (mask_1T.cumsum(-1) - 1).clamp(min=0)
        frozen = model.read(padded_1T, attention_mask=mask_1T, position_ids=position_1T)
        batch = RecursiveBatch(
            hidden_LBTD=frozen.hidden_LBTD,
            base_BTD=frozen.base_BTD,
            position_BT=position_1T,
            mask_BT=mask_1T,
            columns_BK=torch.tensor([[1 + left, 4 + left]]),
            targets_SBK=torch.tensor([[[7, 2]]]),
        )
        losses.append(objective_for(model, halting=0.5).loss(batch, None, RNG).answer.total.item())
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-10)


def test_measures_tell_apart_what_is_reached_and_what_is_held() -> None:
    model = tiny_trm.language_model()
    batch = batch_for(model, num_steps_BK=torch.tensor([[1, 3], [2, 2]]))
    measured = objective_for(model).loss(batch, None, RNG).measured
    numbers = {name: int(each.number) for name, each in measured.items()}
    assert numbers["reached/1"] == 3
    assert numbers["held/1"] == 0
    assert (numbers["reached/2"], numbers["held/2"]) == (1, 1)
    assert (numbers["reached/3"], numbers["held/3"]) == (0, 2)
    assert (numbers["solved/1"], numbers["solved/2"], numbers["solved/3"]) == (1, 1, 0)
    assert numbers["answer"] == 3 + 2 + 2


def test_carried_states_may_wait_on_the_cpu() -> None:
    model = tiny_trm.language_model()
    objective = objective_for(model)
    objective.offload = True
    assert objective.loss(batch_for(model), None, RNG).carry.y.device.type == "cpu"


@pytest.mark.parametrize("changes", [{"kl": -1.0}, {"kl": math.inf}, {"halting": -0.1}, {"with_grad": 0}])
def test_shares_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        RecursiveWeights(**changes)
