"""A solution: the answer to one problem, its votes, what it cost and why sampling stopped."""

from __future__ import annotations

from dataclasses import dataclass

from kit.solver.stopping import StopReason
from kit.voting.tally import TieBreak

DEFAULT_GUESS = 0
"""The answer when nothing at all is known; 0 is as likely as any other and is always valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """One problem, answered.

    answer: always an integer 0–99999. guess: empty if samples voted for it, else why it was guessed.
    votes: (answer, votes) pairs, best first. seconds: wall time. num_tokens: new tokens of all samples.
    begun_s: when it began, on the competition's clock. allotted_s: the most that it might have taken.
    depth: the deepest recursion T that was drawn; None for an engine that does not recurse.
    tie_break: what decided between equally many votes; empty where nothing had to.
    posterior: how likely the leader is right by the learned prior. gain, price: what the next attempt promised when the
    vote was last looked at, and what its time was worth elsewhere (`kit.solver.pacing.Worth`); None: never asked.
    """

    problem_id: str
    answer: int
    reason: StopReason
    votes: tuple[tuple[int, int], ...]
    num_samples: int
    num_tokens: int
    seconds: float
    begun_s: float = 0.0
    allotted_s: float = 0.0
    guess: str = ""
    depth: int | None = None
    tie_break: TieBreak = TieBreak.NONE
    posterior: float | None = None
    gain: float | None = None
    price: float | None = None


def blind_guess(problem_id: str, reason: StopReason, *, why: str, seconds: float) -> Solution:
    """The answer to a problem of which nothing is known."""
    return Solution(
        problem_id=problem_id,
        answer=DEFAULT_GUESS,
        reason=reason,
        votes=(),
        num_samples=0,
        num_tokens=0,
        seconds=seconds,
        guess=why,
    )
