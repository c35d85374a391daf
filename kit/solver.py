"""The one flow under a deadline: Problem → Prompt → Sample → answer → Tally → Solution.

Attempts are tasks of one task group: each is journalled and counted as it ends, a decided vote cancels
the rest, a freed slot draws the next, and the problem's share of the budget is the outermost cancel
scope. The clock is the event loop's, so on trio's autojump clock a whole contest runs in virtual time.
Does not load models and does not speak to Kaggle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from kit.ballot import Ballot, Solution, StopReason, StopRule, blind_guess
from kit.budget import Budget
from kit.errors import EngineError, StorageError, check_fields
from kit.journal import Journal, Record
from kit.problem import Problem
from kit.prompting import build_prompt
from kit.sampling import MAX_DEPTH, Engine, Finish, Prompt, Sample, SamplingParams

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverConfig:
    """How a problem is sampled.

    width: attempts in flight at once. retry_s: a slot's pause after a broken attempt. grace_s: how long
    past its time an engine may take to hand back what it has. seed: the run's; attempt i of a problem
    has the same seed in every run with the same one. sampling: its own seed is replaced by the attempt's.
    depths: the ladder of recursion depths T for an engine that recurses, such as (3, 5, 10): num_samples
    are split evenly over its rungs in order, so that a vote which stays contested buys depth as well as
    samples; empty leaves `sampling.depth` as it is.
    Raises: InputError for a value outside its range.
    """

    stop: StopRule = field(default_factory=StopRule)
    sampling: SamplingParams = field(default_factory=SamplingParams)
    depths: tuple[int, ...] = ()
    width: int = 8
    retry_s: float = 2.0
    grace_s: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("width", self.width >= 1, ">= 1"),
                ("retry_s", self.retry_s >= 0, ">= 0"),
                ("grace_s", self.grace_s >= 0, ">= 0"),
                ("depths", all(0 <= depth <= MAX_DEPTH for depth in self.depths), f"in [0, {MAX_DEPTH}]"),
            ),
        )

    def params_of(self, problem: Problem, number: int) -> SamplingParams:
        """How attempt `number` is drawn: its seed, and its rung of the ladder."""
        seed = attempt_seed(self.seed, problem, number)
        if not self.depths:
            return dataclasses.replace(self.sampling, seed=seed)
        # A replacement for a broken attempt begins the ladder anew rather than crowding its deepest rung.
        rung = number % self.stop.num_samples * len(self.depths) // self.stop.num_samples
        return dataclasses.replace(self.sampling, seed=seed, depth=self.depths[rung])


@dataclass(slots=True)
class Solver:
    """Answers problems one after another with one engine and one budget.

    journal: where samples and solutions are kept; None keeps them in memory only.
    """

    engine: Engine
    budget: Budget
    journal: Journal | None
    config: SolverConfig = field(default_factory=SolverConfig)
    num_done: int = 0
    _ballots: dict[str, Ballot] = field(default_factory=dict)

    async def solve(self, problem: Problem) -> Solution:
        """Answer one problem within its share of the budget.

        A problem that the journal already answers is not sampled again, and samples that it holds are
        not drawn again. EngineError and StorageError are counted and logged, not raised.
        """
        try:
            return self._past_solution(problem) or await self._solve_anew(problem)
        finally:
            self.num_done += 1

    def best_so_far(self, problem: Problem, reason: StopReason, *, seconds: float) -> Solution:
        """The answer from the samples that have ended, for a caller that cannot wait any longer."""
        ballot = self._ballots.get(problem.key)
        if ballot is None:
            return blind_guess(problem.id, reason, why="sampling never began", seconds=seconds)
        return ballot.solution(reason, seconds=seconds)

    async def _solve_anew(self, problem: Problem) -> Solution:
        started = self.budget.clock()
        ballot = self._open_ballot(problem)
        reason = ballot.verdict(self.config.stop) or await self._fill(ballot)
        solution = ballot.solution(reason, seconds=self.budget.clock() - started)
        if solution.guess:
            log.warning("%s: guessed %d: %s", problem.id, solution.answer, solution.guess)
        self._write(solution_record(problem, solution))
        return solution

    def _open_ballot(self, problem: Problem) -> Ballot:
        ballot = self._ballots[problem.key] = Ballot(problem)
        for record in self._past("sample", problem):
            with _contained(f"{problem.id}, resuming"):
                ballot.resume(record["number"], _sample_of(record))
        return ballot

    async def _fill(self, ballot: Ballot) -> StopReason:
        """Draw attempts until the votes are enough or the problem's time is up."""
        allotted_s = self.budget.allot_s(self.num_done)
        if not allotted_s:
            return StopReason.OUT_OF_TIME
        deadline = anyio.current_time() + allotted_s
        prompt = build_prompt(ballot.problem)
        with anyio.move_on_after(allotted_s + self.config.grace_s):
            async with anyio.create_task_group() as group:
                for _ in range(min(self.config.width, self.config.stop.num_samples)):
                    group.start_soon(self._draw, ballot, prompt, deadline, group.cancel_scope)
        return ballot.verdict(self.config.stop) or StopReason.OUT_OF_TIME

    async def _draw(self, ballot: Ballot, prompt: Prompt, deadline: float, everyone: anyio.CancelScope) -> None:
        """One slot: attempt after attempt, until none is left to draw or the vote is enough."""
        while (number := ballot.take_number(self.config.stop)) is not None:
            timeout_s = deadline - anyio.current_time()
            if timeout_s <= 0:
                return
            sample = await self._attempt(ballot.problem, prompt, number, timeout_s)
            self._write(_record_of(ballot.problem, number, sample))
            with _contained(f"{ballot.problem.id}, attempt {number}"):
                ballot.count(sample)
            if ballot.verdict(self.config.stop) is not None:
                everyone.cancel()
                return
            if sample.finish is Finish.FAILED:
                await anyio.sleep(self.config.retry_s)

    async def _attempt(self, problem: Problem, prompt: Prompt, number: int, timeout_s: float) -> Sample:
        params = self.config.params_of(problem, number)
        started = anyio.current_time()
        try:
            return await self.engine.sample(prompt, params, timeout_s=timeout_s)
        except EngineError as error:
            log.warning("%s: attempt %d failed: %s", problem.id, number, error)
            reason = str(error)
        except Exception as error:  # a bug in an engine costs this attempt; let out of the task group, it costs all
            log.exception("%s: attempt %d broke", problem.id, number)
            reason = repr(error)
        seconds = anyio.current_time() - started
        return Sample(text="", num_tokens=0, finish=Finish.FAILED, seconds=seconds, seed=params.seed, error=reason)

    def _past_solution(self, problem: Problem) -> Solution | None:
        """What an earlier process answered; a guess is not final and is tried again."""
        for record in self._past("solution", problem):
            if not record["guess"]:
                return solution_of(record)
        return None

    def _past(self, kind: str, problem: Problem) -> Iterator[Record]:
        return iter(()) if self.journal is None else self.journal.past(kind, problem.key)

    def _write(self, record: Record) -> None:
        try:
            if self.journal is not None:
                self.journal.append(record)
        except StorageError:
            # A full disk must not cost an answer: the votes live on in memory.
            log.exception("%s: not journalled", record["problem"])


