"""One problem while it is being solved: samples counted into votes, and what they are worth now.

Pure bookkeeping: no clock, no engine, no disk. The solver feeds it, and anyone may ask it for the best
answer at any moment.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from kit.errors import check_fields
from kit.extraction import extract
from kit.modulus import stated_modulus
from kit.normalisation import Rejection, normalise
from kit.problem import ANSWER_MAX, Problem
from kit.sampling import Finish, Sample
from kit.voting import Tally, Vote, confidence_weight, is_confident, is_decided, tally

DEFAULT_GUESS = 0
"""The answer when nothing at all is known; 0 is as likely as any other and is always valid."""


class StopReason(StrEnum):
    """Why sampling for a problem stopped."""

    DECIDED = "decided"  # no further sample could change the winner
    CONFIDENT = "confident"  # the majority's posterior reached the threshold
    ALL_SAMPLED = "all sampled"
    OUT_OF_TIME = "out of time"
    ENGINE_FAILED = "engine failed"
    INTERRUPTED = "interrupted"  # something broke around the solver; answered from the votes so far


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRule:
    """When the votes on a problem are enough.

    num_samples: attempts, at most. threshold: stop once the posterior that the leader is the majority
    reaches this (Adaptive-Consistency, arXiv 2305.11860); 1 never stops by it. max_failures: broken
    attempts after which the problem is given up.
    Raises: InputError for a value outside its range.
    """

    num_samples: int = 16
    threshold: float = 0.95
    max_failures: int = 32

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("num_samples", self.num_samples >= 1, ">= 1"),
                ("threshold", 0.5 < self.threshold <= 1, "in (0.5, 1]"),
                ("max_failures", self.max_failures >= 1, ">= 1"),
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """One problem, answered.

    answer: always an integer 0–99999. guess: empty if samples voted for it, else why it was guessed.
    votes: (answer, votes) pairs, best first. seconds: wall time. num_tokens: new tokens of all samples.
    depth: the deepest recursion T that was drawn; None for an engine that does not recurse.
    """

    problem_id: str
    answer: int
    reason: StopReason
    votes: tuple[tuple[int, int], ...]
    num_samples: int
    num_tokens: int
    seconds: float
    guess: str = ""
    depth: int | None = None


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


@dataclass(slots=True)
class Ballot:
    """What is known about one problem so far; grows as its samples end."""

    problem: Problem
    votes: list[Vote] = field(default_factory=list)
    num_ended: int = 0
    num_failed: int = 0
    num_tokens: int = 0
    depth: int | None = None
    _modulus: int | None = field(init=False)
    _wrapped: Counter[int] = field(default_factory=Counter)  # out-of-range answers, reduced mod 10^5
    _verdict: StopReason | None = None
    _drawn: set[int] = field(default_factory=set)  # attempt numbers taken, ended or in flight

    def __post_init__(self) -> None:
        self._modulus = stated_modulus(self.problem.text)

    def resume(self, number: int, sample: Sample) -> None:
        """Count a sample that an earlier process drew as attempt `number`; a failed one is drawn again."""
        if sample.finish is not Finish.FAILED:
            self._drawn.add(number)
            self.count(sample)

    def take_number(self, rule: StopRule) -> int | None:
        """The lowest attempt number not taken yet, or None while enough are in flight or ended."""
        if len(self._drawn) - self.num_failed >= rule.num_samples:
            return None
        number = next(each for each in itertools.count() if each not in self._drawn)
        self._drawn.add(number)
        return number

    def count(self, sample: Sample) -> None:
        """Read one sample's answer into the votes."""
        self.num_tokens += sample.num_tokens
        if sample.finish is Finish.FAILED:
            self.num_failed += 1
            return
        self.num_ended += 1
        if sample.depth is not None:
            self.depth = max(sample.depth, self.depth or 0)
        raw = extract(sample.text)
        if raw is None:
            return
        answer = normalise(raw.text, modulus=self._modulus)
        if not isinstance(answer, Rejection):
            self.votes.append(Vote(answer, confidence_weight(sample.mean_entropy)))
        elif answer is Rejection.OUT_OF_RANGE:
            # A model that forgot the final "mod 10^5" is the commonest way out of range: worth a guess.
            reduced = normalise(raw.text, modulus=ANSWER_MAX + 1)
            if not isinstance(reduced, Rejection):
                self._wrapped[reduced] += 1

    def verdict(self, rule: StopRule) -> StopReason | None:
        """Whether the votes are enough, and why; None to go on.

        Enough stays enough: samples that end together with the deciding one count, but do not reopen the vote.
        """
        self._verdict = self._verdict or self._judge(rule)
        return self._verdict

    def solution(self, reason: StopReason, *, seconds: float) -> Solution:
        """The best answer from what is known now."""
        standing = tally(self.votes)
        answer, guess = self._answer(standing, reason)
        return Solution(
            problem_id=self.problem.id,
            answer=answer,
            reason=reason,
            votes=tuple((each.answer, each.num_votes) for each in standing.standings),
            num_samples=self.num_ended,
            num_tokens=self.num_tokens,
            seconds=seconds,
            guess=guess,
            depth=self.depth,
        )

    def _judge(self, rule: StopRule) -> StopReason | None:
        standing = tally(self.votes)
        if self.num_ended >= rule.num_samples:
            return StopReason.ALL_SAMPLED
        if is_decided(standing, rule.num_samples - self.num_ended):
            return StopReason.DECIDED
        if rule.threshold < 1 and is_confident(standing, rule.threshold):
            return StopReason.CONFIDENT
        return StopReason.ENGINE_FAILED if self.num_failed >= rule.max_failures else None

    def _answer(self, standing: Tally, reason: StopReason) -> tuple[int, str]:
        if standing.leader is not None:
            return standing.leader.answer, ""
        if self._wrapped:
            wrapped = max(self._wrapped, key=lambda answer: (self._wrapped[answer], answer))
            return wrapped, "every answer was out of range; reduced the commonest mod 100000"
        if self.num_ended:
            return DEFAULT_GUESS, f"none of {self.num_ended} samples held a usable answer"
        return DEFAULT_GUESS, f"no sample ended ({reason.value}, {self.num_failed} failed)"
