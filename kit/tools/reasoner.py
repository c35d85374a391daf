"""The loop of tool-integrated reasoning. In: an engine and Python. Out: an engine whose attempts may run code.

`ToolReasoner` plays one attempt as turns of one chat: the model talks up to a call, the call is run in an
interpreter lent to this attempt, its output is put into the chat, and the model goes on. Every cap (tokens of
a turn and of the attempt, calls, time) ends in the last call, unless the model has boxed an integer outside of an
open thought: the model is broken off, its next words are put into its mouth up to the opening of a box, and it gets
a few tokens and seconds to name its answer, before the context or the deadline takes them; what follows the box is
dropped. The plain format has no calls, and needs no interpreters.

How an attempt of several turns ends:
- STOP: the model ended it itself; or the engine broke in a later turn, after a boxed integer;
- LENGTH: the tokens of a turn or of the attempt, the context or the calls ran out; or the engine broke in a
  later turn and the last call brought an answer all the same;
- DEADLINE, ABORTED: as in a single turn; an attempt that a watcher aborts gets no last call;
- FAILED: the engine broke in a later turn, and there is no answer. What breaks the first turn is passed on.
Python never ends an attempt: the model is told of an interpreter that is missing, dead or silent as output
(docs/peers.md#pool).

It does not word prompts, know how a model writes its calls (`kit.models`), or start processes.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from dataclasses import dataclass, field

from kit.errors import EngineError, InputError, check_fields
from kit.interpreter import ExecutionStatus, Interpreters
from kit.sampling import Engine, FinishReason, Message, OnChunk, Prompt, Sample, SamplingParams
from kit.tools.boxes import CLOSING, box_closed, is_closed
from kit.tools.calls import Call, Refusal
from kit.tools.chat import said
from kit.tools.formats import ToolFormat
from kit.tools.lease import InterpreterLease
from kit.tools.trajectory import Trajectory

log = logging.getLogger(__name__)

TURN_TOKENS = 12_288
"""Of one turn of a model whose family wants no more (docs/peers.md#turn-cap)."""
NO_CALLS_LEFT = "[not run: no calls are left]"
NO_TIME_LEFT = "[not run: the time is up]"
WAS_LAST_CALL = "\n[no calls are left: finish without them]"
LAST_CALL_SHARE = 0.25
"""Of an attempt's time, at most, that is kept back for the last call, however little time there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningConfig:
    """The caps of an attempt; SamplingParams.max_new_tokens caps its turns together.

    max_turn_tokens: of one turn, where code is run; a model that neither calls nor answers in so many is broken off.
        None: what the model's family wants, or TURN_TOKENS. Without code the only turn has all of the attempt's tokens.
    max_calls: pieces of code that are run for one attempt.
    call_timeout_s: for one of them (6: docs/peers.md#common-ancestor, where 12 was no better).
    lend_timeout_s: how long a call may wait until an interpreter is free.
    last_call_tokens: for the last call, over and above max_new_tokens; 0: none is made.
    last_call_s: this long before the deadline turns are broken off for it, or a quarter of the attempt's time
        where that is less. grace_s: how long past its time an engine or interpreter may take to hand back.
    Raises: InputError for a value outside its range.
    """

    max_turn_tokens: int | None = None
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
                ("max_turn_tokens", self.max_turn_tokens is None or self.max_turn_tokens >= 1, ">= 1, or None"),
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

    The sample's text is all that was said, calls and outputs as fenced blocks, and its tokens and token statistics are
    the model's own. Watchers see the model's words only.
    interpreters: None for a format without calls.
    Raises: InputError for a format that runs code without interpreters.
    """

    engine: Engine
    tool_format: ToolFormat
    interpreters: Interpreters | None = None
    config: ReasoningConfig = field(default_factory=ReasoningConfig)

    def __post_init__(self) -> None:
        if self.tool_format.runs_code and self.interpreters is None:
            raise InputError(
                f"{type(self.tool_format).__name__} runs code: give interpreters, or take the plain format"
            )

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        """Draw one sample of as many turns as it takes; see kit.sampling.Engine.

        A raw prompt is passed on as it is. A turn's seed follows from `params.seed` and its number. Ends within
        `timeout_s` and `config.grace_s`.
        Raises: EngineError if the engine has no first turn to show; what else breaks that turn is passed on too.
        """
        if prompt.text:  # without a chat there are no turns
            return await self.engine.sample(prompt, params, timeout_s=timeout_s, on_chunk=on_chunk)
        trajectory = Trajectory(
            self.engine,
            prompt,
            dataclasses.replace(params, stop=(*params.stop, *self.tool_format.stop)),
            timeout_s=timeout_s,
            reserve_s=self.config.reserve_s(timeout_s),
            grace_s=self.config.grace_s,
            on_chunk=on_chunk,
        )
        async with self._lease(trajectory.ends) as lease:
            finish = await self._turns(trajectory, lease)
        if self.config.last_call_tokens and trajectory.wants_answer(finish):
            finish = await self._last_call(trajectory, finish)
        if finish is FinishReason.FAILED and trajectory.num_drawn > 1 and trajectory.is_boxed:
            finish = FinishReason.STOP
        return trajectory.as_sample(finish)

    def _lease(self, ends: float) -> InterpreterLease:
        return InterpreterLease(
            self.interpreters,
            lend_timeout_s=self.config.lend_timeout_s,
            call_timeout_s=self.config.call_timeout_s,
            grace_s=self.config.grace_s,
            ends=ends,
        )

    async def _turns(self, trajectory: Trajectory, lease: InterpreterLease) -> FinishReason:
        """Turn after turn, until one has no call or a cap is reached; returns why it ended there."""
        while True:
            finish = await self._turn(trajectory)
            calls = self.tool_format.calls(trajectory.messages) if finish is FinishReason.STOP else ()
            if not calls:
                return finish
            outputs = [await self._output(trajectory, call, lease) for call in calls]
            trajectory.messages = self.tool_format.answered(trajectory.messages, outputs)
            if trajectory.num_asked > self.config.max_calls or not trajectory.tokens_left:
                return FinishReason.LENGTH
            if trajectory.seconds_left <= 0:
                return FinishReason.DEADLINE

    async def _turn(self, trajectory: Trajectory) -> FinishReason:
        max_tokens = trajectory.tokens_left
        if self.tool_format.runs_code:
            max_tokens = min(self.config.max_turn_tokens or TURN_TOKENS, max_tokens)
        try:
            sample = await trajectory.draw(trajectory.messages, max_tokens=max_tokens, ends=trajectory.turns_end)
        except EngineError as error:
            if trajectory.num_drawn == 1:
                raise
            log.warning("turn %d broke: %s", trajectory.num_drawn, error)
            # Most often it is the context that the last output has filled.
            trajectory.error, trajectory.is_full = str(error), True
            return FinishReason.FAILED
        trajectory.messages = said(trajectory.messages, sample)
        trajectory.error = sample.error
        trajectory.is_full = sample.finish is FinishReason.LENGTH and sample.num_tokens < max_tokens
        return sample.finish

    async def _output(self, trajectory: Trajectory, call: Call, lease: InterpreterLease) -> str:
        """What the model is told in answer to one call."""
        trajectory.num_asked += 1
        if trajectory.num_asked > self.config.max_calls:
            return NO_CALLS_LEFT
        if isinstance(call, Refusal):
            return f"[not run: {call.reason}]"
        if trajectory.seconds_left <= 0:
            return NO_TIME_LEFT
        execution = await lease.run(call.text, until=trajectory.turns_end)
        trajectory.num_calls += 1
        trajectory.num_failed_calls += execution.status is not ExecutionStatus.OK
        return execution.output + (WAS_LAST_CALL if trajectory.num_asked == self.config.max_calls else "")

    async def _last_call(self, trajectory: Trajectory, finish: FinishReason) -> FinishReason:
        """Ask for the answer in what was kept back for it; an engine that has none leaves the attempt as it is."""
        before, was_answered = trajectory.messages, trajectory.answer is not None
        asked = self.tool_format.last_call(before)
        shown = self.tool_format.last_call(trajectory.messages_that_fit) if trajectory.is_full else asked
        try:
            reply = await self._reply(trajectory, shown)
        except EngineError as error:
            log.warning("the last call broke: %s", error)
            return finish
        text = box_closed(reply.text, is_ended=reply.finish is FinishReason.STOP)
        trajectory.messages = said(asked, dataclasses.replace(reply, text=text, tool_calls=()))
        if was_answered and trajectory.answer is None:
            trajectory.messages = before  # a box in its thought is better than nothing
        if reply.finish is FinishReason.ABORTED:
            return FinishReason.ABORTED
        return FinishReason.LENGTH if finish is FinishReason.FAILED and trajectory.is_boxed else finish

    async def _reply(self, trajectory: Trajectory, shown: tuple[Message, ...]) -> Sample:
        """What the model says inside of the box: up to a closing brace, which nearly always is the box's.

        A stop text cannot count braces: where the brace has closed a group within the box, as in `\\frac{6}{3}`, a
        second draw goes on without that stop, for what is left of the tokens.
        """
        max_tokens = self.config.last_call_tokens
        reply = await trajectory.draw(shown, max_tokens=max_tokens, ends=trajectory.deadline, stop=(CLOSING,))
        is_in_group = reply.text.endswith(CLOSING) and not is_closed(box_closed(reply.text, is_ended=False))
        if not is_in_group or reply.finish is not FinishReason.STOP:
            return reply
        reply = dataclasses.replace(reply, finish=FinishReason.LENGTH, tool_calls=())
        if reply.num_tokens >= max_tokens:
            return reply
        more = said(shown, reply)
        try:
            rest = await trajectory.draw(more, max_tokens=max_tokens - reply.num_tokens, ends=trajectory.deadline)
        except EngineError as error:
            log.warning("the rest of the last call broke: %s", error)
            return reply
        return dataclasses.replace(rest, text=reply.text + rest.text)
