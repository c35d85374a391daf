"""The one flow under a deadline: Problem → Prompt → Sample → answer → Tally → Solution.

Attempts are tasks of one nursery. Each is journalled and counted as it ends; a decided vote cancels
the rest; a freed slot draws the next; the problem's share of the budget is the outermost cancel
scope. The clock is the event loop's, so on trio's autojump clock a whole competition runs in virtual time.
Does not load models and does not speak to Kaggle.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from concurrent.futures import Future

import trio

from kit.budget import Budget
from kit.problem import Problem
from kit.prompting import build_prompt
from kit.sampling import Engine, Prompt
from kit.solver.attempts import AttemptLoop
from kit.solver.config import SolverConfig, attempt_seed
from kit.solver.genselect import Selection, select
from kit.solver.journal import Journal, Record
from kit.solver.pacing import Pacer
from kit.solver.reading import TextReader
from kit.solver.records import solution_record
from kit.solver.resuming import Past, contained
from kit.solver.solution import Solution, blind_guess
from kit.solver.stopping import StopReason
from kit.solver.vote_state import VoteState
from kit.tools.reasoner import ToolReasoner

log = logging.getLogger(__name__)


class Solver:
    """Answers problems one after another with one engine and one budget.

    journal: where samples and solutions are kept; None keeps them in memory only. config: None for the defaults.
    on_record: is shown each record, such as an attempt that has ended, whether or not it is kept.
    """

    def __init__(
        self,
        engine: Engine,
        budget: Budget,
        journal: Journal | None = None,
        config: SolverConfig | None = None,
        *,
        on_record: Callable[[Record], object] = lambda record: None,
    ) -> None:
        self.engine = engine
        self.budget = budget
        self.journal = journal
        self.config = config = config or SolverConfig()
        self._on_record = on_record
        self._past = Past(journal=journal, config=config)
        self.num_done = 0
        self._pacer = Pacer(config.pacing)
        self._vote_state: VoteState | None = None  # of the problem in hand, or of the last one

    async def solve(self, problem: Problem, *, claim: Future[Solution] | None = None) -> Solution:
        """Answer one problem within its share of the budget.

        A problem that the journal already answers is not sampled again, and samples that it holds are
        not drawn again. EngineError and StorageError are counted and logged, not raised.
        claim: has the solution before it is put on record. Where the caller has cancelled it, because he answers by
            himself, it is not put on record: one problem has one answer there.
        """
        try:
            return await self._solve(problem, claim or Future())
        finally:
            self.num_done += 1

    def best_so_far(self, problem: Problem, reason: StopReason, *, seconds: float) -> Solution:
        """The answer from the samples that have ended, for a caller that cannot wait any longer.

        Those of an earlier process among them, as far as they are counted; `Past.answer` knows all of them.
        """
        vote_state = self._vote_state
        if vote_state is None or vote_state.problem.key != problem.key:
            return blind_guess(problem.id, reason, why="sampling never began", seconds=seconds)
        return vote_state.copied().solution(reason, seconds=seconds)  # the caller may be another thread

    async def _solve(self, problem: Problem, claim: Future[Solution]) -> Solution:
        begun_s = self.budget.clock()
        pace_s = self._pacer.pace_s(self.budget.share_s(self.num_done))
        allotted_s = self.budget.allot_s(self.num_done, pace_s=pace_s)
        deadline = trio.current_time() + allotted_s
        vote_state, reader = VoteState(problem, self.config.voting), TextReader()
        self._vote_state = vote_state
        with trio.CancelScope(deadline=deadline + self.config.grace_s):
            await self._past.count_into(vote_state, reader)
        if (settled := self._past.solution(vote_state)) is not None:
            return settled
        reason = vote_state.verdict(self.config.stop) or await self._fill(vote_state, reader, deadline)
        selected = await self._select(vote_state, reason, deadline)
        seconds = self.budget.clock() - begun_s
        solution = dataclasses.replace(
            vote_state.solution(reason, seconds=seconds, selected=selected), begun_s=begun_s, allotted_s=allotted_s
        )
        if solution.guess:
            log.warning("%s: guessed %d: %s", problem.id, solution.answer, solution.guess)
        if claim.set_running_or_notify_cancel():
            claim.set_result(solution)
            self._write(solution_record(problem, solution))
        return solution

    async def _fill(self, vote_state: VoteState, reader: TextReader, deadline: float) -> StopReason:
        """Draw attempts until the votes are enough, more are not worth their time, or the time is up."""
        if deadline <= trio.current_time():
            return StopReason.OUT_OF_TIME
        attempt_loop = AttemptLoop(
            engine=self.engine,
            config=self.config,
            vote_state=vote_state,
            prompt=self._prompt(vote_state),
            deadline=deadline,
            clock=self.budget.clock,
            share_s=lambda: self.budget.share_s(self.num_done),
            pacer=self._pacer,
            write=self._write,
            reader=reader,
        )
        with trio.CancelScope(deadline=deadline + self.config.grace_s):
            await attempt_loop.run()
        self._pacer.note(
            num_ended=attempt_loop.num_ended,
            running_s=attempt_loop.running_s(),
            num_whole=attempt_loop.num_whole,
            whole_s=attempt_loop.whole_s,
        )
        return vote_state.verdict(self.config.stop) or StopReason.OUT_OF_TIME

    def _prompt(self, vote_state: VoteState) -> Prompt:
        return build_prompt(vote_state.problem, variant=self.config.variant, modulus=vote_state.modulus)

    async def _select(self, vote_state: VoteState, reason: StopReason, deadline: float) -> int | None:
        """Have the model compare the candidates of a contested vote, if that is asked for and time is left."""
        config = self.config.selection
        timeout_s = deadline - trio.current_time()
        if not config.num_rounds or reason in _SETTLED or timeout_s <= 0:
            return None
        seed = attempt_seed(self.config.seed, vote_state.problem, -1)
        candidates = vote_state.candidates(max_chars=config.summary_chars)
        # Without tools and last calls, which would put words into the judge's mouth.
        judge = self.engine.engine if isinstance(self.engine, ToolReasoner) else self.engine
        chosen: Selection | None = None
        with contained(f"{vote_state.problem.id}, selection"):
            chosen = await select(
                judge,
                vote_state.problem,
                candidates,
                config=config,
                seed=seed,
                timeout_s=timeout_s,
                width=self.config.width,
            )
            vote_state.num_tokens += chosen.num_tokens
        return None if chosen is None else chosen.answer

    def _write(self, record: Record) -> None:
        self._on_record(record)
        try:
            if self.journal is not None:
                # What was cut off is for the timeline only, and sixty at once may not hold up the answer.
                self.journal.append(record, is_synced=record["kind"] != "cancelled")
        except Exception:
            # Neither a full disk nor what JSON cannot say nor a bug may cost an answer: the votes live on in memory.
            log.exception("%s: not journalled", record["problem"])


_SETTLED = {StopReason.DECIDED, StopReason.CONFIDENT, StopReason.NOT_WORTH, StopReason.ENGINE_FAILED}
"""Reasons after which there is no contested vote to settle, no time that it is worth, or no engine to settle it."""