@contextmanager
def _contained(what: str) -> Iterator[None]:
    """A text that cannot be read, by a bug of ours, costs its own vote and not the problem."""
    try:
        yield
    except Exception:
        log.exception("%s: not counted", what)


def attempt_seed(seed: int, problem: Problem, number: int) -> int:
    """The seed of attempt `number`: differs between attempts and problems, fixed by the run's `seed`."""
    digest = hashlib.sha256(f"{seed}|{problem.key}|{number}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def solution_record(problem: Problem, solution: Solution) -> Record:
    """A solution as the journal holds it."""
    return {"kind": "solution", "problem": problem.key, **dataclasses.asdict(solution)}


def _record_of(problem: Problem, number: int, sample: Sample) -> Record:
    # Without the evidence of each token, which would be megabytes for a long thought.
    values = dataclasses.asdict(dataclasses.replace(sample, evidence=()))
    del values["evidence"]
    return {"kind": "sample", "problem": problem.key, "number": number, **values}


def _sample_of(record: Record) -> Sample:
    values = _fields(Sample, record)
    return Sample(**{**values, "finish": Finish(values["finish"])})


def solution_of(record: Record) -> Solution:
    """A solution as it was before `solution_record`."""
    values = _fields(Solution, record)
    votes = tuple((int(answer), int(count)) for answer, count in values["votes"])
    return Solution(**{**values, "reason": StopReason(values["reason"]), "votes": votes})


def _fields(kind: type[Any], record: Record) -> dict[str, Any]:
    return {each.name: record[each.name] for each in dataclasses.fields(kind) if each.name in record}
