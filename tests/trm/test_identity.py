"""Untrained, or at depth 0, the model is its backbone, bit for bit."""

from __future__ import annotations

import pytest
import torch

from kit.trm.language_model import RecursiveLM
from tests.trm import tiny_trm

DTYPES = (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("kind", tiny_trm.KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", tiny_trm.FORMS)
@torch.no_grad()
def test_an_untrained_model_gives_its_backbones_logits_at_every_depth(form: str, dtype: torch.dtype, kind: str) -> None:
    model = tiny_trm.language_model(kind, form=form, dtype=dtype, is_trained=False)
    input_ids, mask = tiny_trm.left_padded(tiny_trm.ids(3, 9), [9, 2, 5])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    settings = {"attention_mask": mask, "position_ids": positions}
    for rows in (slice(0, 1), slice(0, 3)):
        inputs = {name: tensor[rows] for name, tensor in settings.items()}
        for keep in (0, 1):
            expected = model.backbone(input_ids[rows], **inputs, logits_to_keep=keep).logits
            for depth in (0, 1, 2, 3, 5, 10):
                found = model(input_ids[rows], **inputs, logits_to_keep=keep, depth=depth).logits
                assert torch.equal(found, expected), (rows, keep, depth)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", tiny_trm.FORMS)
@torch.no_grad()
def test_an_untrained_model_decodes_as_its_backbone(form: str, dtype: torch.dtype) -> None:
    model = tiny_trm.language_model(form=form, dtype=dtype, is_trained=False)
    input_ids, mask = tiny_trm.left_padded(tiny_trm.ids(3, 9), [9, 2, 5])
    settings = {"attention_mask": mask, "max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    expected = model.backbone.generate(input_ids, **settings)
    for depth in (0, 3, torch.tensor([1, 0, 3])):
        assert torch.equal(model.generate(input_ids, depth=depth, **settings), expected)


@torch.no_grad()
def test_a_trained_model_at_depth_zero_is_its_backbone_row_by_row() -> None:
    model = tiny_trm.language_model(dtype=torch.bfloat16)
    input_ids = tiny_trm.ids(2, 6)
    expected = model.backbone(input_ids).logits
    assert torch.equal(model(input_ids, depth=0).logits, expected)
    mixed = model(input_ids, depth=[0, 2])
    assert torch.equal(mixed.logits[0], expected[0])
    assert not torch.equal(mixed.logits[1], expected[1])
    assert mixed.depth.tolist() == [[0] * 6, [2] * 6]
    assert mixed.halting_logit[0].isnan().all()


@torch.no_grad()
def test_a_recursion_in_float32_joins_a_backbone_in_bfloat16() -> None:
    model = tiny_trm.backbone(dtype=torch.bfloat16)
    joined = RecursiveLM(model, tiny_trm.trm_for(model, is_trained=False).float()).eval()
    input_ids = tiny_trm.ids(2, 6)
    output = joined(input_ids, depth=3)
    assert output.y.dtype == torch.float32
    assert torch.equal(output.logits, model(input_ids).logits)


def test_the_backbone_is_frozen_and_stays_in_eval_mode() -> None:
    model = tiny_trm.language_model().train()
    assert model.trm.training
    assert not any(module.training for module in model.backbone.modules())
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())
    assert all(parameter.requires_grad for parameter in model.trm.parameters())


def test_an_untrained_recursion_keeps_its_zeros() -> None:
    """Regression: the source project zeroed its output and then initialised every module once more."""
    trm = tiny_trm.trm_for(tiny_trm.backbone(), is_trained=False)
    assert not trm.out.weight.any()
    assert not trm.halt.weight.any()
    assert trm.halt.bias.item() == -5
    assert 0.5 < trm.y_init.std() < 1.5
    width = trm.config.hidden_size
    assert trm.net.blocks[0].swiglu.gate_up.weight.std().item() == pytest.approx(width**-0.5, rel=0.1)
