"""A recursion at named columns is the recursion of those columns."""

from __future__ import annotations

import pytest
import torch

from kit.errors import InputError
from kit.trm.model import Columns
from tests.trm import tiny_trm

COLUMNS = torch.tensor([[0, 3, 8], [8, 5, 4], [7, 7, 8]])


@pytest.mark.parametrize("form", ["anchor", "token"])
@pytest.mark.parametrize("is_padded", [True, False])
def test_named_columns_read_what_they_read_among_all_columns(form: str, is_padded: bool) -> None:
    model = tiny_trm.language_model(form=form)
    _, mask_BT = tiny_trm.left_padded(tiny_trm.ids(3, 9), [9, 7, 2])
    position_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
    x_BTD, h_BTD = torch.randn(2, 3, 9, 32, dtype=torch.float64)
    mask = mask_BT if is_padded else None
    every = model.trm.reader(x_BTD, Columns(position_BT=position_BT, mask_BS=mask, num_keep=9), depth=1)
    named = model.trm.reader_at(x_BTD, position_BT, COLUMNS, mask_BT=mask)
    index_BKD = COLUMNS[..., None].expand(-1, -1, 32)
    expected_BKD = every(h_BTD, 0).gather(1, index_BKD)
    torch.testing.assert_close(named(h_BTD.gather(1, index_BKD), 0), expected_BKD, rtol=0, atol=1e-12)


def test_what_a_named_column_may_not_see_changes_nothing_for_it() -> None:
    model = tiny_trm.language_model(form="anchor")
    x_BTD, h_BTD = torch.randn(2, 3, 9, 32, dtype=torch.float64)
    position_BT = torch.arange(9).expand(3, -1)
    visible_BKT = torch.ones(3, 3, 9, dtype=torch.bool)
    visible_BKT[0, 1, 2:4] = False  # of the column 3: column 2, and itself
    h_BKD = h_BTD.gather(1, COLUMNS[..., None].expand(-1, -1, 32))
    changed_BTD = x_BTD.clone()
    changed_BTD[0, 2:4] = 9.0
    read = [model.trm.reader_at(x, position_BT, COLUMNS, visible_BKT=visible_BKT)(h_BKD, 0)
            for x in (x_BTD, changed_BTD)]  # fmt: skip
    torch.testing.assert_close(read[0][0, 1], read[1][0, 1], rtol=0, atol=1e-12)
    assert not torch.equal(read[0][0, 2], read[1][0, 2])  # its neighbour sees them
    every = model.trm.reader_at(x_BTD, position_BT, COLUMNS)(h_BKD, 0)
    torch.testing.assert_close(read[0][1:], every[1:], rtol=0, atol=1e-12)


def test_the_form_states_recurses_every_column() -> None:
    model = tiny_trm.language_model(form="states")
    with pytest.raises(InputError, match="recurses every column"):
        model.trm.reader_at(torch.zeros(1, 2, 32), torch.arange(2)[None], torch.zeros(1, 1, dtype=torch.long))
