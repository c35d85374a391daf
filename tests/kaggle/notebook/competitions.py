"""Competitions behind the boundary, with an engine that answers as it is told."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kit.budget import Budget, BudgetConfig
from kit.engines.scripted import Script, ScriptedEngine
from kit.kaggle.notebook.boundary import Competition, OpenEngine
from kit.sampling import Engine
from kit.solver.config import SolverConfig
from kit.solver.journal import Journal
from kit.solver.stopping import StopConfig

RULE = StopConfig(num_samples=4, max_failures=4)


def opened(engine: Engine) -> OpenEngine:
    @asynccontextmanager
    async def hold() -> AsyncIterator[Engine]:
        yield engine

    return hold


def answering(answer: int = 2, **script: object) -> ScriptedEngine:
    text = f"\\boxed{{{answer}}}"
    return ScriptedEngine(lambda prompt, params: Script(text=text, **{"seconds": 0.01, **script}))  # type: ignore[arg-type]


def competition(
    open_engine: OpenEngine, *, limit_s: float = 60, num_problems: int = 1, journal: Journal | None = None
) -> Competition:
    start = time.monotonic()
    config = BudgetConfig(limit_s=limit_s, reserve_s=0, floor_s=0, num_problems=num_problems)
    return Competition(
        open_engine,
        budget=Budget(config, lambda: time.monotonic() - start),
        journal=journal,
        config=SolverConfig(stop=RULE, retry_s=0, grace_s=0.1),
    )
