"""Policies and recorded problems where the truth is known."""

from __future__ import annotations

import dataclasses
import math

from kit.simulation.policy import Policy
from kit.simulation.recording import RecordedAttempt, Recording
from kit.simulation.replicates import Setting
from kit.solver.config import SolverConfig
from kit.solver.pacing import PacingConfig
from kit.solver.stopping import StopConfig
from kit.voting.weights import VotingConfig


def voting(name: str, num_samples: int) -> Policy:
    """Draws them all at once and counts votes."""
    config = SolverConfig(
        stop=StopConfig(num_samples=num_samples, rule="uncatchable"),
        voting=VotingConfig(weighing="count"),
        pacing=PacingConfig(kind="off"),
        width=num_samples,
    )
    return Policy(name=name, solver=config)


ONE, EIGHT = voting("one attempt", 1), voting("eight attempts", 8)


def problem(name: str, num_right: int, *, num: int = 8, work_s: float = 100.0) -> Recording:
    """The right answer 5 so many times; the others scatter."""
    answers = [5] * num_right + list(range(1000, 1000 + num - num_right))
    attempts = tuple(RecordedAttempt(answer=answer, work_s=work_s, num_tokens=50) for answer in answers)
    return Recording(name=name, gold=5, attempts=attempts)


MOSTLY_RIGHT = tuple(problem(f"{place}", 5) for place in range(6))
"""One attempt is right in 5 of 8 cases; the vote of all eight is always right."""


def setting(name: str = "toy", recordings: tuple[Recording, ...] = MOSTLY_RIGHT, **changes: object) -> Setting:
    base = Setting(name=name, recordings=recordings, share_s=math.inf, num_problems=12)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]
