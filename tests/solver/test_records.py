"""What the journal holds of samples and solutions, through JSON and back, and what older journals hold."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from kit.budget import Budget, BudgetConfig
from kit.engines.scripted import Script, ScriptedEngine
from kit.problem import Problem
from kit.sampling import FinishReason, Sample, TokenStats, ToolCall
from kit.solver.config import SolverConfig
from kit.solver.journal import Journal, Record
from kit.solver.records import cancelled_record, sample_of, sample_record, solution_of, solution_record
from kit.solver.solution import Solution
from kit.solver.solver import Solver
from kit.solver.stopping import StopConfig, StopReason
from kit.voting.tally import Vote

PROBLEM = Problem("p1", "What is $1+1$?")

maybe = st.none() | st.floats(allow_nan=False, allow_infinity=False)
samples = st.builds(
    Sample,
    text=st.text(st.characters()) | st.just("\ud800 \x00 \u2028 \\boxed{2}"),
    num_tokens=st.integers(0, 10**6),
    finish=st.sampled_from(FinishReason),
    seconds=st.floats(0, 1e5),
    seed=st.integers(0, 2**63 - 1),
    mean_logprob=maybe,
    mean_entropy=maybe,
    error=st.text(),
    depth=st.none() | st.integers(0, 64),
    halting=st.none() | st.floats(0, 1),
    num_calls=st.integers(0, 99),
    num_failed_calls=st.integers(0, 99),
)
solutions = st.builds(
    Solution,
    problem_id=st.text(),
    answer=st.integers(0, 99_999),
    reason=st.sampled_from(StopReason),
    votes=st.lists(st.tuples(st.integers(0, 99_999), st.integers(1, 64))).map(tuple),
    num_samples=st.integers(0, 64),
    num_tokens=st.integers(0, 10**9),
    seconds=st.floats(0, 1e5),
    begun_s=st.floats(0, 1e5),
    allotted_s=st.floats(0, 1e5),
    guess=st.text(),
    depth=st.none() | st.integers(0, 64),
)


def through_json(record: Record) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(record, ensure_ascii=True))
    return read


@given(samples.filter(lambda sample: bool(sample.text.strip())))
def test_a_sample_comes_back_from_json_as_it_was(sample: Sample) -> None:
    record = through_json(sample_record(PROBLEM, 3, sample, Vote(2, 1.25), begun_s=1.5, ended_s=9.0))
    assert sample_of(record) == sample
    told = {name: record[name] for name in ("kind", "problem", "number", "begun_s", "ended_s", "answer", "weight")}
    assert told == {
        "kind": "sample", "problem": PROBLEM.key, "number": 3, "begun_s": 1.5, "ended_s": 9.0,
        "answer": 2, "weight": 1.25,
    }  # fmt: skip


def test_what_is_known_of_each_token_and_call_stays_out_of_the_journal() -> None:
    bare = Sample(text="2", num_tokens=1, finish=FinishReason.STOP, seconds=1.0, seed=7)
    token_stats = (TokenStats(logprob=-1.0, entropy=0.5),)
    full = dataclasses.replace(
        bare, token_stats=token_stats, tool_calls=(ToolCall(id="1", name="python", arguments="{}"),)
    )
    record = through_json(sample_record(PROBLEM, 0, full, None, begun_s=0, ended_s=1))
    assert (record["answer"], record["weight"]) == (None, None)
    assert not {"token_stats", "tool_calls"} & set(record)
    assert sample_of(record) == bare
    assert sample_of({**record, "token_stats": [{"logprob": -1.0}]}) == bare  # a journal that did keep it


@given(solutions)
def test_a_solution_comes_back_from_json_as_it_was(solution: Solution) -> None:
    record = through_json(solution_record(PROBLEM, solution))
    assert solution_of(record) == solution
    assert (record["kind"], record["problem"]) == ("solution", PROBLEM.key)
    assert record["ended_s"] == solution.begun_s + solution.seconds


def test_a_cut_attempt_is_told_with_its_number_and_times() -> None:
    assert through_json(cancelled_record(PROBLEM, 5, begun_s=1.0, ended_s=2.5)) == {
        "kind": "cancelled", "problem": PROBLEM.key, "number": 5, "begun_s": 1.0, "ended_s": 2.5,
    }  # fmt: skip


OLD_SAMPLE = {
    "kind": "sample", "problem": PROBLEM.key, "number": 0, "answer": 2, "text": "So \\boxed{2}.", "num_tokens": 9,
    "finish": "stop", "seconds": 3.0, "seed": 11, "mean_logprob": -0.5, "mean_entropy": 0.4, "error": "",
}  # fmt: skip
OLD_SOLUTION = {
    "kind": "solution", "problem": PROBLEM.key, "problem_id": "p1", "answer": 2, "reason": "confident",
    "votes": [[2, 4]], "num_samples": 4, "num_tokens": 36, "seconds": 3.0, "guess": "",
}  # fmt: skip


def test_a_record_from_before_the_newer_fields_reads_as_their_defaults() -> None:
    sample = sample_of(OLD_SAMPLE)
    assert (sample.finish, sample.seed, sample.depth, sample.num_calls) == (FinishReason.STOP, 11, None, 0)
    solution = solution_of(OLD_SOLUTION)
    assert (solution.votes, solution.reason) == (((2, 4),), StopReason.CONFIDENT)
    assert (solution.begun_s, solution.allotted_s, solution.depth) == (0.0, 0.0, None)


def test_a_record_with_fields_of_a_later_version_is_read_without_them() -> None:
    assert sample_of({**OLD_SAMPLE, "mood": "good"}) == sample_of(OLD_SAMPLE)
    assert solution_of({**OLD_SOLUTION, "mood": "good"}) == solution_of(OLD_SOLUTION)


WRONG = [
    ("problem_id", 5), ("guess", [1]), ("answer", True), ("answer", "2"), ("answer", -1), ("num_samples", "x"),
    ("num_samples", 4.0), ("num_tokens", None), ("seconds", "x"), ("seconds", float("nan")), ("begun_s", "y"),
    ("begun_s", None), ("allotted_s", []), ("depth", "q"), ("depth", True), ("posterior", "z"), ("gain", {}),
    ("price", False), ("votes", None), ("votes", "ab"), ("votes", [[2]]), ("reason", []), ("tie_break", []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_solution_with_a_value_of_another_kind_is_refused(name: str, value: object) -> None:
    """Bug of an earlier version: it was believed, and broke whoever reckoned with the value."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        solution_of({**OLD_SOLUTION, name: value})


