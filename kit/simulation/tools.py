"""Simulated Python: attempts that call code before they answer, and sandboxes that answer, fail, hang or are not there.

In: the engine that replays attempts. Out: one that goes through `kit.tools.reasoner` first, as it does with a real
model and real sandboxes. Nothing is run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import Enum
from random import Random

import trio

from kit.errors import EngineError
from kit.interpreter import Execution, ExecutionStatus, Interpreter
from kit.sampling import Engine, FinishReason, OnChunk, Prompt, Sample, SamplingParams
from kit.tools.formats import TOOL_FORMATS
from kit.tools.reasoner import ReasoningConfig, ToolReasoner

_CODE = "Let me compute.\n```python\nprint(6 * 7)\n```\n```output"
_THINKING_S = 1.0  # before the code is written


class Behaviour(Enum):
    """What a piece of code comes to."""

    ANSWERS = "answers"
    FAILS = "fails"
    DIES = "dies"
    HANGS = "hangs"  # never comes back, whatever its time limit says
    ABSENT = "absent"  # no interpreter can be had


class CodesFirst:
    """An engine whose attempts begin with a piece of code; what follows is the wrapped engine's own attempt."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        """See kit.sampling.Engine."""
        if prompt.messages[-1].role == "assistant":
            return await self._engine.sample(prompt, params, timeout_s=timeout_s, on_chunk=on_chunk)
        is_whole = timeout_s >= _THINKING_S
        await trio.sleep(min(_THINKING_S, max(0.0, timeout_s)))
        return Sample(
            text=_CODE if is_whole else "Let me",
            num_tokens=20 if is_whole else 2,
            finish=FinishReason.STOP if is_whole else FinishReason.DEADLINE,
            seconds=min(_THINKING_S, max(0.0, timeout_s)),
            seed=params.seed,
        )


class MoodyInterpreters:
    """A pool whose Pythons behave as the dice fall, one behaviour a lease."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def lend(self) -> AbstractAsyncContextManager[Interpreter]:
        """See kit.interpreter.Interpreters."""
        return _lent(self._rng.choice(tuple(Behaviour)))


@asynccontextmanager
async def _lent(behaviour: Behaviour) -> AsyncIterator[Interpreter]:
    if behaviour is Behaviour.ABSENT:
        raise EngineError("no sandbox is left")
    yield _Moody(behaviour)


class _Moody:
    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    async def run(self, code: str, *, timeout_s: float) -> Execution:
        if self._behaviour is Behaviour.HANGS:
            await trio.sleep_forever()
        status = {Behaviour.FAILS: ExecutionStatus.ERROR, Behaviour.DIES: ExecutionStatus.DIED}
        seconds = min(0.1, timeout_s)
        await trio.sleep(seconds)
        return Execution(output="42", status=status.get(self._behaviour, ExecutionStatus.OK), seconds=seconds)


def with_tools(engine: Engine, *, seed: int) -> Engine:
    """The engine as the solver meets it in a scenario with tools; put it into `Scenario.wrap`."""
    pool = MoodyInterpreters(Random(f"sandboxes {seed}"))
    return ToolReasoner(
        engine=CodesFirst(engine), tool_format=TOOL_FORMATS["fenced"], interpreters=pool, config=ReasoningConfig()
    )
