"""An engine and Python in, an engine whose attempts may run code out: the loop of tool-integrated reasoning.

`ToolReasoner` plays one attempt as turns of one chat: the model talks up to a call, the call is run in an
interpreter lent to this attempt, its output is put into the chat, and the model goes on. Every cap (tokens of
a turn and of the attempt, calls, time) ends in the last call, unless the model has boxed an integer outside of an
open thought: the model is broken off, its next words are put into its mouth up to the opening of a box, and it gets
a few tokens and seconds to name its answer, before the context or the deadline takes them; what follows the box is
dropped. The plain dialect has no calls, and needs no interpreters.

How an attempt of several turns ends:
- STOP: the model ended it itself; or the engine broke in a later turn, after a boxed integer;
- LENGTH: the tokens of a turn or of the attempt, the context or the calls ran out; or the engine broke in a
  later turn and the last call brought an answer all the same;
- DEADLINE, CUT: as in a single turn; what a watcher cuts gets no last call;
- FAILED: the engine broke in a later turn, and there is no answer. What breaks the first turn is passed on.
Nothing that Python does ends an attempt: no interpreter, a dead one or one that never answers is told to the
model as output (field notes peers.md 2.10).

It does not word prompts, know how a model writes its calls (`kit.dialects`), or start processes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import anyio

from kit.dialects.boxes import CLOSING, box_closed, is_closed
from kit.dialects.calls import Call, Refusal
from kit.dialects.chat import breaks_off_in_thought, later_half, said, transcript
from kit.dialects.dialect import Dialect
from kit.errors import EngineError, InputError, check_fields
from kit.extraction import RawAnswer, Source, extract
from kit.interpreter import ExecutionStatus, Interpreters
from kit.loan import Loan
from kit.normalisation import Rejection, normalise
from kit.problem import ANSWER_MAX
from kit.sampling import Engine, Finish, Message, OnChunk, Prompt, Sample, SamplingParams

log = logging.getLogger(__name__)

NO_CALLS_LEFT = "[not run: no calls are left]"
NO_TIME_LEFT = "[not run: the time is up]"
WAS_LAST_CALL = "\n[no calls are left: finish without them]"
LAST_CALL_SHARE = 0.25
"""Of an attempt's time, at most, that is kept back for the last call, however little time there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningConfig:
    """The caps of an attempt; SamplingParams.max_new_tokens caps its turns together.

    max_turn_tokens: of one turn; a model that neither calls nor answers in so many is broken off (12288: field
        notes peers.md 1.14). max_calls: pieces of code that are run for one attempt.
    call_timeout_s: for one of them (6: field notes peers.md 1.4, where 12 was no better).
    lend_timeout_s: how long a call may wait until an interpreter is free.
    last_call_tokens: for the last call, over and above max_new_tokens; 0: none is made.
    last_call_s: this long before the deadline turns are broken off for it, or a quarter of the attempt's time
        where that is less. grace_s: how long past its time an engine or interpreter may take to hand back.
    Raises: InputError for a value outside its range.
    """

    max_turn_tokens: int = 12288
    max_calls: int = 20
    call_timeout_s: float = 6.0
    lend_timeout_s: float = 30.0
    last_call_tokens: int = 64
    last_call_s: float = 10.0
    grace_s: float = 2.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("max_turn_tokens", self.max_turn_tokens >= 1, ">= 1"),
                ("max_calls", self.max_calls >= 0, ">= 0"),
                ("call_timeout_s", 0 < self.call_timeout_s < math.inf, "> 0 and finite"),
                ("lend_timeout_s", 0 < self.lend_timeout_s < math.inf, "> 0 and finite"),
                ("last_call_tokens", self.last_call_tokens >= 0, ">= 0 (0: no last call)"),
                ("last_call_s", 0 <= self.last_call_s < math.inf, ">= 0 and finite"),
                ("grace_s", 0 < self.grace_s < math.inf, "> 0 and finite"),
            ),
        )

    def reserve_s(self, timeout_s: float) -> float:
        """Seconds that an attempt of `timeout_s` keeps back for its last call."""
        return min(self.last_call_s, max(0.0, timeout_s) * LAST_CALL_SHARE) if self.last_call_tokens else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReasoner:
    """An Engine whose attempts may call Python; see kit.sampling.Engine.

    The sample's text is all that was said, calls and outputs as fenced blocks, and its tokens and evidence are
    the model's own. Watchers see the model's words only.
    interpreters: None for a dialect without calls.
    Raises: InputError for a dialect that runs code without interpreters.
    """

    engine: Engine
    dialect: Dialect
    interpreters: Interpreters | None = None
    config: ReasoningConfig = field(default_factory=ReasoningConfig)

    def __post_init__(self) -> None:
        if self.dialect.runs_code and self.interpreters is None:
            raise InputError(f"{type(self.dialect).__name__} runs code: give interpreters, or take the plain dialect")

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        """Draw one sample of as many turns as it takes; see kit.sampling.Engine.

        A turn's seed follows from `params.seed` and its number. Ends within `timeout_s` and `config.grace_s`.
        Raises: EngineError if the engine has no first turn to show; what else breaks that turn is passed on too.
        """
        course = _Course(self, prompt, params, timeout_s=timeout_s, on_chunk=on_chunk)
        async with self._loan(course.ends) as loan:
            finish = await self._turns(course, loan)
        if self.config.last_call_tokens and course.wants_answer(finish):
            finish = await self._last_call(course, finish)
        if finish is Finish.FAILED and course.num_drawn > 1 and course.is_boxed:
            finish = Finish.STOP
        return course.as_sample(finish)

    def _loan(self, ends: float) -> Loan:
        return Loan(
            self.interpreters,
            lend_timeout_s=self.config.lend_timeout_s,
            call_timeout_s=self.config.call_timeout_s,
            grace_s=self.config.grace_s,
            ends=ends,
        )

    async def _turns(self, course: _Course, loan: Loan) -> Finish:
        """Turn after turn, until one has no call or a cap is reached; returns why it ended there."""
        while True:
            finish = await self._turn(course)
            calls = self.dialect.calls(course.messages) if finish is Finish.STOP else ()
            if not calls:
                return finish
            outputs = [await self._output(course, call, loan) for call in calls]
            course.messages = self.dialect.answered(course.messages, outputs)
            if course.num_asked > self.config.max_calls or not course.tokens_left:
                return Finish.LENGTH
            if course.seconds_left <= 0:
                return Finish.DEADLINE

    async def _turn(self, course: _Course) -> Finish:
        max_tokens = min(self.config.max_turn_tokens, course.tokens_left)
        try:
            sample = await course.draw(course.messages, max_tokens=max_tokens, ends=course.turns_end)
        except EngineError as error:
            if course.num_drawn == 1:
                raise
            log.warning("turn %d broke: %s", course.num_drawn, error)
            # Most often it is the context that the last output has filled.
            course.error, course.is_full = str(error), True
            return Finish.FAILED
        course.messages = said(course.messages, sample)
        course.error = sample.error
        course.is_full = sample.finish is Finish.LENGTH and sample.num_tokens < max_tokens
        return sample.finish

    async def _output(self, course: _Course, call: Call, loan: Loan) -> str:
        """What the model is told in answer to one call."""
        course.num_asked += 1
        if course.num_asked > self.config.max_calls:
            return NO_CALLS_LEFT
        if isinstance(call, Refusal):
            return f"[not run: {call.reason}]"
        if course.seconds_left <= 0:
            return NO_TIME_LEFT
        execution = await loan.run(call.text, until=course.turns_end)
        course.num_calls += 1
        course.num_failed_calls += execution.status is not ExecutionStatus.OK
        return execution.output + (WAS_LAST_CALL if course.num_asked == self.config.max_calls else "")

    async def _last_call(self, course: _Course, finish: Finish) -> Finish:
        """Ask for the answer in what was kept back for it; an engine that has none leaves the attempt as it is."""
        before, was_answered = course.messages, course.answer is not None
        asked = self.dialect.last_call(before)
        shown = self.dialect.last_call(course.messages_that_fit) if course.is_full else asked
        try:
            reply = await self._reply(course, shown)
        except EngineError as error:
            log.warning("the last call broke: %s", error)
            return finish
        text = box_closed(reply.text, is_ended=reply.finish is Finish.STOP)
        course.messages = said(asked, dataclasses.replace(reply, text=text, tool_calls=()))
        if was_answered and course.answer is None:
            course.messages = before  # a box in its thought is better than nothing
        if reply.finish is Finish.CUT:
            return Finish.CUT
        return Finish.LENGTH if finish is Finish.FAILED and course.is_boxed else finish

    async def _reply(self, course: _Course, shown: tuple[Message, ...]) -> Sample:
        """What the model says inside of the box: up to a closing brace, which nearly always is the box's.

        A stop text cannot count braces: where the brace has closed a group within the box, as in `\\frac{6}{3}`, a
        second draw goes on without that stop, for what is left of the tokens.
        """
        max_tokens = self.config.last_call_tokens
        reply = await course.draw(shown, max_tokens=max_tokens, ends=course.deadline, stop=(CLOSING,))
        is_in_group = reply.text.endswith(CLOSING) and not is_closed(box_closed(reply.text, is_ended=False))
        if not is_in_group or reply.finish is not Finish.STOP:
            return reply
        reply = dataclasses.replace(reply, finish=Finish.LENGTH, tool_calls=())
        if reply.num_tokens >= max_tokens:
            return reply
        more = said(shown, reply)
        try:
            rest = await course.draw(more, max_tokens=max_tokens - reply.num_tokens, ends=course.deadline)
        except EngineError as error:
            log.warning("the rest of the last call broke: %s", error)
            return reply
        return dataclasses.replace(rest, text=reply.text + rest.text)


