"""The attempts at one problem: each slot draws one after another, until the votes are enough or not worth their time.

In: an engine, a VoteState and a deadline. Out: the VoteState, filled, and a journal record for every attempt, whether
it ended or was cancelled. The loop ends with the verdict, or when nothing is left to draw. The caller's cancel scope
is the hard limit.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import trio

from kit.budget import Clock
from kit.errors import EngineError
from kit.sampling import Engine, FinishReason, Prompt, Sample, call_engine, checked_sample
from kit.solver.config import SolverConfig
from kit.solver.journal import Record
from kit.solver.pacing import Pacer, Progress
from kit.solver.reading import TextReader
from kit.solver.records import cancelled_record, sample_record
from kit.solver.stopping import StopReason
from kit.solver.vote_state import ParsedAnswer, VoteState
from kit.tasks import background, nursery
from kit.voting.early_abort import EarlyAbort

log = logging.getLogger(__name__)

_NEAR_S = 30.0  # before the deadline; more than any last call is given (kit.tools.reasoner)
LONGEST_PAUSE_S = 60.0
"""Seconds, after broken attempts: an engine that restarts is back by then."""
_MAX_DOUBLINGS = 30  # of a pause, before which it is the longest anyway


@dataclass(slots=True, eq=False, kw_only=True)
class AttemptLoop:
    """One problem's attempts.

    deadline: on the event loop's clock. clock: the competition's, for the journal. share_s: the even share of the
    competition's remaining time, now. write: appends to the journal and never raises.
    num_ended: attempts that ended and were not broken. num_whole, whole_s: those that no limit ended, and the seconds
    that these ran.
    """

    engine: Engine
    config: SolverConfig
    vote_state: VoteState
    prompt: Prompt
    deadline: float
    clock: Clock
    share_s: Callable[[], float]
    pacer: Pacer
    write: Callable[[Record], None]
    reader: TextReader = field(default_factory=TextReader)
    num_ended: int = 0
    num_whole: int = 0
    whole_s: float = 0.0
    _over_s: float = 0.0  # run by attempts that are over, however they ended
    _begun: dict[int, float] = field(default_factory=dict)  # of each attempt in flight, on the loop's clock
    _early_abort: EarlyAbort = field(init=False)
    _turns: Iterator[int] = field(init=False)  # with in_order: the attempts that are still to be counted
    _turn: int = field(init=False)
    _held: dict[int, tuple[Sample, ParsedAnswer]] = field(default_factory=dict)  # ended before their turn
    _is_over: bool = False  # an attempt has ended for want of time
    _patience_ends: float = 0.0  # with an engine that only breaks, on the loop's clock
    _everyone: trio.CancelScope = field(default_factory=trio.CancelScope)

    def __post_init__(self) -> None:
        self._early_abort = EarlyAbort(self.config.early_abort)
        past = self.vote_state.numbers
        self._turns = (number for number in itertools.count() if number not in past)
        self._turn = next(self._turns)

    async def run(self) -> None:
        """Keep every slot at work until there is a verdict, or nothing to draw."""
        self._patience_ends = min(self.deadline, trio.current_time() + self.share_s())
        try:
            with self._everyone:
                async with background() as watching:
                    watching.start_soon(self._review)
                    async with nursery() as slots:
                        for _ in range(self._num_slots()):
                            slots.start_soon(self._draw)
        finally:
            for number in sorted(self._held):  # time is up: what was waited for will not come
                self._count_held(number)

    def running_s(self) -> float:
        """Seconds that all attempts together have run so far."""
        now = trio.current_time()
        return self._over_s + sum(now - begun for begun in self._begun.values())

    def _num_slots(self) -> int:
        config = self.config
        wanted = min(config.width, config.stop.num_samples)
        return wanted if config.in_order else self.pacer.num_slots(wanted, share_s=self.share_s())

    async def _draw(self) -> None:
        """One slot: attempt after attempt, until none is left to draw; after broken ones the pauses grow."""
        num_broken = 0
        while (number := self.vote_state.take_number(self.config.stop)) is not None:
            if self.deadline <= trio.current_time():
                return
            sample = await self._attempt(number)
            # Some engines stop a moment before the deadline; one that says so long before it was cut short otherwise.
            is_near = self.deadline - trio.current_time() <= _NEAR_S
            self._is_over |= sample.finish is FinishReason.DEADLINE and is_near
            self._judge()
            if self._everyone.cancel_called or self._is_over:
                return
            num_broken = num_broken + 1 if sample.finish is FinishReason.FAILED else 0
            if num_broken:
                pause_s = min(LONGEST_PAUSE_S, self.config.retry_s * 2 ** min(num_broken - 1, _MAX_DOUBLINGS))
                await trio.sleep(min(pause_s, max(0.0, self.deadline - trio.current_time())))

    async def _review(self) -> None:
        """Look at the vote again while no attempt ends: what the ones in flight promise falls as they drag on."""
        while True:
            await trio.sleep(self.config.pacing.review_s)
            self._judge()

    def _judge(self) -> None:
        """Cancel everyone if the votes are enough, more of them are not worth their time, or nothing works."""
        if self.vote_state.verdict(self.config.stop) is None and not self._is_worth_more():
            self.vote_state.give_up(StopReason.NOT_WORTH)
        if self.vote_state.num_failed >= self.config.stop.max_failures and self._patience_ends <= trio.current_time():
            self.vote_state.give_up(StopReason.ENGINE_FAILED)
        if self.vote_state.verdict(self.config.stop) is not None:
            self._everyone.cancel()

    def _is_worth_more(self) -> bool:
        num_ended = self.vote_state.num_ended
        is_over = self._is_over or self.deadline <= trio.current_time()  # nothing to save: let what ends now count
        if self.config.in_order or is_over or not num_ended:
            return True
        progress = Progress(
            shape=self.vote_state.shape,
            num_left=self.config.stop.num_samples - num_ended,
            num_running=len(self._begun),
            num_ended=self.num_ended,
            running_s=self.running_s(),
            share_s=self.share_s(),
        )
        if self.config.pacing.kind == "off":
            return True
        self.vote_state.worth = self.pacer.worth(progress)
        return self.vote_state.worth.is_enough

    async def _attempt(self, number: int) -> Sample:
        """One attempt, journalled and counted; or journalled as cut."""
        begun_s = self.clock()
        self._begun[number] = trio.current_time()
        sample = None
        try:
            sample = await self._sample(number)
        finally:
            ran_s = trio.current_time() - self._begun.pop(number)
            self._over_s += ran_s
            if sample is None:  # cancelled, alone or within a group of exceptions
                self.write(cancelled_record(self.vote_state.problem, number, begun_s=begun_s, ended_s=self.clock()))
        parsed, ended_s = ParsedAnswer(), self.clock()
        try:
            parsed = await self.reader.read(self.vote_state, number, sample)
        finally:  # cancelled, it is on record, and read again by who resumes
            self.write(
                sample_record(self.vote_state.problem, number, sample, parsed.vote, begun_s=begun_s, ended_s=ended_s)
            )
        if sample.finish in (FinishReason.STOP, FinishReason.LENGTH):
            self.num_whole += 1
            self.whole_s += ran_s
        self._count(number, sample, parsed)
        return sample

    async def _sample(self, number: int) -> Sample:
        """What the engine gives, or a broken sample for whatever else comes of it but being cancelled."""
        params = self.config.params_of(self.vote_state.problem, number)
        started = trio.current_time()
        try:
            return checked_sample(
                await call_engine(
                    self.engine,
                    self.prompt,
                    params,
                    timeout_s=self.deadline - started,
                    on_chunk=self._early_abort.watch() if self.config.aborts_early else None,
                )
            )
        except EngineError as error:
            log.warning("%s: attempt %d failed: %s", self.vote_state.problem.id, number, error)
            reason = str(error)
        seconds = trio.current_time() - started
        return Sample(
            text="", num_tokens=0, finish=FinishReason.FAILED, seconds=seconds, seed=params.seed, error=reason
        )

    def _count(self, number: int, sample: Sample, parsed: ParsedAnswer) -> None:
        self.num_ended += sample.finish is not FinishReason.FAILED
        if self.config.aborts_early:
            self._observe(number, sample)
        # A broken attempt is counted at once in either case, since its replacement waits for that.
        if sample.finish is FinishReason.FAILED or not self.config.in_order:
            self.vote_state.count(sample, parsed)
        if not self.config.in_order:
            return
        self._held[number] = sample, parsed
        while self._turn in self._held:
            self._count_held(self._turn)
            self._turn = next(self._turns)

    def _observe(self, number: int, sample: Sample) -> None:
        try:
            self._early_abort.observe(sample)
        except (TypeError, ValueError):  # statistics that are no numbers: it does not count towards the threshold
            log.exception("%s, attempt %d: its token statistics cannot be read", self.vote_state.problem.id, number)

    def _count_held(self, number: int) -> None:
        sample, parsed = self._held.pop(number)
        if sample.finish is not FinishReason.FAILED and self.vote_state.verdict(self.config.stop) is None:
            self.vote_state.count(sample, parsed)
