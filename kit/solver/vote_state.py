"""One problem while it is being solved: samples counted into votes, and what they are worth now.

Pure bookkeeping: no clock, no engine, no disk. The solver feeds it, and anyone may ask it for the best
answer at any moment.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field, replace

from kit.answers.extraction import extract
from kit.answers.modulus import stated_modulus
from kit.answers.normalisation import normalise
from kit.answers.rejection import Rejection
from kit.problem import ANSWER_MAX, Problem
from kit.sampling import FinishReason, Sample
from kit.solver.genselect import Candidate, summary_of
from kit.solver.pacing import Worth
from kit.solver.solution import DEFAULT_GUESS, Solution
from kit.solver.stopping import StopConfig, StopReason, verdict_on
from kit.voting.learned import LEARNED, Shape
from kit.voting.rules import RunningHistory
from kit.voting.tally import MAX_WEIGHT, MIN_WEIGHT, Tally, TieBreak, Vote
from kit.voting.weights import VotingConfig, vote_for

_TEXT_CHARS = 16_000  # kept of one solution for each answer, which may have to be compared with others


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """What a sample says: a vote, or an answer out of range reduced mod 10^5, or nothing."""

    vote: Vote | None = None
    wrapped: int | None = None


@dataclass(slots=True)
class VoteState:
    """What is known about one problem so far; grows as its samples end."""

    problem: Problem
    voting: VotingConfig = field(default_factory=VotingConfig)
    history: list[Vote | None] = field(default_factory=list)  # of each attempt that ended, None for no usable answer
    num_failed: int = 0
    num_tokens: int = 0
    depth: int | None = None
    worth: Worth | None = None  # as the pacer last saw it
    modulus: int | None = field(init=False)  # that the problem states
    _wrapped: Counter[int] = field(default_factory=Counter)  # out-of-range answers, reduced mod 10^5
    _verdict: StopReason | None = None
    _judged: tuple[int, int] = (0, 0)  # num_ended and num_failed when the verdict was last looked for
    _drawn: set[int] = field(default_factory=set)  # attempt numbers taken, ended or in flight
    _texts: dict[int, str] = field(default_factory=dict)  # the end of one solution for each answer
    _running: RunningHistory = field(default_factory=RunningHistory)  # of the attempts, as far as it was asked for
    _lowest: int = 0  # every attempt number below is taken

    def __post_init__(self) -> None:
        self.modulus = stated_modulus(self.problem.text)

    @property
    def num_ended(self) -> int:
        """Attempts that ended and were not broken."""
        return len(self.history)

    @property
    def numbers(self) -> frozenset[int]:
        """The attempts that were taken, ended or in flight."""
        return frozenset(self._drawn)

    @property
    def votes(self) -> list[Vote]:
        """The usable answers, in the order in which they came."""
        return [vote for vote in self.history if vote is not None]

    @property
    def shape(self) -> Shape:
        """The votes without their answers."""
        return Shape.of([None if vote is None else vote.answer for vote in self.history])

    def resume(
        self, number: int, sample: Sample, parsed: ParsedAnswer | None = None, *, weight: float | None = None
    ) -> None:
        """Count a sample that an earlier process drew as attempt `number`; a failed one is drawn again.

        parsed: see `count`. weight: what its vote weighed then, when more was known of its tokens than is kept.
        Raises: TypeError for a weight that is no number, before anything is counted.
        """
        weight = weight if weight is None else min(max(MIN_WEIGHT, weight), MAX_WEIGHT)
        if sample.finish is FinishReason.FAILED or number < 0:
            return
        if number in self._drawn:  # a process that was killed twice may have drawn it twice
            return
        self.count(sample, parsed)
        self._drawn.add(number)
        vote = self.history[-1]
        if vote is not None and weight is not None:
            self.history[-1] = replace(vote, weight=weight)

    def take_number(self, rule: StopConfig) -> int | None:
        """The lowest attempt number not taken yet, or None while enough are in flight or ended."""
        if len(self._drawn) - self.num_failed >= rule.num_samples:
            return None
        self._lowest = next(each for each in itertools.count(self._lowest) if each not in self._drawn)
        self._drawn.add(self._lowest)
        return self._lowest

    def read(self, sample: Sample) -> ParsedAnswer:
        """What one sample says; counts nothing yet."""
        # One that was ended for want of confidence has no say: what it boxed on the way was not its answer yet.
        raw = None if sample.finish in (FinishReason.FAILED, FinishReason.ABORTED) else extract(sample.text)
        if raw is None:
            return ParsedAnswer()
        answer = normalise(raw.text, modulus=self.modulus)
        if not isinstance(answer, Rejection):
            return ParsedAnswer(vote_for(answer, sample, self.voting))
        if answer is Rejection.OUT_OF_RANGE:
            # A model that forgot the final "mod 10^5" is the commonest way out of range: worth a guess.
            reduced = normalise(raw.text, modulus=ANSWER_MAX + 1)
            return ParsedAnswer(wrapped=None if isinstance(reduced, Rejection) else reduced)
        return ParsedAnswer()

    def count(self, sample: Sample, parsed: ParsedAnswer | None = None) -> None:
        """Count one sample, by what `read` made of it (which is done here if it was not)."""
        self.num_tokens += sample.num_tokens
        if sample.finish is FinishReason.FAILED:
            self.num_failed += 1
            return
        self.history.append(None)  # an attempt that ended, even if a bug below keeps its vote from being read
        if sample.depth is not None:
            self.depth = max(sample.depth, self.depth or 0)
        parsed = parsed or self.read(sample)
        self.history[-1] = parsed.vote
        if parsed.vote is not None:
            self._texts.setdefault(parsed.vote.answer, sample.text[-_TEXT_CHARS:])
        if parsed.wrapped is not None:
            self._wrapped[parsed.wrapped] += 1

    def verdict(self, rule: StopConfig) -> StopReason | None:
        """Whether the votes are enough, and why; None to go on.

        Enough stays enough: samples that end together with the deciding one count, but do not reopen the vote.
        """
        if self._verdict is None and self._judged != (self.num_ended, self.num_failed):
            self._judged = self.num_ended, self.num_failed
            self._verdict = verdict_on(self._counted(), rule)
        return self._verdict

    def give_up(self, reason: StopReason) -> None:
        """Make `reason` the verdict, unless there is one."""
        self._verdict = self._verdict or reason

    def candidates(self, *, max_chars: int) -> list[Candidate]:
        """Each answer with its votes and the end of a solution that leads to it."""
        return [
            Candidate(answer=each.answer, num_votes=each.num_votes, summary=self._summary(each.answer, max_chars))
            for each in self._counted().tally.standings
        ]

    def solution(self, reason: StopReason, *, seconds: float, selected: int | None = None) -> Solution:
        """The best answer from what is known now; `selected`, if given, is preferred to the votes' own leader."""
        standing = self._counted().tally
        answer, guess = self._answer(standing, reason) if selected is None else (selected, "")
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
            tie_break=standing.tie_break if selected is None else TieBreak.NONE,
            posterior=LEARNED.right_probability(self.shape) if standing.leader else None,
            gain=self.worth.gain if self.worth else None,
            price=self.worth.price if self.worth else None,
        )

    def _summary(self, answer: int, max_chars: int) -> str:
        return summary_of(self._texts.get(answer, ""), max_chars=max_chars)

    def _counted(self) -> RunningHistory:
        """The attempts so far, each counted when it is first asked for: from then on it does not change any more."""
        for vote in self.history[len(self._running) :]:
            self._running.add(vote)
        return self._running

    def copied(self) -> VoteState:
        """The same, for another thread than the one that counts: it shares nothing that grows."""
        return replace(
            self,
            history=list(self.history),
            _wrapped=self._wrapped.copy(),
            _drawn=set(self._drawn),
            _texts=dict(self._texts),
            _running=RunningHistory(),
        )

    def _answer(self, standing: Tally, reason: StopReason) -> tuple[int, str]:
        if standing.leader is not None:
            return standing.leader.answer, ""
        if self._wrapped:
            wrapped = max(self._wrapped, key=lambda answer: (self._wrapped[answer], answer))
            return wrapped, "every answer was out of range; reduced the commonest mod 100000"
        if self.num_ended:
            return DEFAULT_GUESS, f"none of {self.num_ended} samples held a usable answer"
        return DEFAULT_GUESS, f"no sample ended ({reason.value}, {self.num_failed} failed)"