class _Course:
    """One attempt under way: the chat so far, what it has cost and what is left. Times on anyio's clock."""

    def __init__(
        self,
        reasoner: ToolReasoner,
        prompt: Prompt,
        params: SamplingParams,
        *,
        timeout_s: float,
        on_chunk: OnChunk | None,
    ) -> None:
        self._engine = reasoner.engine
        self._prompt = prompt
        self._params = dataclasses.replace(params, stop=(*params.stop, *reasoner.dialect.stop))
        self._on_chunk = on_chunk
        self._begun = anyio.current_time()
        self.deadline = self._begun + max(0.0, timeout_s)
        self.turns_end = self.deadline - reasoner.config.reserve_s(timeout_s)
        self.ends = self.deadline + reasoner.config.grace_s  # whoever is late by then is not waited for
        self.messages: tuple[Message, ...] = prompt.messages
        self.turns: list[Sample] = []
        self.num_drawn = 0  # turns, those included that broke
        self.num_asked = 0  # calls, run or not
        self.num_calls = 0
        self.num_failed_calls = 0
        self.is_full = False  # the context, or so it seems
        self.error = ""

    @property
    def seconds_left(self) -> float:
        """For turns and calls; what is kept back for the last call is not among them."""
        return self.turns_end - anyio.current_time()

    @property
    def tokens_left(self) -> int:
        """For turns."""
        return max(0, self._params.max_new_tokens - sum(turn.num_tokens for turn in self.turns))

    @property
    def text(self) -> str:
        """All that was said since the prompt."""
        return transcript(self._prompt.messages, self.messages)

    @property
    def answer(self) -> RawAnswer | None:
        """What the words answer, if it is an integer: `\\boxed{x+1}` is a step, and `\\boxed{answer}` an echo."""
        raw = extract(self.text)
        # Of any size: the problem's modulus, which this loop does not know, may bring it into the range.
        is_integer = raw is not None and not isinstance(normalise(raw.text, modulus=ANSWER_MAX + 1), Rejection)
        return raw if is_integer else None

    @property
    def is_boxed(self) -> bool:
        """Whether the words hold a whole box that states an integer."""
        answer = self.answer
        return answer is not None and answer.source is Source.BOXED

    @property
    def messages_that_fit(self) -> tuple[Message, ...]:
        """The chat with only the later half of what was said, for a context that is full."""
        tail = Sample(text=later_half(self.text), num_tokens=0, finish=Finish.LENGTH, seconds=0, seed=0)
        return said(self._prompt.messages, tail)

    def wants_answer(self, finish: Finish) -> bool:
        """Whether the attempt, over so far, is to be asked for its answer.

        In a text broken off, a statement in words and a box within the thought may be steps on the way.
        """
        if finish is Finish.CUT or (finish is Finish.FAILED and self.num_drawn == 1):
            return False
        if anyio.current_time() >= self.deadline:
            return False
        if finish is Finish.STOP:
            return self.answer is None
        return not self.is_boxed or breaks_off_in_thought(self.text)

    async def draw(
        self, messages: tuple[Message, ...], *, max_tokens: int, ends: float, stop: tuple[str, ...] = ()
    ) -> Sample:
        """One turn; `stop` are texts that end it besides the attempt's own.

        Raises: EngineError, also for an engine that does not hand it back in time and, after the first turn, for
        whatever else breaks in it.
        """
        seed = turn_seed(self._params.seed, self.num_drawn)
        self.num_drawn += 1
        stop = (*self._params.stop, *stop)
        params = dataclasses.replace(self._params, seed=seed, max_new_tokens=max_tokens, stop=stop)
        prompt = dataclasses.replace(self._prompt, messages=messages)
        timeout_s = ends - anyio.current_time()
        with anyio.move_on_after(self.ends - anyio.current_time()):
            try:
                sample = await self._engine.sample(prompt, params, timeout_s=timeout_s, on_chunk=self._on_chunk)
            except Exception as error:  # a bug in an engine costs a later turn, and not what was said before it
                if self.num_drawn == 1 or isinstance(error, EngineError):
                    raise
                log.exception("an engine broke in turn %d", self.num_drawn)
                raise EngineError(f"the engine broke: {error!r}") from error
            self.turns.append(sample)
            return sample
        raise EngineError(f"the engine handed nothing back in time: it was given {timeout_s:.1f} s")

    def as_sample(self, finish: Finish) -> Sample:
        """The attempt as one sample; means are over tokens, of the turns where they are known."""
        spoken = [turn for turn in self.turns if turn.num_tokens]
        is_evident = all(turn.evidence for turn in spoken)
        return Sample(
            text=self.text,
            num_tokens=sum(turn.num_tokens for turn in self.turns),
            finish=finish,
            seconds=anyio.current_time() - self._begun,
            seed=self._params.seed,
            mean_logprob=_mean(spoken, lambda turn: turn.mean_logprob),
            mean_entropy=_mean(spoken, lambda turn: turn.mean_entropy),
            error=self.error if finish is Finish.FAILED else "",
            depth=self.turns[0].depth,
            halting=_mean(spoken, lambda turn: turn.halting),
            num_calls=self.num_calls,
            num_failed_calls=self.num_failed_calls,
            evidence=tuple(entry for turn in spoken for entry in turn.evidence) if is_evident else (),
        )


def turn_seed(seed: int, number: int) -> int:
    """The seed of turn `number` of an attempt: the attempt's own for the first, fixed by it for the others."""
    if number == 0:
        return seed
    digest = hashlib.sha256(f"{seed}|turn {number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _mean(turns: Iterable[Sample], value: Callable[[Sample], float | None]) -> float | None:
    known = [(turn.num_tokens, each) for turn in turns if (each := value(turn)) is not None]
    num_tokens = sum(count for count, _ in known)
    return math.fsum(count * each for count, each in known) / num_tokens if num_tokens else None
