"""A scenario without an event loop: the solver's own rules, pacer and budget, stepped from one event to the next.

In: a scenario without faults. Out: what `kit.simulation.run` would give, many times sooner; tests hold the two to one
another. Attempts that end in the very same instant count in the order in which they began, where trio throws dice.
Between two ends of attempts a problem only falls in worth (a property of the pacer that its tests hold), so of the
looks at it the first that gives up is found by halving.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

from kit.budget import Budget
from kit.sampling import FinishReason, Sample
from kit.simulation.recording import RecordedAttempt
from kit.simulation.run import Scenario, score_of
from kit.solver.pacing import Pacer, Progress
from kit.solver.solution import DEFAULT_GUESS
from kit.solver.stopping import StopConfig, StopReason, verdict_on
from kit.voting.learned import Shape
from kit.voting.rules import RunningHistory
from kit.voting.tally import Vote, tally
from kit.voting.weights import VotingConfig, vote_for

_ROUNDING = 1e-9  # as kit.simulation.engine's


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedProblem:
    """One problem as it was answered; the fields are a Solution's."""

    answer: int
    reason: StopReason
    num_samples: int
    num_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A scenario as it was answered. problems: in their order. ended_s: on the scenario's clock."""

    scenario: Scenario
    problems: tuple[PlayedProblem, ...]
    ended_s: float

    @property
    def score(self) -> int:
        """Problems answered rightly."""
        return score_of(self.scenario.recordings, [each.answer for each in self.problems])


def is_plain(scenario: Scenario) -> bool:
    """Whether nothing needs the event loop: no faults, no tools, no journal, no extras of the solver."""
    solver = scenario.solver
    has_extras = solver.in_order or solver.aborts_early or solver.selection.num_rounds > 0
    return not (scenario.faults or scenario.wrap or scenario.keeps_journal or has_extras)


class Draws:
    """The attempts at a scenario's problems, each drawn once for all policies that are asked the same."""

    def __init__(self, scenario: Scenario) -> None:
        places = range(len(scenario.recordings))
        self._sources = [scenario.attempts_at(place) for place in places]
        self._drawn: list[list[RecordedAttempt]] = [[] for _ in places]

    def at(self, place: int, number: int) -> RecordedAttempt:
        """Attempt `number` at the problem, counted from 0; numbers come in order."""
        drawn = self._drawn[place]
        while number >= len(drawn):
            drawn.append(next(self._sources[place]))
        return drawn[number]


def play(scenario: Scenario, draws: Draws | None = None) -> Played:
    """Let the policy answer the scenario, which must be plain.

    draws: of a scenario that differs in its policy alone; drawn anew if not given.
    """
    assert is_plain(scenario), scenario
    competition = _Competition(scenario, draws or Draws(scenario))
    problems = tuple(competition.solve(place) for place in range(len(scenario.recordings)))
    return Played(scenario=scenario, problems=problems, ended_s=competition.now_s)


@dataclass(slots=True, eq=False)
class _Competition:
    """The clock, and what is learned from one problem for the next."""

    scenario: Scenario
    draws: Draws
    now_s: float = field(init=False)
    num_done: int = 0
    budget: Budget = field(init=False)
    pacer: Pacer = field(init=False)

    def __post_init__(self) -> None:
        self.now_s = self.scenario.start_s
        self.budget = Budget(self.scenario.budget, lambda: self.now_s)
        self.pacer = Pacer(self.scenario.solver.pacing)

    def share_s(self) -> float:
        return self.budget.share_s(self.num_done)

    def solve(self, place: int) -> PlayedProblem:
        begun_s = self.now_s
        allotted_s = self.budget.allot_s(self.num_done, pace_s=self.pacer.pace_s(self.share_s()))
        attempts = _Attempts(self, place, deadline_s=begun_s + allotted_s)
        if allotted_s > 0:
            attempts.run()
            self.pacer.note(
                num_ended=len(attempts.votes),
                running_s=attempts.running_s(self.now_s),
                num_whole=attempts.num_whole,
                whole_s=attempts.whole_s,
            )
        self.num_done += 1
        leader = tally(vote for vote in attempts.votes if vote is not None).leader
        return PlayedProblem(
            answer=DEFAULT_GUESS if leader is None else leader.answer,
            reason=attempts.verdict or StopReason.OUT_OF_TIME,
            num_samples=len(attempts.votes),
            num_tokens=attempts.num_tokens,
            seconds=self.now_s - begun_s,
        )


@dataclass(slots=True, eq=False)
class _Job:
    """An attempt in flight. begun, finish: on the work clock, on which one stream's work counts."""

    attempt: RecordedAttempt
    begun_s: float
    begun: float
    finish: float


