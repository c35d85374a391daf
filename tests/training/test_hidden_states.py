"""Hidden states on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kit.errors import InputError, StorageError
from kit.training import hidden_states as module
from kit.training.hidden_states import HiddenStates, StatesKey, hidden_states

KEY = StatesKey(backbone_sha256="b", tokens_sha256="t", layers=(0, -1), width=3, dtype="float32")
LENGTHS = [2, 5, 1, 4] * 40


class Computed:
    """Counts rows; a row's states are its number and column."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.rows: list[int] = []
        self.fails_at = fails_at

    def __call__(self, rows: range) -> list[Tensor]:
        if self.fails_at is not None and self.fails_at in rows:
            raise KeyboardInterrupt
        self.rows += rows
        return [state_of(row) for row in rows]


def state_of(row: int) -> Tensor:
    columns = torch.arange(LENGTHS[row], dtype=torch.float32)[:, None, None]
    return (row + columns / 8).expand(-1, 2, 3)


def check(states: HiddenStates) -> None:
    first, last = states.batch([1, 6, 159], num_columns=6)
    for place, row in enumerate((1, 6, 159)):
        torch.testing.assert_close(first[place, : LENGTHS[row]], state_of(row)[:, 0], rtol=0, atol=0)
        assert not last[place, LENGTHS[row] :].any()


def test_states_are_computed_once_and_read_back_padded(tmp_path: Path) -> None:
    computed = Computed()
    check(hidden_states(tmp_path, KEY, LENGTHS, computed))
    assert computed.rows == list(range(160))
    check(hidden_states(tmp_path, KEY, LENGTHS, computed))
    assert len(computed.rows) == 160


@pytest.mark.parametrize("changes", [{"backbone_sha256": "x"}, {"tokens_sha256": "x"}, {"layers": (1, -1)}])
def test_other_weights_tokens_or_layers_are_other_states(tmp_path: Path, changes: dict[str, object]) -> None:
    computed = Computed()
    for key in (KEY, replace(KEY, **changes)):  # type: ignore[arg-type]
        hidden_states(tmp_path, key, LENGTHS, computed)
    assert len(computed.rows) == 320


def test_an_interrupted_computation_goes_on_where_it_was(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        hidden_states(tmp_path, KEY, LENGTHS, Computed(fails_at=130))
    again = Computed()
    check(hidden_states(tmp_path, KEY, LENGTHS, again))
    assert again.rows == list(range(2 * module.ROWS_AT_ONCE, 160))


def test_a_file_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    hidden_states(tmp_path, KEY, LENGTHS, Computed())
    (file,) = tmp_path.glob("*/*.f16")
    file.write_bytes(file.read_bytes()[:-2])
    again = Computed()
    check(hidden_states(tmp_path, KEY, LENGTHS, again))
    assert len(again.rows) == 160


def test_a_state_beyond_float16_is_refused_with_its_layer(tmp_path: Path) -> None:
    def huge(rows: range) -> list[Tensor]:
        states = [state_of(row).clone() for row in rows]
        states[0][0, 1, 0] = 1e6
        return states

    with pytest.raises(InputError, match=r"hidden state -1 reaches 1e\+06"):
        hidden_states(tmp_path, KEY, LENGTHS, huge)


def test_a_state_that_another_process_makes_is_refused_and_any_other_is_made(tmp_path: Path) -> None:
    other = replace(KEY, layers=(1, -1))

    def in_between(rows: range) -> list[Tensor]:
        check(hidden_states(tmp_path, other, LENGTHS, Computed()))
        with pytest.raises(StorageError, match="another process is using it"):
            hidden_states(tmp_path, KEY, LENGTHS, Computed())
        return Computed()(rows)

    check(hidden_states(tmp_path, KEY, LENGTHS, in_between))


def test_progress_is_told_in_rows(tmp_path: Path) -> None:
    told: list[int] = []
    hidden_states(tmp_path, KEY, LENGTHS, Computed(), tell=told.append)
    assert told == [64, 128, 160]
