"""The problems in words say what the task's tensors say."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmarks.depth_problems import problems
from kit.training.depth_task import TableTask

TASK = TableTask(num_symbols=9, max_steps=6, num_queries=1)


@pytest.mark.parametrize("test", [False, True])
def test_a_reader_of_the_words_reaches_every_step_and_the_answer(test: bool) -> None:
    for row in problems(TASK, number=40, most_steps=6, test=test):
        assert walked(row["problem"]) == [*row["steps"], int(row["answer"])]
        assert row["level"] == len(row["steps"]) + 1


def test_no_cycle_is_both_trained_and_tested() -> None:
    trained, tested = ({cycle(row) for row in problems(TASK, number=60, most_steps=6, test=test)} for test in (0, 1))
    assert not trained & tested


def walked(text: str) -> list[int]:
    links = dict(re.findall(r"Box (\d) leads to (\d)\.", text))
    start = re.search(r"Begin at box (\d)", text)
    times = re.search(r"(\d) times", text)
    assert start is not None
    box, reached = start[1], []
    for _ in range(int(times[1]) if times else 1):
        box = links[box]
        reached.append(int(box))
    return reached


def cycle(row: dict[str, Any]) -> frozenset[tuple[str, str]]:
    return frozenset(re.findall(r"Box (\d) leads to (\d)\.", row["problem"]))
