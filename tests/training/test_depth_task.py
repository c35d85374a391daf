"""The tasks `table` and `chain`: what their rows say, by a plain walk along the map."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InputError, SettingError
from kit.training.depth_task import ChainTask, DepthTask, Tables, TableTask

TASK = TableTask(num_symbols=6, max_steps=4, num_queries=5)
SMALL = TableTask(num_symbols=9, max_steps=4, num_queries=5, num_used=5)
CHAINS = ChainTask(num_symbols=10, num_chains=2, max_steps=3, num_queries=5)


def map_of(tables: Tables, row: int, *, num_used: int, separator: int) -> dict[int, int]:
    pairs = tables.ids_BT[row, : 3 * num_used].view(-1, 3)
    assert pairs[:, 2].tolist() == [separator] * num_used, "each pair has its separator"
    return dict(pairs[:, :2].tolist())


def cycle_of(tables: Tables, row: int, *, task: TableTask = TASK) -> dict[int, int]:
    return map_of(tables, row, num_used=task.num_used or task.num_symbols, separator=task.vocab_size - 1)


def walked_from(step: dict[int, int], symbol: int, num_steps: int) -> list[int]:
    walked = [symbol]
    for _ in range(num_steps):
        walked.append(step[walked[-1]])
    return walked


@pytest.mark.parametrize("task", [TASK, SMALL])
@given(seed=st.text(max_size=8), test=st.booleans())
def test_each_answer_is_k_steps_along_the_rows_only_cycle(task: TableTask, seed: str, test: bool) -> None:
    tables = task.draw(seed, num_rows=3, least_steps=1, most_steps=4, test=test)
    num_used = task.num_used or task.num_symbols
    for row in range(3):
        step = cycle_of(tables, row, task=task)
        assert step.keys() == set(step.values())
        assert len(set(walked_from(step, next(iter(step)), num_used - 1))) == num_used, "one cycle"
        for query, column in enumerate(tables.columns_BK[row].tolist()):
            steps_token, symbol = tables.ids_BT[row, column - 1 : column + 1].tolist()
            num_steps = steps_token - task.num_symbols + 1
            assert num_steps == tables.num_steps_BK[row, query]
            walked = walked_from(step, symbol, task.max_steps)
            assert tables.images_SBK[:, row, query].tolist() == walked[1:]
            assert tables.answers[row, query] == walked[num_steps]


@given(seed=st.text(max_size=8), test=st.booleans())
def test_each_answer_is_the_end_of_the_symbols_chain_and_so_many_steps_away(seed: str, test: bool) -> None:
    tables = CHAINS.draw(seed, num_rows=3, least_steps=1, most_steps=3, test=test)
    for row in range(3):
        step = map_of(tables, row, num_used=8, separator=11)
        ends = [symbol for symbol in step if step[symbol] == symbol]
        assert len(ends) == 2
        for query, column in enumerate(tables.columns_BK[row].tolist()):
            question, symbol = tables.ids_BT[row, column - 1 : column + 1].tolist()
            assert question == CHAINS.num_symbols
            walked = walked_from(step, symbol, CHAINS.max_steps)
            num_steps = int(tables.num_steps_BK[row, query])
            assert walked[num_steps] == walked[-1] == tables.answers[row, query]
            assert walked[-1] in ends
            assert walked[num_steps - 1] not in ends
            assert tables.images_SBK[:, row, query].tolist() == walked[1:]


@pytest.mark.parametrize("task", [TASK, SMALL, CHAINS])
def test_a_row_is_table_and_queries_and_nothing_else(task: DepthTask) -> None:
    tables = task.draw("x", num_rows=2, least_steps=1, most_steps=3)
    assert tables.ids_BT.shape == (2, task.num_columns)
    assert int(tables.ids_BT.max()) < task.vocab_size


@pytest.mark.parametrize("task", [SMALL, CHAINS])
def test_a_row_of_few_symbols_has_others_in_each_row(task: DepthTask) -> None:
    tables = task.draw("x", num_rows=30, least_steps=1, most_steps=3)
    assert len({tuple(sorted(set(row[::3]))) for row in tables.ids_BT[:, : 3 * 5].tolist()}) > 1


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


@pytest.mark.parametrize(
    "changes", [{"num_symbols": 3}, {"max_steps": 0}, {"num_queries": 0}, {"num_used": 3}, {"num_used": 9}]
)
def test_sizes_that_make_no_sense_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(SettingError):
        TableTask(**changes)


@pytest.mark.parametrize("changes", [{"num_symbols": 26}, {"num_chains": 1}, {"max_steps": 0}, {"num_queries": 0}])
def test_chains_that_make_no_sense_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(SettingError):
        ChainTask(**changes)


def test_a_query_of_more_steps_than_a_chain_has_is_refused() -> None:
    with pytest.raises(InputError, match=r"4 steps.*3"):
        CHAINS.draw("x", num_rows=1, least_steps=1, most_steps=4)
