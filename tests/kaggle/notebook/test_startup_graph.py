"""Steps in virtual time: who waits for whom, what a failure stops, what is put on record."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from kit.kaggle.notebook.startup_graph import Outcome, StartupGraph, Step, Timing


@dataclass
class Start:
    """A graph whose clock is trio's, and what it told."""

    timings: list[Timing] = field(default_factory=list)
    failure: Exception | None = None

    def __post_init__(self) -> None:
        self.graph = StartupGraph(clock=trio.current_time, on_end=self.timings.append)

    def run(self) -> float:
        """Seconds until the required steps were done."""

        async def main() -> float:
            begun_s = trio.current_time()
            self.failure = await self.graph.run()
            return trio.current_time() - begun_s

        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        return {timing.step: timing.outcome for timing in self.timings}


def sleeps(seconds: float, value: Any = None) -> Callable[[], Awaitable[Any]]:
    async def work() -> Any:
        await trio.sleep(seconds)
        return value

    return work


def breaks(error: BaseException, *, after_s: float = 0.0) -> Callable[[], Awaitable[Any]]:
    async def work() -> Any:
        await trio.sleep(after_s)
        raise error

    return work


def test_what_does_not_depend_on_each_other_happens_at_the_same_time() -> None:
    start = Start()
    restored = start.graph.add("restore", sleeps(1))
    installed = start.graph.add("install", sleeps(40), after=(restored,))
    start.graph.add("prefetch", sleeps(94), after=(restored,), is_optional=True)
    start.graph.add("engine", sleeps(120), after=(installed,))
    start.graph.add("sandboxes", sleeps(10))
    assert start.run() == pytest.approx(161)
    spans = {timing.step: timing.ended_s - timing.begun_s for timing in start.timings}
    assert spans == pytest.approx({"sandboxes": 10, "restore": 1, "install": 40, "prefetch": 94, "engine": 120})


def test_a_step_reads_the_values_of_those_it_comes_after() -> None:
    start = Start()
    one = start.graph.add("one", sleeps(5, 1))
    two = start.graph.add("two", sleeps(1, 2))

    async def total() -> int:
        return int(one.value) + int(two.value)

    three = start.graph.add("three", total, after=(one, two))
    start.run()
    assert three.value == 3


def test_a_value_that_was_not_waited_for_is_a_mistake_that_shows() -> None:
    start = Start()
    slow = start.graph.add("slow", sleeps(5, 1))

    async def too_early() -> Any:
        return slow.value

    start.graph.add("hasty", too_early)
    start.run()
    assert isinstance(start.failure, AssertionError)
    assert "let the step that asks come after it" in str(start.failure)


def test_a_required_step_that_fails_stops_the_others_and_its_own_error_comes_out() -> None:
    error = ValueError("no weights")
    start = Start()
    broken = start.graph.add("restore", breaks(error, after_s=3))
    start.graph.add("engine", sleeps(1), after=(broken,))
    start.graph.add("sandboxes", sleeps(math.inf))
    assert start.run() == pytest.approx(3)
    assert start.failure is error
    assert start.outcomes == {"restore": Outcome.FAILED, "sandboxes": Outcome.STOPPED}
    assert next(timing.note for timing in start.timings if timing.step == "restore") == "no weights"


def test_an_optional_step_that_fails_is_logged_and_what_came_after_it_never_begins(
    caplog: pytest.LogCaptureFixture,
) -> None:
    start = Start()
    ahead = start.graph.add("prefetch", breaks(OSError("no such disk")), is_optional=True)
    start.graph.add("more", sleeps(1), after=(ahead,), is_optional=True)
    start.graph.add("engine", sleeps(5))
    assert start.run() == pytest.approx(5)
    assert start.failure is None
    assert start.outcomes == {"prefetch": Outcome.FAILED, "engine": Outcome.DONE}
    assert ("WARNING", "prefetch failed") in [(record.levelname, record.getMessage()) for record in caplog.records]


def test_optional_steps_are_stopped_when_nothing_is_left_to_wait_for() -> None:
    start = Start()
    start.graph.add("prefetch", sleeps(math.inf), is_optional=True)
    start.graph.add("engine", sleeps(5))
    assert start.run() == pytest.approx(5)
    assert start.outcomes == {"engine": Outcome.DONE, "prefetch": Outcome.STOPPED}


def test_a_required_step_cannot_wait_for_an_optional_one() -> None:
    graph = StartupGraph(clock=lambda: 0.0, on_end=lambda timing: None)
    ahead = graph.add("prefetch", sleeps(1), is_optional=True)
    with pytest.raises(AssertionError, match="engine would wait for what may fail"):
        graph.add("engine", sleeps(1), after=(ahead,))


def test_a_library_that_ends_the_process_only_fails_its_step() -> None:
    start = Start()
    start.graph.add("engine", breaks(SystemExit(2)))
    start.run()
    assert "engine asked to end the process" in str(start.failure)


def test_cancelled_from_outside_every_step_is_stopped_and_on_record() -> None:
    start = Start()

    async def main() -> None:
        with trio.move_on_after(7) as scope:
            await start.graph.run()
        assert scope.cancelled_caught

    start.graph.add("engine", sleeps(math.inf))
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert start.outcomes == {"engine": Outcome.STOPPED}


def test_every_step_is_logged_with_its_length_and_put_on_record(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    start = Start()
    start.graph.add("install", sleeps(40))
    start.run()
    (record,) = (timing.record() for timing in start.timings)
    assert set(record) == {"kind", "step", "begun_s", "ended_s", "outcome", "note"}
    assert (record["kind"], record["step"], record["outcome"]) == ("startup", "install", "done")
    assert record["ended_s"] - record["begun_s"] == pytest.approx(40)
    assert "install done after 40.0 s" in caplog.text


@given(st.lists(st.tuples(st.integers(0, 50), st.sets(st.integers(0, 9), max_size=3)), min_size=1, max_size=10))
def test_the_graph_takes_as_long_as_its_longest_chain(steps: Sequence[tuple[int, set[int]]]) -> None:
    start, added, ends_s = Start(), list[Step[Any]](), list[int]()
    for number, (seconds, after) in enumerate(steps):
        earlier = [each for each in after if each < number]
        added.append(start.graph.add(str(number), sleeps(seconds), after=tuple(added[each] for each in earlier)))
        ends_s.append(seconds + max((ends_s[each] for each in earlier), default=0))
    assert start.run() == pytest.approx(max(ends_s))
    assert set(start.outcomes.values()) == {Outcome.DONE}
