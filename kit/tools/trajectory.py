"""One attempt under way: the chat so far, what it has cost, what is left, and what has been answered.

In: an engine and the limits of an attempt. Out: turns drawn within them, and the attempt as one sample. It does not
know formats or Python; `kit.tools.reasoner` decides what comes next.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterable

import trio

from kit.answers.extraction import RawAnswer, Source, extract
from kit.answers.normalisation import normalise
from kit.answers.rejection import Rejection
from kit.errors import EngineError
from kit.models.thoughts import breaks_off_in_thought
from kit.problem import ANSWER_MAX
from kit.sampling import Engine, FinishReason, Message, OnChunk, Prompt, Sample, SamplingParams, call_engine
from kit.tools.chat import later_half, said, transcript


class Trajectory:
    """One attempt under way: the chat so far, what it has cost and what is left. Times on trio's clock."""

    def __init__(
        self,
        engine: Engine,
        prompt: Prompt,
        params: SamplingParams,
        *,
        timeout_s: float,
        reserve_s: float,
        grace_s: float,
        on_chunk: OnChunk | None,
    ) -> None:
        self._engine = engine
        self._prompt = prompt
        self._params = params
        self._on_chunk = on_chunk
        self._begun = trio.current_time()
        self.deadline = self._begun + max(0.0, timeout_s)
        self.turns_end = self.deadline - reserve_s
        self.ends = self.deadline + grace_s  # whoever is late by then is not waited for
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
        return self.turns_end - trio.current_time()

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
        tail = Sample(text=later_half(self.text), num_tokens=0, finish=FinishReason.LENGTH, seconds=0, seed=0)
        return said(self._prompt.messages, tail)

    def wants_answer(self, finish: FinishReason) -> bool:
        """Whether the attempt, over so far, is to be asked for its answer.

        In a text broken off, a statement in words and a box within the thought may be steps on the way.
        """
        if finish is FinishReason.ABORTED or (finish is FinishReason.FAILED and self.num_drawn == 1):
            return False
        if trio.current_time() >= self.deadline:
            return False
        if finish is FinishReason.STOP:
            return self.answer is None
        return not self.is_boxed or breaks_off_in_thought(self.text)

    async def draw(
        self, messages: tuple[Message, ...], *, max_tokens: int, ends: float, stop: tuple[str, ...] = ()
    ) -> Sample:
        """One turn; `stop` are texts that end it besides the attempt's own.

        Raises: EngineError, also for an engine that does not hand it back in time.
        """
        seed = turn_seed(self._params.seed, self.num_drawn)
        self.num_drawn += 1
        stop = (*self._params.stop, *stop)
        params = dataclasses.replace(self._params, seed=seed, max_new_tokens=max_tokens, stop=stop)
        prompt = dataclasses.replace(self._prompt, messages=messages)
        timeout_s = ends - trio.current_time()
        with trio.move_on_after(self.ends - trio.current_time()):
            sample = await call_engine(self._engine, prompt, params, timeout_s=timeout_s, on_chunk=self._on_chunk)
            self.turns.append(sample)
            return sample
        raise EngineError(f"the engine handed nothing back in time: it was given {timeout_s:.1f} s")

    def as_sample(self, finish: FinishReason) -> Sample:
        """The attempt as one sample; means are over tokens, of the turns where they are known."""
        spoken = [turn for turn in self.turns if turn.num_tokens]
        has_token_stats = all(turn.token_stats for turn in spoken)
        return Sample(
            text=self.text,
            num_tokens=sum(turn.num_tokens for turn in self.turns),
            finish=finish,
            seconds=trio.current_time() - self._begun,
            seed=self._params.seed,
            mean_logprob=_mean(spoken, lambda turn: turn.mean_logprob),
            mean_entropy=_mean(spoken, lambda turn: turn.mean_entropy),
            error=self.error if finish is FinishReason.FAILED else "",
            depth=self.turns[0].depth,
            halting=_mean(spoken, lambda turn: turn.halting),
            num_calls=self.num_calls,
            num_failed_calls=self.num_failed_calls,
            token_stats=tuple(entry for turn in spoken for entry in turn.token_stats) if has_token_stats else (),
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
