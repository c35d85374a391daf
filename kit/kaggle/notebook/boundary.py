"""The competition's boundary: an answer to every problem, in time and whatever happens; nothing is ever raised.

kaggle_evaluation asks from a gRPC worker thread (`kit.kaggle.notebook.predict`). The solver lives in a trio loop in a
thread of its own, and each problem is a task there. The engine is loaded in the background from `start` on, because the
first call alone has no deadline. Source: docs/kaggle.md#evaluation.

The boundary does not depend on that loop. It hands a problem over without waiting, waits no longer than the budget
allows, and answers from the votes so far if nothing comes back: this process's own, or those that an earlier one left
in the journal. A loop in which something blocks, and a load that does not end, are waited for once; the problems after
that are answered at once, until the loop or the engine is there again. A disk that hangs is not waited for either.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Self

import trio

from kit.budget import Budget
from kit.errors import EngineError
from kit.problem import Problem
from kit.sampling import Engine, shown
from kit.solver.config import SolverConfig
from kit.solver.journal import Journal
from kit.solver.records import solution_record
from kit.solver.resuming import Past, contained
from kit.solver.solution import Solution, blind_guess
from kit.solver.solver import Solver
from kit.solver.stopping import StopReason
from kit.tasks import LoopThread, QueueThread

log = logging.getLogger(__name__)

OpenEngine = Callable[[], AbstractAsyncContextManager[Engine]]
"""Loads an engine, slowly and in any thread; the solver's loop enters and leaves it."""

SLACK_S = 5.0
"""How much longer than the solver's own limits a problem may take before the boundary answers for it."""
LOAD_S = 120.0
"""How long the first problem waits for the engine even where its share is less: a load on a slow machine.

A share weighs one problem's time against the others'. Before there is an engine nobody can use it: each problem that is
not held back by then is a guess, and the second would be one at once. So the wait costs no answer, and it ends at the
limit in any case. With the competition's five hours the share is longer (18 minutes); squeezed dry runs need this."""
ANSWER_S = 1.0
"""In which a loop that nothing blocks answers, a disk that works takes a record, and a journal's texts are read; waited
for after the limit too."""
CLOSE_S = 30.0
"""How long closing waits for the engine to end."""
_GLANCE_S = 0.05  # at a loop that was blocked