class _Attempts:
    """One problem's attempts: the attempt loop, the event loop and the engine in one."""

    def __init__(self, competition: _Competition, place: int, *, deadline_s: float) -> None:
        self.votes: list[Vote | None] = []  # of the attempts that ended
        self.verdict: StopReason | None = None
        self.num_tokens = 0
        self._competition = competition
        self._config = competition.scenario.solver
        self._speeds = competition.scenario.speeds
        self._place = place
        self._num_drawn = 0
        self._deadline_s = deadline_s
        self._reviewed_s = competition.now_s
        self._shape = Shape(())
        self._jobs: list[_Job] = []  # in flight, in the order in which they began
        self._work = 0.0
        self.num_whole = 0
        self.whole_s = 0.0  # run by attempts that no limit ended
        self._over_s = 0.0  # run by attempts that are over

    def run(self) -> None:
        """Until there is a verdict, nothing is left to draw, or the time is up."""
        config, competition = self._config, self._competition
        wanted = min(config.width, config.stop.num_samples)
        for _ in range(competition.pacer.num_slots(wanted, share_s=competition.share_s())):
            self._draw()
        while self._jobs and self.verdict is None:
            self._step()
        self._over_s = self.running_s(competition.now_s)
        self._jobs.clear()

    def running_s(self, now_s: float) -> float:
        """Seconds that all attempts together have run by then, if none ends before."""
        return self._over_s + sum([now_s - job.begun_s for job in self._jobs])

    def _step(self) -> None:
        """On to the next end of an attempt or the deadline, unless a look at the vote comes first and gives up."""
        now_s, speed = self._competition.now_s, self._speeds.at(len(self._jobs))
        first = min([job.finish for job in self._jobs])
        finish_s = now_s + max(0.0, first - self._work) / speed
        until_s = min(finish_s, self._deadline_s)
        if (given_up_s := self._first_review_that_gives_up(until_s)) is not None:
            self._competition.now_s = given_up_s
            self.verdict = StopReason.NOT_WORTH
            return
        self._competition.now_s = until_s
        if until_s == finish_s:
            self._work = max(first, self._work)
            self._end_due()
        else:
            self._work += (until_s - now_s) * speed
            self._end_all()

    def _draw(self) -> None:
        if len(self.votes) + len(self._jobs) < self._config.stop.num_samples:
            attempt = self._competition.draws.at(self._place, self._num_drawn)
            self._num_drawn += 1
            self._jobs.append(_Job(attempt, self._competition.now_s, self._work, self._work + attempt.work_s))

    def _end_due(self) -> None:
        """Those that end together all count, though the first may decide; then nobody draws again."""
        for job in [job for job in self._jobs if job.finish <= self._work + _ROUNDING]:
            self._end(job, share=1.0)
            if self.verdict is None and not self._is_worth_more(self._competition.now_s):
                self.verdict = StopReason.NOT_WORTH
            if self.verdict is None:
                self._draw()

    def _end_all(self) -> None:
        """The time is up: what is in flight ends without an answer, until the vote is decided for want of others."""
        while self._jobs and self.verdict is None:
            job = self._jobs[0]
            self._end(job, share=(self._work - job.begun) / job.attempt.work_s)

    def _end(self, job: _Job, *, share: float) -> None:
        self._jobs.remove(job)
        self._over_s += self._competition.now_s - job.begun_s
        is_whole, attempt = share >= 1 - _ROUNDING, job.attempt
        if is_whole:
            self.num_whole += 1
            self.whole_s += self._competition.now_s - job.begun_s
        self.num_tokens += attempt.num_tokens if is_whole else int(attempt.num_tokens * share)
        self.votes.append(_vote(attempt, self._config.voting) if is_whole else None)
        verdict, self._shape = _judged(self._config.stop, _pattern(self.votes))
        self.verdict = self.verdict or verdict

    def _first_review_that_gives_up(self, until_s: float) -> float | None:
        """The moment of the first look before `until_s` that finds the problem not worth its time, if one does."""
        every_s, begun_s = self._config.pacing.review_s, self._reviewed_s
        num = max(0, math.ceil((until_s - begun_s) / every_s) - 1)
        self._reviewed_s = begun_s + num * every_s
        if not num or self._is_worth_more(self._reviewed_s):
            return None
        good, bad = 0, num
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if self._is_worth_more(begun_s + middle * every_s) else (good, middle)
        return begun_s + bad * every_s

    def _is_worth_more(self, now_s: float) -> bool:
        """As `AttemptLoop` asks the pacer, at a moment until which nothing ends."""
        if self._config.pacing.kind == "off" or not self.votes or now_s >= self._deadline_s:
            return True
        self._competition.now_s, back_s = now_s, self._competition.now_s
        progress = Progress(
            shape=self._shape,
            num_left=self._config.stop.num_samples - len(self.votes),
            num_running=len(self._jobs),
            num_ended=len(self.votes),
            running_s=self.running_s(now_s),
            share_s=self._competition.share_s(),
        )
        self._competition.now_s = back_s
        return self._competition.pacer.is_worth_more(progress)


@lru_cache(maxsize=1 << 14)
def _vote(attempt: RecordedAttempt, voting: VotingConfig) -> Vote | None:
    if attempt.answer is None:
        return None
    sample = Sample(
        text="",
        num_tokens=attempt.num_tokens,
        finish=FinishReason.STOP,
        seconds=attempt.work_s,
        seed=0,
        mean_entropy=attempt.mean_entropy,
        num_calls=attempt.num_calls,
    )
    return vote_for(attempt.answer, sample, voting)


_Pattern = tuple[tuple[int, float, int] | None, ...]
"""Of each vote the rank of its answer, its weight and its calls."""


def _pattern(votes: list[Vote | None]) -> _Pattern:
    """All that a rule or a tie can depend on."""
    order = {answer: place for place, answer in enumerate(sorted({vote.answer for vote in votes if vote is not None}))}
    return tuple([None if vote is None else (order[vote.answer], vote.weight, vote.num_calls) for vote in votes])


@lru_cache(maxsize=1 << 17)
def _judged(stop: StopConfig, pattern: _Pattern) -> tuple[StopReason | None, Shape]:
    history = RunningHistory()
    for each in pattern:
        history.add(None if each is None else Vote(*each))
    return verdict_on(history, stop), Shape.of([None if each is None else each[0] for each in pattern])
