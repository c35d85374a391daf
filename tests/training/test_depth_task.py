"""The task `table`: what its rows say, by a plain walk along the cycle."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import SettingError
from kit.training.depth_task import Tables, TableTask

TASK = TableTask(num_symbols=6, max_steps=4, num_queries=5)


def cycle_of(tables: Tables, row: int, *, task: TableTask = TASK) -> dict[int, int]:
    pairs = tables.ids_BT[row, : 2 * task.num_symbols].view(-1, 2).tolist()
    return dict(pairs)


@given(seed=st.text(max_size=8), test=st.booleans())
def test_each_answer_is_k_steps_along_the_rows_only_cycle(seed: str, test: bool) -> None:
    tables = TASK.draw(seed, num_rows=3, least_steps=1, most_steps=4, test=test)
    for row in range(3):
        step = cycle_of(tables, row)
        assert step.keys() == set(step.values()) == set(range(6))
        walked = [0]
        for _ in range(5):
            walked.append(step[walked[-1]])
        assert sorted(walked) == list(range(6)), "one cycle"
        for query, column in enumerate(tables.columns_BK[row].tolist()):
            steps_token, symbol = tables.ids_BT[row, column - 1 : column + 1].tolist()
            assert steps_token - TASK.num_symbols + 1 == tables.num_steps_BK[row, query]
            value = symbol
            for number in range(TASK.max_steps):
                value = step[value]
                assert tables.images_SBK[number, row, query] == value
            assert tables.answers[row, query] == tables.images_SBK[tables.num_steps_BK[row, query] - 1, row, query]


def test_a_row_is_table_and_queries_and_nothing_else() -> None:
    tables = TASK.draw("x", num_rows=2, least_steps=1, most_steps=4)
    assert tables.ids_BT.shape == (2, TASK.num_columns)
    assert int(tables.ids_BT.max()) < TASK.vocab_size


def test_the_same_seed_gives_the_same_rows_and_another_one_others() -> None:
    draws = [TASK.draw(seed, num_rows=4, least_steps=1, most_steps=4).ids_BT for seed in ("a", "a", "b")]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_no_cycle_is_in_both_splits() -> None:
    def cycles(test: bool) -> set[tuple[int, ...]]:
        tables = TASK.draw("s", num_rows=200, least_steps=1, most_steps=1, test=test)
        return {tuple(cycle_of(tables, row)[symbol] for symbol in range(6)) for row in range(200)}

    trained, tested = cycles(False), cycles(True)
    assert trained
    assert tested
    assert not trained & tested


def test_difficulties_are_those_asked_for_and_all_of_them() -> None:
    tables = TASK.draw("x", num_rows=60, least_steps=2, most_steps=3)
    assert set(tables.num_steps_BK.flatten().tolist()) == {2, 3}


@pytest.mark.parametrize("changes", [{"num_symbols": 3}, {"max_steps": 0}, {"num_queries": 0}])
def test_sizes_that_make_no_sense_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(SettingError):
        TableTask(**changes)
