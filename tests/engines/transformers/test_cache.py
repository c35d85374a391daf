"""The cache that grows in place against plain concatenation, and what it copies."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import DynamicCache

from kit.engines.transformers.cache import COLUMN_ROOM, GrowingLayer, GrowingTensor, growing_cache
from tests.engines import tiny

HEADS, SIZE = 2, 3


def numbers(num_rows: int, num_columns: int) -> Tensor:
    return torch.randn(num_rows, HEADS, num_columns, SIZE)


def padded(tensor_BHSD: Tensor, gap: int) -> Tensor:
    return torch.nn.functional.pad(tensor_BHSD, (0, 0, gap, 0))


def compacted(num_rows: int, leaving: set[int]) -> list[int]:
    """The last rows in the places of those that leave."""
    stays = [row for row in range(num_rows) if row not in leaving]
    moved = [row for row in stays if row >= len(stays)]
    return [row if row in stays else moved.pop(0) for row in range(len(stays))]


@given(data=st.data())
def test_whatever_joins_grows_and_leaves_it_shows_what_concatenation_would(data: st.DataObject) -> None:
    plain = numbers(data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5)))
    growing = GrowingTensor(plain)
    for _ in range(data.draw(st.integers(1, 12))):
        num_rows, _, num_columns, _ = plain.shape
        match data.draw(st.sampled_from(["columns", "rows", "leave", "select", "pads", "set"])):
            case "columns":
                new = numbers(num_rows, data.draw(st.sampled_from([1, 1, 2, COLUMN_ROOM + 1])))
                growing.append_columns(new)
                plain = torch.cat([plain, new], 2)
            case "rows":
                new = numbers(data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2 * num_columns)))
                longer = max(num_columns, new.shape[2])
                gap, new_gap = longer - num_columns, longer - new.shape[2]
                growing.append_rows(new, gap=gap, new_gap=new_gap)
                plain = torch.cat([padded(plain, gap), padded(new, new_gap)])
            case "leave":
                leaving = data.draw(st.sets(st.integers(0, num_rows - 1), max_size=num_rows - 1))
                rows, trim = compacted(num_rows, leaving), data.draw(st.integers(0, num_columns - 1))
                growing.select(rows, trim=trim)
                plain = plain[:, :, trim:][rows]
            case "select":
                rows = data.draw(st.lists(st.integers(0, num_rows - 1), min_size=1, max_size=5))
                growing.select(rows, trim=0)
                plain = plain[rows]
            case "pads":
                num_first = data.draw(st.integers(0, num_columns))
                pads = [data.draw(st.integers(0, num_columns - num_first)) for _ in range(num_rows)]
                growing.move_pads(num_first, pads)
                plain = torch.stack(
                    [
                        torch.cat([row[:, :num_pads], row[:, :num_first], row[:, num_first + num_pads :]], 1)
                        for row, num_pads in zip(plain, pads, strict=True)
                    ]
                )
            case "set":
                plain = torch.ones(()).expand(plain.shape)
                growing = GrowingTensor(plain)
        assert torch.equal(growing.shown, plain)


def test_a_token_is_written_without_moving_what_is_there() -> None:
    growing = GrowingTensor(numbers(2, 5))
    growing.append_columns(numbers(2, 1))
    place = growing.shown.data_ptr()
    for _ in range(COLUMN_ROOM):
        growing.append_columns(numbers(2, 1))
    assert growing.shown.data_ptr() == place
    growing.append_columns(numbers(2, 1))
    assert growing.shown.data_ptr() != place


def test_a_row_that_comes_takes_the_place_of_one_that_left() -> None:
    growing = GrowingTensor(numbers(4, 5))
    growing.append_columns(numbers(4, 1))
    place = growing.shown.data_ptr()
    growing.select([0, 3, 2], trim=0)
    growing.append_rows(numbers(1, 3), gap=0, new_gap=3)
    assert growing.shown.data_ptr() == place
    assert growing.shown.shape[0] == 4


def test_what_a_broken_row_left_behind_does_not_reach_the_row_that_follows_it() -> None:
    growing = GrowingTensor(torch.full((2, HEADS, 5, SIZE), torch.nan))
    growing.append_columns(numbers(2, 1))
    growing.select([0], trim=0)
    growing.append_rows(numbers(1, 2), gap=0, new_gap=4)
    assert growing.shown[1].isfinite().all()


def test_a_tensor_that_was_given_is_never_written_to() -> None:
    given_ = torch.zeros(()).expand(2, HEADS, 5, SIZE)
    growing = GrowingTensor(given_)
    growing.append_columns(numbers(2, 1))
    growing.append_rows(numbers(1, 6), gap=0, new_gap=0)
    assert given_.count_nonzero() == 0


def test_memory_is_given_back_once_half_of_the_rows_are_gone() -> None:
    growing = GrowingTensor(numbers(8, 5))
    growing.append_columns(numbers(8, 1))
    whole = growing.shown.untyped_storage().nbytes()
    growing.select([0, 1, 2, 3], trim=0)
    assert growing.shown.untyped_storage().nbytes() < whole / 2


def test_a_layer_does_what_a_dynamic_layer_does() -> None:
    model = tiny.build("llama")
    growing, plain = growing_cache(model.config), DynamicCache(config=model.config)
    assert all(isinstance(layer, GrowingLayer) for layer in growing.layers)
    ids_BT = torch.randint(tiny.EOS_ID, (3, 7))
    with torch.inference_mode():
        for begin, end in ((0, 4), (4, 5), (5, 7)):
            outputs = [model(ids_BT[:, begin:end], past_key_values=cache) for cache in (growing, plain)]
            assert torch.equal(outputs[0].logits, outputs[1].logits)
            assert growing.get_seq_length() == end
        for cache in (growing, plain):
            cache.batch_select_indices(torch.tensor([2, 0]))
            cache.crop(-2)
        for layer, expected in zip(growing.layers, plain.layers, strict=True):
            assert torch.equal(layer.keys, expected.keys)
            assert torch.equal(layer.values, expected.values)