class Competition:
    """One competition: an engine on its way up, a solver, and an answer for every problem whatever happens.

    num_faults: problems answered by the boundary itself because something broke.
    """

    def __init__(
        self, open_engine: OpenEngine, *, budget: Budget, journal: Journal | None, config: SolverConfig
    ) -> None:
        self.solutions: list[Solution] = []
        self.num_faults = 0
        self._open_engine = open_engine
        self._budget = budget
        self._journal = journal
        self._config = config
        self._solver: Future[Solver] = Future()
        self._past = Past(journal=journal, config=config)
        self._reader = QueueThread(name="past answers")
        self._writer = QueueThread(name="answers of the boundary")
        self._loop = LoopThread()
        self._closing = trio.Event()
        self._loading = trio.CancelScope()
        self._has_waited = False  # for the engine, as long as it may take
        self._is_stuck = False  # the loop, when it was last looked at
        self._one_at_a_time = threading.Lock()
        self._until_s = math.inf  # when the answer in hand is due, on the competition's clock
        self.is_closed = False

    def start(self) -> None:
        """Start the solver's thread and begin to load the engine; returns at once.

        Where no loop starts, every answer will be a guess.
        """
        try:
            self._loop.start()
            self._loop.start_soon(self._hold_engine).add_done_callback(self._note_load)
        except (OSError, TimeoutError, trio.RunFinishedError) as error:
            log.exception("the solver's loop did not start; every answer will be a guess")
            self._solver.set_exception(error)

    def close(self, *, timeout_s: float = CLOSE_S) -> None:
        """Stop the engine and the solver's thread, and close the journal; there is nothing to answer any more.

        What does not end in time, or blocks the loop, is left to end with the process.
        """
        is_stuck = not self._loop.answers(within_s=ANSWER_S)
        if not self._loop.stop(self._end, timeout_s=ANSWER_S if is_stuck else timeout_s):
            log.warning("the engine did not end and is left behind; it ends with this process")
        self.is_closed = True
        if self._journal is not None:
            with suppress(TimeoutError):  # after what the boundary has still to write; it is closed once that is
                self._writer.do(self._journal.close, within_s=2 * ANSWER_S, even_if_late=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def answer(self, problem: Problem) -> Solution:
        """Answer one problem from any thread. Never raises; a guess is logged with its reason."""
        started = self._budget.clock()
        self._until_s = max(started, self._budget.config.limit_s) + ANSWER_S
        try:
            with self._turn():
                solution = self._ask_solver(problem)
        except BaseException:  # to raise here would void the whole submission
            self.num_faults += 1
            if self._has_failed:  # which was logged in full when it did
                log.error("%s: answered by the boundary: there is no engine", problem.id)
            else:
                log.exception("%s: answered by the boundary", problem.id)
            solution = self._answer_alone(problem, seconds=self._budget.clock() - started)
        self.solutions.append(solution)
        return solution

    def check_sampled(self) -> None:
        """Raise EngineError with the cause if every problem so far was answered, and none of them by a sample."""
        if not self.solutions or any(solution.num_samples for solution in self.solutions):
            return
        raise EngineError(
            f"no sample was ever drawn, so that every answer is a guess: {self.solutions[0].guess}; fix that and run "
            "the notebook again, for this version is not worth a submission"
        )

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One problem at a time. Raises: EngineError if another one takes all the time."""
        if not self._one_at_a_time.acquire(timeout=self._left_s + ANSWER_S / 2):
            raise EngineError("another problem is being answered")
        try:
            yield
        finally:
            self._one_at_a_time.release()

    def _ask_solver(self, problem: Problem) -> Solution:
        solver = self._loaded_solver()
        self._is_stuck = self._is_stuck and not self._loop.answers(within_s=_GLANCE_S)
        if self._is_stuck:
            raise EngineError("the solver's loop is still blocked")
        claim: Future[Solution] = Future()
        pending = self._loop.start_soon(partial(_solve_within, solver, problem, len(self.solutions), claim))
        try:
            return pending.result(timeout=self._longest_s())
        except TimeoutError:
            if not claim.cancel():  # it was solved at the last moment, and that is what goes on record
                return claim.result(timeout=self._look_s)
            self._is_stuck = not self._loop.answers(within_s=self._look_s)
            if self._is_stuck:
                log.error("something blocks the solver's loop:\n%s", self._loop.stack)
            raise
        finally:
            pending.cancel()

    def _loaded_solver(self) -> Solver:
        """The solver, once there is an engine.

        Raises: TimeoutError if that takes longer than a problem may take; what kept the engine from loading.
        """
        longest_s = max(LOAD_S, self._budget.allot_s(len(self.solutions)))
        try:
            return self._solver.result(timeout=0 if self._has_waited else min(longest_s, self._left_s))
        except TimeoutError:
            self._has_waited = True
            raise

    def _longest_s(self) -> float:
        """How long this problem may take."""
        allotted_s = self._budget.allot_s(len(self.solutions))
        # at the limit itself the solver still hands over what it has
        return min(allotted_s + self._config.grace_s + SLACK_S, self._left_s + ANSWER_S / 2)

    @property
    def _look_s(self) -> float:
        """How long to wait for what should come soon: half of what is left of this answer's time, at most ANSWER_S."""
        return min(ANSWER_S, max(0.0, self._until_s - self._budget.clock()) / 2)

    @property
    def _left_s(self) -> float:
        """Until the competition's limit: nothing is worth more."""
        return max(0.0, self._budget.config.limit_s - self._budget.clock())

    def _answer_alone(self, problem: Problem, *, seconds: float) -> Solution:
        """What the votes so far lead to; where even that cannot be told, a guess. Never raises."""
        try:
            solution = self._best_known(problem, seconds=seconds)
        except BaseException as error:
            log.exception("%s: the votes so far cannot be told", problem.id)
            solution = blind_guess(problem.id, StopReason.INTERRUPTED, why=shown(error), seconds=seconds)
        solution = dataclasses.replace(solution, begun_s=self._budget.clock() - seconds)
        if self._journal is not None:
            with suppress(BaseException):  # whatever the disk or its thread ends by: the answer stands without
                keep = partial(self._journal.append, solution_record(problem, solution))
                self._writer.do(keep, within_s=self._look_s)
        return solution

    def _best_known(self, problem: Problem, *, seconds: float) -> Solution:
        if self._solver.done() and self._solver.exception() is None:
            solution = self._solver.result().best_so_far(problem, StopReason.INTERRUPTED, seconds=seconds)
        else:
            solution = blind_guess(problem.id, StopReason.ENGINE_FAILED, why=self._why_no_solver(), seconds=seconds)
        if solution.guess:
            with contained(f"{problem.id}, what the journal knows"):
                solution = self._past_answer(problem, solution) or solution
        return solution

    def _past_answer(self, problem: Problem, otherwise: Solution) -> Solution | None:
        """What an earlier process's samples lead to; None where there are none.

        Raises: TimeoutError if their texts cannot be read soon.
        """
        read = partial(self._past.answer, problem, otherwise.reason, seconds=otherwise.seconds)
        return self._reader.do(read, within_s=self._look_s)

    @property
    def _has_failed(self) -> bool:
        return self._solver.done() and self._solver.exception() is not None

    def _why_no_solver(self) -> str:
        if not self._solver.done():
            return "the engine was still loading"
        error = self._solver.exception()
        assert error is not None, "with a solver there are votes to tell"
        return f"the engine did not load: {shown(error, form=str)}"

    async def _hold_engine(self) -> None:
        """Load the engine, publish the solver, and keep both until closing."""
        with _nothing_but_exceptions(), self._loading:
            async with await trio.to_thread.run_sync(self._open_engine, abandon_on_cancel=True) as engine:
                self._solver.set_result(Solver(engine, self._budget, self._journal, self._config))
                await self._closing.wait()

    def _end(self) -> None:
        """In the loop: leave the engine, or give its load up."""
        self._closing.set()
        if not self._solver.done():
            self._loading.cancel()

    def _note_load(self, held: Future[None]) -> None:
        error = EngineError("the solver's loop ended") if held.cancelled() else held.exception()
        if self._solver.done():
            if error is not None and not self.is_closed and not held.cancelled():
                log.error("the engine ended while it was needed", exc_info=error)
            return
        if error is None:
            error = EngineError("it was closed before")
        else:
            log.error("the engine did not load; every answer will be a guess", exc_info=error)
        self._solver.set_exception(error)


async def _solve_within(solver: Solver, problem: Problem, num_done: int, claim: Future[Solution]) -> Solution:
    """Solve. num_done: problems answered so far, by whomever."""
    solver.num_done = num_done
    with _nothing_but_exceptions():
        return await solver.solve(problem, claim=claim)


@contextmanager
def _nothing_but_exceptions() -> Iterator[None]:
    """Let out an Exception or a cancellation: anything else would end the loop, and with it all later answers."""
    try:
        yield
    except (Exception, trio.Cancelled):
        raise
    except BaseException as error:
        raise EngineError(f"something asked to end the process: {shown(error)}") from error
