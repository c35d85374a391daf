"""The optimiser's groups, its learning rate, the clipping of gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from kit.errors import InputError, SettingError
from kit.training.optimiser import OptimiserRecipe, learning_rate_at, optimiser_for, scale_and_clip, trainable
from tests.trm import tiny_trm


def test_norms_first_states_rates_and_biases_do_not_decay() -> None:
    trm = tiny_trm.trm_for(tiny_trm.backbone(), damped=True, feature_layers=(0, -1))
    optimiser = optimiser_for(trm, OptimiserRecipe(weight_decay=0.5))
    name_of = {parameter: name for name, parameter in trm.named_parameters()}
    decays = {
        name_of[parameter]: group["weight_decay"] == 0.5
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    assert decays.keys() == dict(trm.named_parameters()).keys()
    without = {name for name, does in decays.items() if not does}
    assert {"y_init", "z_init", "feature_mix", "rate_logits", "halt.bias", "feature_norm.weight"} <= without
    assert all("norm" in name for name in without - {"y_init", "z_init", "feature_mix", "rate_logits", "halt.bias"})
    assert {"out.weight", "halt.weight", "net.blocks.0.attention.query.weight"} <= decays.keys() - without


def test_a_module_without_anything_to_train_is_refused() -> None:
    with pytest.raises(InputError, match="no trainable parameter"):
        trainable(nn.Linear(2, 2).requires_grad_(False))


@given(
    num_updates=st.integers(1, 300),
    warmup=st.integers(0, 40),
    decay=st.sampled_from(["constant", "linear", "cosine"]),
    share=st.floats(0, 1),
)
def test_the_rate_rises_to_its_peak_and_never_rises_again(
    num_updates: int, warmup: int, decay: str, share: float
) -> None:
    recipe = OptimiserRecipe(learning_rate=1e-3, warmup_updates=warmup, decay=decay, decay_share=share)  # type: ignore[arg-type]
    rates = [learning_rate_at(update, num_updates, recipe) for update in range(num_updates)]
    assert all(0 < rate <= 1e-3 * (1 + 1e-12) for rate in rates)
    assert rates[: warmup + 1] == sorted(rates[: warmup + 1]) or num_updates <= warmup
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    if num_updates > warmup + 1 and decay == "constant":
        assert rates[-1] == 1e-3


def test_a_linear_decay_falls_over_the_last_share_alone() -> None:
    recipe = OptimiserRecipe(learning_rate=1.0, warmup_updates=10, decay="linear", decay_share=0.25)
    rates = [learning_rate_at(update, 100, recipe) for update in range(100)]
    assert rates[:10] == pytest.approx([(update + 1) / 10 for update in range(10)])
    assert rates[10:76] == [1.0] * 66
    assert rates[75:] == pytest.approx([(100 - update) / 25 for update in range(75, 100)])


def test_gradients_are_divided_before_they_are_clipped() -> None:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.tensor([30.0, 0.0]), torch.tensor([40.0])
    norm = scale_and_clip(parameters, factor=0.1, max_norm=1.0)
    assert float(norm) == pytest.approx(5.0)
    assert parameters[0].grad.tolist() == pytest.approx([0.6, 0.0], rel=1e-5)
    assert parameters[1].grad.tolist() == pytest.approx([0.8], rel=1e-5)


def test_short_gradients_are_left_alone() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([0.3, 0.4])
    assert float(scale_and_clip([parameter], factor=1.0, max_norm=1.0)) == pytest.approx(0.5)
    assert parameter.grad.tolist() == pytest.approx([0.3, 0.4])


@pytest.mark.parametrize(
    "changes", [{"learning_rate": 0.0}, {"learning_rate": math.nan}, {"max_grad_norm": 0.0}, {"decay": "steps"}]
)
def test_a_recipe_that_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        OptimiserRecipe(**changes)  # type: ignore[arg-type]
