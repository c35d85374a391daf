"""A plan and an engine in, a run out: every sample drawn, graded and kept as it ends.

A run that was killed goes on where it was. A sample that fails is kept, counted wrong, and drawn again by the next
session. It knows no model, no command line and no report.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import trio

from kit.data.examples import AnswerForm
from kit.errors import EngineError, InputError, KitError
from kit.evaluation.drawing import Drawing
from kit.evaluation.grading import Grader
from kit.evaluation.math_verify_process import check_math_verify
from kit.evaluation.plan import Cell, EvalPlan
from kit.evaluation.prompts import check_shots
from kit.evaluation.reading import read_run
from kit.evaluation.records import Completion, EvalRun
from kit.evaluation.run_journal import RunJournal, open_run
from kit.sampling import Engine, FinishReason
from kit.solver.journal import Record
from kit.tasks import nursery, run_plainly


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who is told what a run draws.

    on_resumed: once, before anything is drawn, of what earlier sessions drew; none of these failed. on_completion: of
    each completion after it was kept.
    """

    on_resumed: Callable[[Collection[Completion]], object] = lambda completions: None
    on_completion: Callable[[Completion], object] = lambda completion: None


NOBODY = Listener()
NO_FACTS: Record = MappingProxyType({})

MOST_FAILURES = 3
"""Samples that fail at the start of a run before any has ended well: then the engine is at fault, not a sample."""


async def evaluate(
    plan: EvalPlan,
    engine: Engine,
    grader: Grader,
    *,
    head: Record,
    session: Record = NO_FACTS,
    out: Path,
    listener: Listener = NOBODY,
) -> EvalRun:
    """Draw what the run in `out` lacks, `plan.batch_size` samples at a time, in the plan's order.

    head, session: what identifies the run, and what this session draws with; made by kit.evaluation.head.
    Raises: InputError for an empty plan, or a folder of another run; StorageError if it cannot be written; EngineError
        if the first samples fail one after another, or memory runs out. What was drawn by then is kept.
    """
    with begun(plan, head=head, session=session, out=out, listener=listener) as (keeper, left):
        drawing = Drawing(plan, engine, grader)
        async with nursery() as tasks:
            for _ in range(plan.batch_size):
                tasks.start_soon(_draw_each, left, drawing, keeper, tasks.cancel_scope)
    return read_run(out)


@contextmanager
def begun(
    plan: EvalPlan, *, head: Record, session: Record, out: Path, listener: Listener
) -> Iterator[tuple[Session, Iterator[Cell]]]:
    """A session of the run in `out`: what keeps its completions, and the cells that earlier ones have not drawn.

    Raises: as `evaluate`.
    """
    check_askable(plan)
    with open_run(out, head, session, plan) as journal:
        listener.on_resumed(journal.drawn.values())
        keeper = Session(journal, listener)
        yield keeper, (cell for cell in plan.cells() if cell.key not in journal.drawn)
        keeper.check_end()


OpenEngine = Callable[[], AbstractAsyncContextManager[Engine]]
"""Opens an engine; where it travels to a worker of a cluster, it holds paths and no models."""


def evaluate_here(
    plan: EvalPlan,
    open_engine: OpenEngine,
    *,
    head: Record,
    session: Record = NO_FACTS,
    out: Path,
    listener: Listener = NOBODY,
) -> EvalRun:
    """`evaluate` with an engine of this process, in a loop of its own. Raises: as `evaluate` and `open_engine`."""

    async def draw() -> EvalRun:
        async with open_engine() as engine:
            with Grader() as grader:
                return await evaluate(plan, engine, grader, head=head, session=session, out=out, listener=listener)

    return run_plainly(draw)


def check_askable(plan: EvalPlan) -> None:
    """Raise InputError for a plan that asks nothing, or whose prompts cannot be written.

    Raises: MissingError where answers could not be graded, too: before any is drawn.
    """
    if not plan.num_cells:
        part = "" if plan.shard is None else f" in shard {plan.shard}"
        raise InputError(f"{plan.data.source}: no problem{part} to ask; give other data or a larger --limit")
    for example in plan.examples:
        check_shots(example, plan.shots)
    if any(example.form is AnswerForm.EXPRESSION for example in plan.examples):
        check_math_verify()


class Session:
    """Keeps completions as they come, and ends a run whose engine fails from the start."""

    def __init__(self, journal: RunJournal, listener: Listener) -> None:
        self._journal = journal
        self._listener = listener
        self._works = bool(journal.drawn)
        self._num_failed = 0
        self._last_error = ""
        self._fault: KitError | None = None

    def stop(self, fault: KitError) -> None:
        """Note what ended the run: the first of what several tasks tell at once."""
        self._fault = self._fault or fault

    def keep(self, completion: Completion) -> None:
        """Write it down, then tell it.

        Raises: EngineError for the last of MOST_FAILURES failures before anything went well.
        """
        self._journal.add(completion)
        self._listener.on_completion(completion)
        if completion.sample.finish is not FinishReason.FAILED:
            self._works = True
            return
        self._num_failed += 1
        self._last_error = completion.sample.error
        if self._num_failed >= MOST_FAILURES:
            self.check_end()

    def check_end(self) -> None:
        """Raise what ended the run, or EngineError if samples failed and none has ever gone well."""
        if self._fault is not None:
            raise self._fault
        if self._num_failed and not self._works:
            failed = f"the first {self._num_failed} samples" if self._num_failed > 1 else "the only sample"
            raise EngineError(f"{failed} failed, so the run is stopped: {self._last_error}")


async def _draw_each(left: Iterator[Cell], drawing: Drawing, session: Session, scope: trio.CancelScope) -> None:
    """Draw cells until none is left; every task takes from the same ones, and a fault ends them all."""
    try:
        for cell in left:
            session.keep(await drawing.draw(cell))
    except KitError as fault:
        session.stop(fault)
        scope.cancel()
