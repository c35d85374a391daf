"""Which rows a group has."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kit.training.batches import Batches, kept_layers
from kit.training.rows import Rows


def batches(num_rows: int, *, seed: int = 0, rank: int = 0, number: int = 1, accumulated: int = 2) -> Batches:
    rows = Rows(
        tokens=np.arange(4 * num_rows, dtype=np.int32),
        offsets=np.arange(0, 4 * num_rows + 1, 4),
        answers=np.full(num_rows, 2),
    )
    device = torch.device("cpu")
    return Batches(rows=rows, batch_size=4, accumulated=accumulated, seed=seed, rank=rank, number=number, device=device)


@given(num_rows=st.integers(1, 40), seed=st.integers(0, 5))
def test_every_row_comes_once_in_an_epoch_and_in_another_order_in_the_next(num_rows: int, seed: int) -> None:
    made = batches(num_rows, seed=seed)
    stream = [row for group in range(num_rows) for batch in made.rows_of_group(group) for row in batch]
    for epoch in range(len(stream) // num_rows):
        assert Counter(stream[epoch * num_rows : (epoch + 1) * num_rows]) == Counter(range(num_rows))
    if num_rows > 20:
        assert stream[:num_rows] != stream[num_rows : 2 * num_rows]


@pytest.mark.parametrize("number", [2, 4])
def test_processes_share_out_the_batches_of_one(number: int) -> None:
    for group in range(5):
        whole = batches(10).rows_of_group(group)
        shares = [batches(10, rank=rank, number=number).rows_of_group(group) for rank in range(number)]
        for index, batch in enumerate(whole):
            shared = [row for share in shares for row in share[index]]
            assert Counter(shared) == Counter(batch)
            assert {len(share[index]) for share in shares} == {4 // number}


def test_a_group_is_the_same_whenever_it_is_asked_for() -> None:
    first = [batch.ids_BT for batch in batches(10).of_group(3)]
    again = [batch.ids_BT for batch in batches(10).of_group(3)]
    assert len(first) == 2
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_the_last_state_is_kept_once() -> None:
    assert kept_layers((-1,)) == (-1,)
    assert kept_layers((0, 5)) == (0, 5, -1)
    assert kept_layers((0, -1)) == (0, -1)
