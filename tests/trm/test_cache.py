"""Cached decoding gives what recomputing the whole prefix gives, and what the cache costs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.errors import InputError
from kit.trm.cache import cache_bytes_per_token
from kit.trm.config import TRMConfig
from kit.trm.language_model import RecursiveLM
from tests.trm import tiny_trm
from tests.trm.decoding_error import decoding_error

DEPTHS = (0, 1, 3, 10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("form", tiny_trm.FORMS)
def test_decoding_with_the_cache_equals_recomputing_every_prefix(
    form: str, dtype: torch.dtype, tolerance: float
) -> None:
    """Ragged left-padded rows, a prefill in chunks, and a row that leaves midway; at every depth.

    With the config's own `damped`: undamped, a random net without attention is chaotic, and float32's rounding
    may grow beyond 1e-4 by T = 10 (see benchmarks/trm_exactness.py).
    """
    model = tiny_trm.language_model(form=form, dtype=dtype)
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


@settings(max_examples=12)
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
    with pytest.raises(InputError, match=r"computed at depth \[1\] .* asks for \[4\]"):
        model(input_ids[:, 8:], depth=4, past_key_values=cache)


def counted_projections(model: RecursiveLM) -> list[int]:
    """Grows by the number of columns of each projection to keys and values."""
    num_columns: list[int] = []
    for block in model.trm.net.blocks:
        block.attention.key_value.register_forward_hook(lambda _m, args, _out: num_columns.append(args[0].shape[1]))
    return num_columns


@pytest.mark.parametrize("depth", [0, None, [0, 0], torch.tensor([0, 0])], ids=str)
def test_generating_at_depth_zero_makes_nothing_for_a_recursion(depth: Any) -> None:
    for form in ("anchor", "states"):
        model = tiny_trm.language_model(form=form, depth=0)
        num_columns = counted_projections(model)
        settings = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "return_dict_in_generate": True}
        generated = model.generate(tiny_trm.ids(2, 6), depth=depth, **settings)
        expected = model.backbone.generate(tiny_trm.ids(2, 6), **settings)
        assert torch.equal(generated.sequences, expected.sequences)
        assert num_columns == []
        assert len(generated.past_key_values.layers) == len(expected.past_key_values.layers)


@pytest.mark.parametrize("form", ["anchor", "states"])
def test_a_past_that_kept_nothing_is_never_recursed_over(form: str) -> None:
    """It may go on at depth 0 however it is asked to; a deeper token must be told, not be given zeros."""
    model = tiny_trm.language_model(form=form)
    input_ids = tiny_trm.ids(2, 8)
    cache = model(input_ids[:, :5], depth=0, recurses_later=False, use_cache=True).past_key_values
    step = model(input_ids[:, 5:6], depth=0, past_key_values=cache)
    torch.testing.assert_close(step.logits, model.backbone(input_ids[:, :6]).logits[:, 5:], rtol=1e-9, atol=1e-9)
    for depth in (2, [0, 2]):
        with pytest.raises(InputError, match=r"nothing for a recursion to read.*recurses_later=True"):
            model(input_ids[:, 6:7], depth=depth, past_key_values=cache)
    assert cache.get_seq_length() == 6, "refused before the cache grew"


def test_what_the_anchor_kept_before_a_stretch_without_is_not_read() -> None:
    model = tiny_trm.language_model(form="anchor")
    input_ids = tiny_trm.ids(1, 8)
    cache = model(input_ids[:, :5], depth=3, use_cache=True).past_key_values
    model(input_ids[:, 5:6], depth=0, past_key_values=cache, recurses_later=False)
    with pytest.raises(InputError, match="nothing for a recursion to read"):
        model(input_ids[:, 6:7], depth=3, past_key_values=cache)


def test_a_cache_from_generate_at_depth_zero_recurses_if_that_was_asked_for() -> None:
    model = tiny_trm.language_model(form="anchor")
    settings = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "return_dict_in_generate": True}
    generated = model.generate(tiny_trm.ids(1, 6), depth=0, recurses_later=True, **settings)
    last = model(generated.sequences[:, -1:], depth=4, past_key_values=generated.past_key_values)
    whole = model(generated.sequences, depth=4)
    torch.testing.assert_close(last.y[:, -1], whole.y[:, -1], rtol=1e-9, atol=1e-9)


def test_rows_that_recurse_now_cannot_be_said_not_to_later() -> None:
    with pytest.raises(InputError, match="for rows that stay at depth 0"):
        tiny_trm.language_model()(tiny_trm.ids(2, 3), depth=[0, 1], recurses_later=False)


@pytest.mark.parametrize(
    ("cache", "before", "after"),
    [
        ("exact", [2, 2], [1, 1]),
        ("exact", [2, 2], [0, 0]),
        ("exact", [0, 0], [2, 2]),
        ("exact", [3, 3], [3, 2]),
        ("exact", [3, 1], [3, 2]),
        ("last_step", [3, 3], [2, 2]),
        ("last_step", [1, 1], [2, 2]),
    ],
)
def test_a_row_whose_states_are_cached_cannot_change_its_depth(cache: str, before: list[int], after: list[int]) -> None:
    """Regression: going shallower, or deeper beside a deep neighbour, read other states than a recomputation."""
    model = tiny_trm.language_model(form="states", cache=cache)
    input_ids = tiny_trm.ids(2, 8)
    past = model(input_ids[:, :5], depth=before, use_cache=True).past_key_values
    with pytest.raises(InputError, match="needs one depth for the whole life of a row"):
        model(input_ids[:, 5:6], depth=after, past_key_values=past)
    model(input_ids[:, 5:6], depth=before, past_key_values=past)


def test_the_recorded_depths_follow_the_rows() -> None:
    """However the cache is reordered, selected or cropped, a row's depth goes with its columns."""
    model = tiny_trm.language_model(form="states")
    input_ids = tiny_trm.ids(3, 8)
    cache = model(input_ids[:, :6], depth=[1, 3, 0], use_cache=True).past_key_values
    cache.reorder_cache(torch.tensor([2, 0, 1]))
    cache.batch_select_indices(torch.tensor([0, 2]))
    cache.crop(-1)
    with pytest.raises(InputError, match=r"depth \[0, 3\]"):
        model(input_ids[[2, 1], 5:6], depth=[1, 3], past_key_values=cache)
    step = model(input_ids[[2, 1], 5:6], depth=[0, 3], past_key_values=cache)
    for row, depth in ((2, 0), (1, 3)):
        whole = model(input_ids[[row], :6], depth=depth)
        torch.testing.assert_close(step.logits[[0 if depth == 0 else 1], 0], whole.logits[:, 5], rtol=1e-9, atol=1e-9)


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
    num_columns = counted_projections(model)
    cache = model(tiny_trm.ids(1, 5), depth=10, use_cache=True).past_key_values
    for _ in range(3):
        model(tiny_trm.ids(1, 1), depth=10, past_key_values=cache)
    assert sum(num_columns) == (5 + 3) * len(model.trm.net.blocks)


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
