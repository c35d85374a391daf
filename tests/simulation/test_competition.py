"""Random competitions at the boundary, on a real clock: each keeps its promise, and what breaks it is told."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kit.simulation.competition import (
    MACHINE_S,
    PROBLEMS,
    Answered,
    CompetitionOutcome,
    check_competitions,
    competition_violations,
    play,
    play_life,
)
from kit.simulation.faulty import AttemptFault, DiskFault, LoadFault, TemplateFault, random_competition
from kit.solver.journal import Record, read_records
from kit.solver.stopping import StopReason

FEW = range(24)
MANY = range(24, 400)
KILLED = range(40)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What strikes on purpose is not told."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def check(seeds: Iterable[int]) -> None:
    broken = {checked.seed: checked.violations for checked in check_competitions(seeds) if checked.violations}
    assert not broken, f"see one again: kit simulate --scenarios 1 --competitions 1 --seed {min(broken)}\n{broken}"


def test_every_predict_keeps_its_share_and_the_whole_its_limit() -> None:
    check(FEW)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_hundreds_of_competitions_keep_the_promise() -> None:
    check(MANY)


def test_the_few_hold_every_fault() -> None:
    plans = [random_competition(seed) for seed in FEW]
    faults = (*LoadFault, *AttemptFault, *TemplateFault, *DiskFault)
    kinds = {fault.value for fault in faults if fault.name != "NONE"}
    assert {fault for plan in plans for fault in plan.faults} == kinds
    assert {len(plan.lives) for plan in plans} == {1, 2, 3}
    assert {bool(plan.solver.selection.num_rounds) for plan in plans} == {bool(p.solver.depths) for p in plans}
    assert plans == [random_competition(seed) for seed in FEW]


def outcome_of(seed: int) -> CompetitionOutcome:
    outcome = play(random_competition(seed))
    assert list(competition_violations(outcome)) == []
    return outcome


def with_first(outcome: CompetitionOutcome, **changes: Any) -> CompetitionOutcome:
    """With another answer, or other seconds, of the first predict."""
    first, *others = outcome.answered
    if "answer" in changes:
        changes = {"solution": dataclasses.replace(first.solution, **changes)}
    return dataclasses.replace(outcome, answered=(dataclasses.replace(first, **changes), *others))


def test_what_breaks_the_promise_is_told() -> None:
    outcome = outcome_of(next(seed for seed in range(100) if is_calm(seed)))
    first = outcome.answered[0]
    assert not first.solution.guess
    samples = tuple(record for record in outcome.records if record["kind"] == "sample")
    later = dataclasses.replace(first.solution, guess="no engine", begun_s=60.0)
    guessed_by_the_next = dataclasses.replace(first, life=9, solution=later)
    unsolved = tuple(record for record in outcome.records if record["kind"] != "solution")
    solved = tuple(record for record in outcome.records if record["kind"] == "solution")
    broken = {
        "was answered 100000": with_first(outcome, answer=100_000),
        "was answered 4.0": with_first(outcome, answer=4.0),
        "its share and the slack": with_first(outcome, seconds=first.allowed_s + MACHINE_S + 0.1),
        "which no sample in the journal says": with_first(outcome, answer=77),
        "problems were asked": dataclasses.replace(outcome, answered=outcome.answered[1:]),
        "the limit and the slack": dataclasses.replace(outcome, seconds=40.0),
        "is in the journal 2 times": dataclasses.replace(outcome, records=(*outcome.records, *samples)),
        "solutions in the journal": dataclasses.replace(outcome, records=outcome.records + solved * 3),
        "has no solution": dataclasses.replace(outcome, records=unsolved),
        "and the journal held": dataclasses.replace(outcome, answered=(*outcome.answered, guessed_by_the_next)),
        "by a process before it": dataclasses.replace(
            outcome, answered=(*outcome.answered, *with_first(outcome, answer=77).answered)
        ),
    }
    for told, each in broken.items():
        assert any(told in violation for violation in competition_violations(each)), told


def is_calm(seed: int) -> bool:
    """Whether its first process loads well and has its first answer before anything goes wrong."""
    plan = random_competition(seed)
    well = {AttemptFault.NONE} == set(plan.lives[0].attempts[:3])
    return well and plan.lives[0].load is LoadFault.NONE and plan.solver.stop.num_samples == 2


# ----------------------------------------------------------------------------- processes that are killed


def live(seed: int, number: int, path: Path, spent_s: float, told: Connection) -> None:
    """One process: tells that it begins, and each answer as it is given. spent_s: by those before it."""
    logging.disable(logging.CRITICAL)
    begun_s = time.monotonic()
    told.send("begun")
    clock = lambda: spent_s + time.monotonic() - begun_s  # noqa: E731
    for each in play_life(random_competition(seed), number, path, clock=clock, release=threading.Event()):
        told.send(each)
    told.send("ended")
    signal.pause()  # beside the threads that something blocks; it is killed


def answers_until(told: Connection, deadline_s: float) -> Iterator[Answered]:
    while told.poll(max(0.0, deadline_s - time.monotonic())):
        each = told.recv()
        if each == "ended":
            return
        yield each


def killed_and_resumed(seed: int, path: Path) -> CompetitionOutcome:
    """The competition of this seed in processes of their own, all but the last of which are killed at any moment."""
    plan, rng, context = random_competition(seed), Random(seed), multiprocessing.get_context("spawn")
    spent_s = 0.0
    answered: list[Answered] = []
    kept: list[Record] = []
    for number in range(len(plan.lives)):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=live, args=(seed, number, path, spent_s, theirs), daemon=True)
        process.start()
        assert ours.recv() == "begun"  # Python's own start is no part of the limit
        begun_s = time.monotonic()
        is_last = number == len(plan.lives) - 1
        answered += answers_until(ours, begun_s + (60.0 if is_last else rng.uniform(0, 2.0)))
        spent_s += time.monotonic() - begun_s
        process.kill()
        process.join()
        records = list(read_records(path)) if path.exists() else []
        assert records[: len(kept)] == kept, "a record was lost or changed"
        solved = Counter(record["problem"] for record in records[len(kept) :] if record["kind"] == "solution")
        assert set(solved.values()) <= {1}, "one process put a problem's solution on record twice"
        kept = records
    return CompetitionOutcome(plan=plan, answered=tuple(answered), seconds=spent_s, records=tuple(kept))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [seed for seed in KILLED if len(random_competition(seed).lives) > 1])
def test_a_process_that_is_killed_at_any_moment_loses_no_record_and_no_problem(seed: int, tmp_path: Path) -> None:
    """SIGKILL, amid a load, an attempt, a write or a blocked loop; the last process answers everything."""
    outcome = killed_and_resumed(seed, tmp_path / "journal.jsonl")
    last = [each for each in outcome.answered if each.life == len(outcome.plan.lives) - 1]
    assert [each.solution.problem_id for each in last] == [problem.id for problem in PROBLEMS]
    violations = list(competition_violations(dataclasses.replace(outcome, answered=tuple(last))))
    of_all_lives = ("problems were asked", "solutions in the journal")  # not of the last alone; see killed_and_resumed
    assert [each for each in violations if not any(words in each for words in of_all_lives)] == []
    assert not [each for each in competition_violations(outcome) if "share and the slack" in each]
    settled = {
        record["problem"]: record["answer"]
        for record in outcome.records
        if record["kind"] == "solution" and not record["guess"] and record["reason"] != StopReason.INTERRUPTED
    }
    by_key = {problem.key: each.solution for problem, each in zip(PROBLEMS, last, strict=True)}
    for key, answer in settled.items():
        if by_key[key].reason not in (StopReason.ENGINE_FAILED, StopReason.INTERRUPTED):
            assert by_key[key].answer == answer
