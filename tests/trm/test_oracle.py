"""The recursion against the slow reference, in float64 to 1e-10: states, losses, gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from kit.trm.language_model import RecursiveLM
from kit.trm.model import Columns
from kit.trm.recursion import iterates
from tests.oracles.trm_reference import Reference, Sizes
from tests.trm import tiny_trm

NUM_TOKENS = 4
EXACT = {"rtol": 0, "atol": 1e-10}


def reference_of(model: RecursiveLM) -> Reference:
    config = model.trm.config
    sizes = Sizes(
        num_heads=config.num_attention_heads,
        num_kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        num_layers=config.num_layers,
        rope_base=config.rope_base,
        form=config.form,
        num_latent=config.num_latent,
        damped=config.damped,
    )
    weights = {name: tensor.detach().clone().requires_grad_() for name, tensor in model.trm.named_parameters()}
    return Reference({**weights, **dict(model.trm.named_buffers())}, sizes)


def vectors(tensor_TD: Tensor) -> list[Tensor]:
    return list(tensor_TD.unbind())


def columns_of(input_ids: Tensor) -> Columns:
    num_tokens = input_ids.shape[1]
    return Columns(position_BT=torch.arange(num_tokens)[None], num_keep=num_tokens)


@pytest.mark.parametrize(
    "config",
    [
        {"form": "anchor"},
        {"form": "states"},
        {"form": "token"},
        {"form": "anchor", "feature_layers": (0, 2, -1), "damped": True},
        {"form": "anchor", "feature_layers": (0, -1), "whitened": True},
        {"form": "states", "whitened": True},
        {"form": "states", "num_layers": 1, "num_latent": 3},
    ],
    ids=str,
)
def test_every_state_equals_the_reference(config: dict[str, Any]) -> None:
    model, reference = (model := tiny_trm.language_model(**config)), reference_of(model)
    input_ids = tiny_trm.ids(1, NUM_TOKENS)
    frozen = model.read(input_ids)
    with torch.no_grad():
        expected = reference.steps([vectors(hidden[0]) for hidden in frozen.hidden_LBTD], depth=3)
        for depth in range(1, 4):
            output = model(input_ids, depth=depth)
            y_TD = torch.stack(expected[depth].y)
            torch.testing.assert_close(output.y[0], y_TD, **EXACT)
            q_T = torch.stack([reference.halting_logit(y) for y in y_TD])
            torch.testing.assert_close(output.halting_logit[0], q_T, **EXACT)
            joined_TD = frozen.base_BTD[0] + y_TD @ model.trm.out.weight.T
            torch.testing.assert_close(output.logits[0], joined_TD @ model.get_output_embeddings().weight.T, **EXACT)
        recursed = model.trm(model.trm.inject(frozen.hidden_LBTD), columns_of(input_ids), 2, depth=2)
        torch.testing.assert_close(recursed.state.z[0], torch.stack(expected[2].z), **EXACT)


@pytest.mark.parametrize(("form", "damped"), [("anchor", True), ("states", False), ("token", False)])
def test_deep_supervision_gives_the_references_losses_and_gradients(form: str, damped: bool) -> None:
    num_supervision, depth = 2, 2
    layers = (1, -1) if form == "anchor" else (-1,)
    model = tiny_trm.language_model(form=form, damped=damped, feature_layers=layers)
    reference = reference_of(model)
    input_ids, labels = tiny_trm.ids(1, NUM_TOKENS), tiny_trm.ids(1, NUM_TOKENS, seed=5)
    labels[0, 0] = model(input_ids, depth=depth).logits[0, 0].argmax()  # one prediction is right
    frozen = model.read(input_ids)
    head = model.get_output_embeddings().weight
    expected_gradients: list[dict[str, Tensor]] = []

    def remember() -> None:
        expected_gradients.append({n: w.grad.clone() for n, w in reference.weights.items() if w.grad is not None})

    expected = reference.deep_supervision(
        [vectors(hidden[0]) for hidden in frozen.hidden_LBTD],
        vectors(frozen.base_BTD[0]),
        head.detach(),
        labels[0].tolist(),
        num_supervision=num_supervision,
        depth=depth,
        after_step=remember,
    )
    trm = model.trm
    state = trm.initial_state(1, NUM_TOKENS)
    for step in range(num_supervision):
        x_BTD = trm.inject(frozen.hidden_LBTD)
        reader = trm.reader(x_BTD, columns_of(input_ids), depth=depth)
        *_, state = iterates(reader, x_BTD, state, depth=depth, num_latent=trm.config.num_latent, rates=trm.rates)
        logits_TV = (frozen.base_BTD + trm.delta(state.y))[0] @ head.T
        is_right_T = (logits_TV.argmax(-1) == labels[0]).double()
        loss = cross_entropy(logits_TV, labels[0])
        loss = loss + binary_cross_entropy_with_logits(trm.halting_logit(state.y)[0], is_right_T)
        loss.backward()
        state = state.detach()
        assert loss.item() == pytest.approx(expected[step], abs=1e-10)
        gradients = {name: p.grad for name, p in trm.named_parameters() if p.grad is not None}
        assert gradients.keys() == expected_gradients[step].keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, expected_gradients[step][name], **EXACT)


def test_supervision_steps_of_depth_t_and_one_run_of_their_product_give_one_state() -> None:
    model = tiny_trm.language_model()
    input_ids = tiny_trm.ids(1, NUM_TOKENS)
    x_BTD = model.trm.inject(model.read(input_ids).hidden_LBTD)
    with torch.no_grad():
        reader = model.trm.reader(x_BTD, columns_of(input_ids), depth=3)
        state = model.trm.initial_state(1, NUM_TOKENS)
        for _ in range(2):
            *_, state = iterates(reader, x_BTD, state, depth=3, num_latent=2)
        assert torch.equal(model(input_ids, depth=6).y, state.y)


def test_more_deep_recursions_may_carry_gradient() -> None:
    model = tiny_trm.language_model()
    input_ids = tiny_trm.ids(1, NUM_TOKENS)
    for num_with_grad, reaches_the_first_state in ((1, False), (2, True)):
        x_BTD = model.trm.inject(model.read(input_ids).hidden_LBTD)
        reader = model.trm.reader(x_BTD, columns_of(input_ids), depth=2)
        state = model.trm.initial_state(1, NUM_TOKENS)
        *_, last = iterates(reader, x_BTD, state, depth=2, num_latent=2, num_with_grad=num_with_grad)
        (gradient,) = torch.autograd.grad(last.y.sum(), model.trm.y_init, allow_unused=True)
        assert (gradient is not None) is reaches_the_first_state


def test_the_second_step_moves_every_weight() -> None:
    """Zero factors in series never learn: after one step of `out`, no tensor's gradient may be zero."""
    model = tiny_trm.language_model(is_trained=False, feature_layers=(1, -1), damped=True)
    input_ids, labels = tiny_trm.ids(2, 8), tiny_trm.ids(2, 8, seed=3)
    optimiser = torch.optim.SGD(model.trm.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        output = model(input_ids, depth=2)
        loss = cross_entropy(output.logits.flatten(0, 1), labels.flatten()) + output.halting_logit.square().mean()
        loss.backward()
        optimiser.step()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.trm.parameters())
    assert all(p.grad is None for p in model.backbone.parameters())