def test_every_value_of_a_solution_has_a_kind_that_is_checked() -> None:
    record = solution_record(PROBLEM, solution_of(OLD_SOLUTION))
    for name in {each.name for each in dataclasses.fields(Solution)}:
        with pytest.raises((KeyError, TypeError, ValueError)):
            solution_of({**record, name: object()})


def resumed(path: Path, samples: Sequence[Record], *, num_samples: int, in_order: bool) -> tuple[Solution, int]:
    """The solution of a run that found these samples in its journal, and how many it drew."""
    lines = [{"kind": "run"}, *samples]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    engine = ScriptedEngine(lambda prompt, params: Script(text="\\boxed{2}"))
    config = SolverConfig(stop=StopConfig(num_samples=num_samples, rule="votes(4)"), width=1, in_order=in_order)

    async def competition() -> Solution:
        with Journal.open(path, run={}) as journal:
            return await Solver(engine, Budget(BudgetConfig(), trio.current_time), journal, config).solve(PROBLEM)

    solution = trio.run(competition, clock=trio.testing.MockClock(autojump_threshold=0))
    return solution, len(engine.calls)


@pytest.mark.parametrize("in_order", [False, True])
def test_a_resumed_vote_weighs_what_the_journal_says(tmp_path: Path, in_order: bool) -> None:
    samples = [
        {**OLD_SAMPLE, "number": 0, "text": "\\boxed{3}", "weight": 0.75},
        {**OLD_SAMPLE, "number": 1, "text": "\\boxed{2}", "weight": 1.25},
    ]
    solution, num_drawn = resumed(tmp_path / "j", samples, num_samples=2, in_order=in_order)
    assert (solution.answer, num_drawn) == (2, 0)  # 3, the larger, of equals


@pytest.mark.parametrize("in_order", [False, True])
def test_an_old_journal_is_resumed(tmp_path: Path, in_order: bool) -> None:
    samples = [{**OLD_SAMPLE, "number": number, "seed": number} for number in range(3)]
    solution, num_drawn = resumed(tmp_path / "old", samples, num_samples=8, in_order=in_order)
    assert (solution.answer, solution.votes, num_drawn) == (2, ((2, 4),), 1)


@pytest.mark.parametrize("in_order", [False, True])
def test_a_solution_without_its_samples_is_not_believed(tmp_path: Path, in_order: bool) -> None:
    """Regression: one line at the end of a journal answered the problem, whatever else the journal held."""
    lone = {**OLD_SOLUTION, "answer": 77, "votes": [[77, 4]]}
    solution, num_drawn = resumed(tmp_path / "lone", [lone], num_samples=8, in_order=in_order)
    assert (solution.answer, solution.votes) == (2, ((2, num_drawn),))
    assert num_drawn > 1  # the price of time may stop it before four


@pytest.mark.parametrize("in_order", [False, True])
def test_a_solution_that_its_samples_contradict_is_worked_out_from_them(tmp_path: Path, in_order: bool) -> None:
    samples = [{**OLD_SAMPLE, "number": number, "seed": number} for number in range(4)]
    wrong = {**OLD_SOLUTION, "answer": 77, "votes": [[77, 4]]}
    solution, num_drawn = resumed(tmp_path / "wrong", [*samples, wrong], num_samples=8, in_order=in_order)
    assert (solution.answer, solution.votes, num_drawn) == (2, ((2, 4),), 0)


@pytest.mark.parametrize("in_order", [False, True])
def test_a_solution_that_its_samples_bear_out_is_final(tmp_path: Path, in_order: bool) -> None:
    samples = [{**OLD_SAMPLE, "number": number, "seed": number} for number in range(4)]
    told = {**OLD_SOLUTION, "seconds": 123.0}
    solution, num_drawn = resumed(tmp_path / "whole", [*samples, told], num_samples=8, in_order=in_order)
    assert (solution, num_drawn) == (solution_of(told), 0)
