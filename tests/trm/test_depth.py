"""Depth as a dial: per row, by early exit, by the gate; and which depths are refused."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from kit.errors import InputError
from kit.trm.config import TRMConfig, default_intermediate_size
from kit.trm.language_model import entropy
from tests.trm import tiny_trm

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
SEPARABLE = ("anchor", "token")


@pytest.mark.parametrize("form", tiny_trm.FORMS)
def test_every_row_has_the_depth_it_asks_for(form: str) -> None:
    model = tiny_trm.language_model(form=form)
    input_ids = tiny_trm.ids(4, 7)
    depths = [0, 5, 2, 5]
    for asked in (depths, torch.tensor(depths)):
        output = model(input_ids, depth=asked)
        assert output.depth[:, 0].tolist() == depths
        for row, depth in enumerate(depths):
            alone = model(input_ids[[row]], depth=depth)
            torch.testing.assert_close(output.logits[[row]], alone.logits, **CLOSE)


def test_the_default_depth_is_the_configs() -> None:
    assert tiny_trm.language_model(depth=4)(tiny_trm.ids(1, 2)).depth.tolist() == [[4, 4]]


@pytest.mark.parametrize("form", SEPARABLE)
@pytest.mark.parametrize(("damped", "rule"), [(True, {"converged_below": 0.5}), (False, {"halt_above": 0.0})], ids=str)
def test_each_token_ends_at_the_first_depth_its_rule_allows(form: str, damped: bool, rule: dict[str, float]) -> None:
    full = tiny_trm.language_model(form=form, damped=damped)
    early = tiny_trm.language_model(form=form, damped=damped, **rule)
    input_ids = tiny_trm.ids(3, 8)
    per_depth = [full(input_ids, depth=depth) for depth in range(1, 9)]
    output = early(input_ids, depth=8)
    assert len(set(output.depth.flatten().tolist())) > 1
    y_0 = full.trm.initial_state(3, 8).y
    for row in range(3):
        for column in range(8):
            ended = int(output.depth[row, column])
            ys = [y_0[row, column], *[each.y[row, column] for each in per_depth]]
            qs = [each.halting_logit[row, column] for each in per_depth]
            moved = [(new - old).norm() / new.norm() for old, new in pairwise(ys)]
            meets = [q > 0 for q in qs] if "halt_above" in rule else [move < 0.5 for move in moved]
            assert ended == next((depth for depth, met in enumerate(meets, start=1) if met), 8)
            torch.testing.assert_close(output.y[row, column], ys[ended], **CLOSE)


@pytest.mark.parametrize("form", SEPARABLE)
def test_tokens_that_end_early_change_nothing_for_later_ones_in_cached_decoding(form: str) -> None:
    """The next token's keys are x, not states, so a neighbour's early end is exact; also in a batch."""
    model = tiny_trm.language_model(form=form, damped=True, converged_below=0.5)
    input_ids = tiny_trm.ids(3, 9)
    whole = model(input_ids, depth=8)
    cache = model(input_ids[:, :4], depth=8, use_cache=True).past_key_values
    for column in range(4, 9):
        step = model(input_ids[:, [column]], depth=8, past_key_values=cache)
        assert torch.equal(step.depth[:, 0], whole.depth[:, column])
        torch.testing.assert_close(step.logits[:, 0], whole.logits[:, column], **CLOSE)


@pytest.mark.parametrize("form", SEPARABLE)
def test_the_gate_recurses_only_where_the_backbone_is_unsure(form: str) -> None:
    plain = tiny_trm.language_model(form=form)
    input_ids = tiny_trm.ids(3, 8)
    backbone_logits = plain.backbone(input_ids).logits
    entropies = entropy(backbone_logits)
    gate = entropies.median().item()
    gated = tiny_trm.language_model(form=form, gate_entropy=gate)
    output = gated(input_ids, depth=3)
    is_unsure = entropies > gate
    assert torch.equal(output.depth, is_unsure * 3)
    assert torch.equal(output.logits[~is_unsure], backbone_logits[~is_unsure])
    torch.testing.assert_close(output.logits[is_unsure], plain(input_ids, depth=3).logits[is_unsure], **CLOSE)
    cache = gated(input_ids[:, :7], depth=3, use_cache=True).past_key_values
    step = gated(input_ids[:, 7:], depth=3, past_key_values=cache)
    torch.testing.assert_close(step.logits[:, 0], output.logits[:, 7], **CLOSE)


def test_a_row_that_ended_costs_nothing_more() -> None:
    model = tiny_trm.language_model(form="anchor")
    num_rows = []
    model.trm.net.register_forward_hook(lambda _module, args, _output: num_rows.append(len(args[0])))
    model(tiny_trm.ids(4, 1), depth=[1, 3, 0, 1])
    assert num_rows == [3] * 3 + [1] * 6  # three applications a deep recursion


def test_generate_takes_a_depth_and_leaves_the_rows_apart() -> None:
    for form in tiny_trm.FORMS:
        model = tiny_trm.language_model(form=form)
        input_ids, mask = tiny_trm.left_padded(tiny_trm.ids(3, 9), [9, 2, 5])
        settings = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
        together = model.generate(input_ids, attention_mask=mask, depth=torch.tensor([3, 0, 5]), **settings)
        for row, (length, depth) in enumerate([(9, 3), (2, 0), (5, 5)]):
            alone = model.generate(input_ids[[row], 9 - length :], depth=depth, **settings)
            assert torch.equal(together[row, 9 - length :], alone[0])


def test_beams_and_several_sequences_a_prompt_keep_their_rows_depth() -> None:
    for form in tiny_trm.FORMS:
        model = tiny_trm.language_model(form=form)
        settings = {
            "max_new_tokens": 5,
            "num_beams": 3,
            "num_return_sequences": 2,
            "do_sample": False,
            "pad_token_id": 0,
        }
        together = model.generate(tiny_trm.ids(2, 6), depth=torch.tensor([1, 4]), **settings)
        for row, depth in enumerate((1, 4)):
            alone = model.generate(tiny_trm.ids(2, 6)[[row]], depth=depth, **settings)
            assert torch.equal(together[2 * row : 2 * row + 2], alone)


@pytest.mark.parametrize("depth", [-1, 65, True, 1.5, [1], [1, 2, -1], [1, 2, 99]])
def test_a_depth_that_makes_no_sense_is_refused(depth: Any) -> None:
    with pytest.raises(InputError, match="depth must be"):
        tiny_trm.language_model()(tiny_trm.ids(3, 4), depth=depth)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 65}, r"depth must be in \[0, 64\], got 65"),
        ({"detph": 3}, "no setting 'detph'; did you mean 'depth'"),
        ({"form": "anchors"}, "form"),
        ({"cache": "last_step"}, "exact unless form is 'states'"),
        ({"form": "states", "halt_above": 0.0}, "form='states' cannot stop early"),
        ({"form": "states", "gate_entropy": 1.0}, "form='states' cannot stop early"),
        ({"num_latent": 0}, "num_latent must be >= 1"),
        ({"num_key_value_heads": 3}, "multiple of num_key_value_heads"),
        ({"head_dim": 7}, "head_dim must be even"),
        ({"feature_layers": ()}, "at least one layer"),
        ({"converged_below": 0.0}, "converged_below must be > 0"),
        ({"halt_above": float("nan")}, "halt_above must be finite"),
        ({"gate_entropy": -1.0}, "gate_entropy must be >= 0"),
    ],
    ids=str,
)
def test_a_config_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TRMConfig.for_backbone(tiny_trm.backbone().config, **changes)


def test_sizes_come_from_the_backbones_config() -> None:
    for kind, head_dim in (("qwen2", 8), ("qwen3", 16)):
        config = TRMConfig.for_backbone(tiny_trm.backbone(kind, vocab_size=77).config)
        assert (config.hidden_size, config.vocab_size, config.head_dim) == (32, 77, head_dim)
        assert (config.num_attention_heads, config.num_key_value_heads) == (4, 2)
    for hidden_size, expected in ((512, 1536), (1536, 4096), (3584, 9728)):  # docs/recursion.md#sizes
        sized = TRMConfig.for_backbone(tiny_trm.backbone(hidden_size=32).config, hidden_size=hidden_size)
        assert sized.num_supervision * sized.depth * (sized.num_latent + 1) * sized.num_layers == 672
        assert default_intermediate_size(hidden_size) == expected
