"""One cell of an evaluation drawn and graded, whatever runs it: this process or a worker of a cluster."""

from __future__ import annotations

import trio

from kit.errors import EngineError
from kit.evaluation.grading import Grader
from kit.evaluation.memory import check_memory
from kit.evaluation.plan import Cell, EvalPlan
from kit.evaluation.records import Completion
from kit.sampling import Engine, FinishReason, Sample, SamplingParams, call_engine, checked_sample

TIMEOUT_S = 24 * 3600.0
"""Of one sample: an evaluation has no deadline, and an engine that hangs for a day does not come back."""


class Drawing:
    """Draws cells of a plan from an engine, any number at once, and grades them one after another."""

    def __init__(self, plan: EvalPlan, engine: Engine, grader: Grader) -> None:
        self._plan = plan
        self._engine = engine
        self._grader = grader
        self._one_at_a_time = trio.CapacityLimiter(1)  # a grader's processes answer one question each

    async def draw(self, cell: Cell) -> Completion:
        """The completion of a cell; a failed one, counted wrong, where the engine breaks.

        Raises: EngineError if memory runs out, which a smaller batch mends.
        """
        sample = await self._sampled(cell)
        strict, lenient = await trio.to_thread.run_sync(
            self._grader.grade, sample.text, cell.example, limiter=self._one_at_a_time
        )
        return Completion(
            problem=cell.example.problem.key,
            number=cell.number,
            depth=cell.depth,
            sample=sample,
            strict=strict,
            lenient=lenient,
        )

    async def _sampled(self, cell: Cell) -> Sample:
        params = self._plan.params_of(cell)
        begun_s = trio.current_time()
        try:
            sample = await call_engine(self._engine, self._plan.prompt_of(cell), params, timeout_s=TIMEOUT_S)
            return checked_sample(sample, may_be_empty=True)
        except EngineError as error:
            check_memory(error, batch_size=self._plan.batch_size)
            return _failed(params, str(error), seconds=trio.current_time() - begun_s)


def _failed(params: SamplingParams, error: str, *, seconds: float) -> Sample:
    return Sample(
        text="",
        num_tokens=0,
        finish=FinishReason.FAILED,
        seconds=seconds,
        seed=params.seed,
        error=error,
        depth=params.depth,
    )
