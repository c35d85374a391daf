"""Cached decoding gives what recomputing the whole prefix gives, and what the cache costs."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.errors import InputError
from kit.trm.cache import cache_bytes_per_token
from kit.trm.config import TRMConfig
from tests.trm import tiny_trm
from tests.trm.decoding_error import decoding_error

DEPTHS = (0, 1, 2, 3, 5, 10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("form", tiny_trm.FORMS)
def test_decoding_with_the_cache_equals_recomputing_every_prefix(
    form: str, dtype: torch.dtype, tolerance: float
) -> None:
    """Ragged left-padded rows, a prefill in chunks, and a row that leaves midway; at every depth.

    A random net without attention is chaotic, and float32's rounding grows tenfold by T = 10 (see
    benchmarks/trm_exactness.py); damped updates keep it small, as they would a trained one's.
    """
    is_chaotic = form == "token" and dtype == torch.float32
    model = tiny_trm.language_model(form=form, dtype=dtype, damped=is_chaotic)
    for depth in DEPTHS:
        error = decoding_error(model, [depth] * 3)
        print(f"{form} {dtype} T={depth}: y {error.y:.1e}, logits {error.logits:.1e}")
        assert error.y <= tolerance
        assert error.logits <= tolerance
        assert not error.wrong_argmax


@pytest.mark.parametrize("kind", tiny_trm.KINDS)
@pytest.mark.parametrize("form", tiny_trm.FORMS)
def test_rows_of_different_depths_do_not_disturb_each_other(form: str, kind: str) -> None:
    model = tiny_trm.language_model(kind, form=form, feature_layers=(1, -1), damped=True)
    for depths in ((2, 5, 0), (0, 1, 3), (5, 2, 2)):
        error = decoding_error(model, depths)
        assert max(error.y, error.logits) <= 1e-9
        assert not error.wrong_argmax


@pytest.mark.parametrize(
    ("form", "chunks"), [(form, chunks) for form in tiny_trm.FORMS for chunks in ((11,), (1,) * 11)]
)
def test_the_prefills_chunks_do_not_matter(form: str, chunks: tuple[int, ...]) -> None:
    model = tiny_trm.language_model(form=form)
    assert max((error := decoding_error(model, [3] * 3, chunks=chunks)).y, error.logits) <= 1e-9


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_the_rows_chunks_and_depths_the_cache_changes_nothing(data: st.DataObject) -> None:
    model = tiny_trm.language_model(form=data.draw(st.sampled_from(tiny_trm.FORMS)), num_latent=1)
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=4))
    depths = data.draw(st.lists(st.integers(0, 4), min_size=len(lengths), max_size=len(lengths)))
    cuts = data.draw(st.sets(st.integers(1, max(lengths)), max_size=3)) | {max(lengths)}
    ends = [0, *sorted(cuts)]
    chunks = [end - begin for begin, end in pairwise(ends)]
    error = decoding_error(model, depths, lengths=lengths, chunks=chunks, num_new=5)
    assert max(error.y, error.logits) <= 1e-9
    assert not error.wrong_argmax


def test_keeping_only_the_last_step_changes_the_function_beyond_depth_one() -> None:
    model = tiny_trm.language_model(form="states", cache="last_step")
    assert decoding_error(model, [1] * 3, chunks=(11,)).y <= 1e-9
    assert decoding_error(model, [3] * 3, chunks=(11,)).y > 0.01


def test_the_last_step_cache_needs_one_depth_for_all_rows() -> None:
    model = tiny_trm.language_model(form="states", cache="last_step")
    with pytest.raises(InputError, match="one depth for all rows"):
        model(tiny_trm.ids(2, 3), depth=[1, 2])


def test_a_prompt_may_be_prefilled_at_depth_zero_unless_its_states_are_read_later() -> None:
    input_ids = tiny_trm.ids(1, 9)
    for form in ("anchor", "token"):
        model = tiny_trm.language_model(form=form)
        cache = model(input_ids[:, :8], depth=0, use_cache=True).past_key_values
        decoded = model(input_ids[:, 8:], depth=4, past_key_values=cache)
        torch.testing.assert_close(decoded.y[:, -1], model(input_ids, depth=4).y[:, -1], rtol=1e-9, atol=1e-9)
    model = tiny_trm.language_model(form="states")
    cache = model(input_ids[:, :8], depth=1, use_cache=True).past_key_values
    with pytest.raises(InputError, match="past was computed at a smaller depth than 4"):
        model(input_ids[:, 8:], depth=4, past_key_values=cache)


def test_positions_are_the_callers_and_the_cache_counts_nothing() -> None:
    """Regression: a cache that advances its own position does so once for each pass of the recursion."""
    for form in tiny_trm.FORMS:
        model = tiny_trm.language_model(form=form)
        input_ids, shifted = tiny_trm.ids(1, 6), torch.arange(6)[None] + 100
        whole = model(input_ids, position_ids=shifted, depth=3)
        cache = model(input_ids[:, :5], position_ids=shifted[:, :5], depth=3, use_cache=True).past_key_values
        assert {layer.get_seq_length() for layer in cache.layers} == {5}
        last = model(input_ids[:, 5:], position_ids=shifted[:, 5:], depth=3, past_key_values=cache)
        assert {layer.get_seq_length() for layer in cache.layers} == {6}
        torch.testing.assert_close(last.y[:, -1], whole.y[:, -1], rtol=1e-9, atol=1e-9)


def test_a_row_of_padding_changes_no_other_row() -> None:
    for form in tiny_trm.FORMS:
        model = tiny_trm.language_model(form=form)
        input_ids, mask = tiny_trm.left_padded(tiny_trm.ids(2, 6), [6, 0])
        output = model(input_ids, attention_mask=mask, depth=3)
        assert bool(output.logits.isfinite().all())
        torch.testing.assert_close(output.y[:1], model(input_ids[:1], depth=3).y, rtol=1e-9, atol=1e-9)


def test_the_anchors_projections_are_computed_once_for_a_token() -> None:
    model = tiny_trm.language_model(form="anchor")
    num_columns = 0

    def count(_module: object, args: tuple[torch.Tensor, ...], _output: object) -> None:
        nonlocal num_columns
        num_columns += args[0].shape[1]

    for block in model.trm.net.blocks:
        block.attention.key_value.register_forward_hook(count)
    cache = model(tiny_trm.ids(1, 5), depth=10, use_cache=True).past_key_values
    for _ in range(3):
        model(tiny_trm.ids(1, 1), depth=10, past_key_values=cache)
    assert num_columns == (5 + 3) * len(model.trm.net.blocks)


@pytest.mark.parametrize(
    ("config", "depth"),
    [
        ({"form": "anchor"}, 3),
        ({"form": "token"}, 3),
        ({"form": "states"}, 3),
        ({"form": "states", "cache": "last_step"}, 3),
    ],
    ids=str,
)
def test_the_byte_count_is_what_a_cache_holds(config: dict[str, str], depth: int) -> None:
    model = tiny_trm.language_model(**config)
    cache = model(tiny_trm.ids(1, 7), depth=depth, use_cache=True).past_key_values
    layers = cache.layers[model.backbone.config.num_hidden_layers :]
    held = sum(tensor.nbytes for layer in layers for tensor in (layer.keys, layer.values))
    assert held == 7 * cache_bytes_per_token(model.trm.config, depth=depth, dtype=torch.float64)


def test_the_anchor_costs_two_or_four_kib_a_token_at_any_depth() -> None:
    """Field notes 4.1, for Qwen2.5-Math 1.5B and 7B."""
    sizes = {"head_dim": 128}
    small = TRMConfig(hidden_size=1536, num_attention_heads=12, num_key_value_heads=2, **sizes)
    large = TRMConfig(hidden_size=3584, num_attention_heads=28, num_key_value_heads=4, **sizes)
    assert {cache_bytes_per_token(small, depth=depth) for depth in (0, 3, 64)} == {2048}
    assert {cache_bytes_per_token(large, depth=depth) for depth in (0, 3, 64)} == {4096}
