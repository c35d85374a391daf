"""The seam between the solver and whatever produces text: Prompt in, Sample out.

An engine is one coroutine, `Engine.sample`: one call is one attempt at one problem. The solver
runs many calls as tasks; an engine batches those in flight as it likes. Cancelling the call
aborts the attempt between two tokens; letting `timeout_s` run out ends it with the text so far,
and so does a watcher (`on_chunk`) that has seen enough.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, Protocol, Self

from kit.errors import EngineError, InputError, check_fields

log = logging.getLogger(__name__)

# Deeper than any published recursion (16 * 3), where float32's rounding begins to show.
MAX_DEPTH = 64

CONFIDENCE_TOP_K = 20
"""Tokens that a token's confidence averages over: what vLLM returns at most, and DeepConf's own setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that a model makes through its chat template's own form. arguments: JSON, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that a prompt offers to the model. parameters: a JSON schema, as text."""

    name: str
    description: str
    parameters: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat, in the roles that chat templates know.

    tool_calls: what an assistant's turn called. call_id: for the role `tool`, the call that it answers.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A chat for the engine's own chat template, or a raw text.

    The engine opens the assistant's turn, or, where the last message is the assistant's, goes on with it.
    tools: offered through the template's own form; a template without one refuses them.
    text: in place of a chat, what the model goes on with as it stands: no template, and no special token in front.
    Raises: InputError for a text beside messages or tools.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    text: str = ""

    def __post_init__(self) -> None:
        if self.text and (self.messages or self.tools):
            raise InputError("a prompt is a raw text or a chat, not both; leave messages and tools empty")

    @classmethod
    def raw(cls, text: str) -> Self:
        """A prompt without a chat."""
        return cls(messages=(), text=text)


class FinishReason(StrEnum):
    """Why a sample ended."""

    STOP = "stop"  # the model emitted an end-of-sequence token, or one of SamplingParams.stop
    LENGTH = "length"  # max_new_tokens, or the model's context, was reached
    DEADLINE = "deadline"  # timeout_s ran out; the text so far is kept
    ABORTED = "aborted"  # the watcher ended it; the text so far is kept
    FAILED = "failed"  # the engine broke; `error` says how, and the text may be empty


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How one sample is drawn.

    temperature: 0 is greedy. top_p in (0, 1]; 1 is off. top_k: 0 is off. min_p in [0, 1); 0 is off.
    presence_penalty: taken off the logit of each token that is in the sample already; 0 is off.
    stop: texts that end the sample as soon as one of them is in it; it stays, as the text's end.
    seed: makes this one sample repeatable, whatever else is in the batch.
    depth: deep recursions T a token, for an engine that recurses; others ignore it. 0: the backbone alone.
        None: the engine's own.
    Raises: InputError for a value outside its range.
    """

    seed: int = 0
    temperature: float = 0.8
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    max_new_tokens: int = 4096
    depth: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checks = (
            ("temperature", math.isfinite(self.temperature) and self.temperature >= 0, ">= 0"),
            ("top_p", 0 < self.top_p <= 1, "in (0, 1]"),
            ("top_k", self.top_k >= 0, ">= 0 (0: off)"),
            ("min_p", 0 <= self.min_p < 1, "in [0, 1)"),
            ("presence_penalty", -2 <= self.presence_penalty <= 2, "in [-2, 2]"),
            ("max_new_tokens", self.max_new_tokens >= 1, ">= 1"),
            ("seed", 0 <= self.seed < 2**63, "in [0, 2**63)"),
            ("stop", all(self.stop), "texts that are not empty"),
            ("depth", self.depth is None or 0 <= self.depth <= MAX_DEPTH, f"in [0, {MAX_DEPTH}]"),
        )
        check_fields(self, checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStats:
    """What an engine knows of one new token: log-probability and entropy of the unwarped model, in nats.

    confidence: minus the mean log-probability of the likeliest CONFIDENCE_TOP_K tokens, in nats; the more
        peaked the distribution, the larger (DeepConf, arXiv 2508.15260, section 3.1). None: not known.
    halting: the probability that the token is right as the recursion sees it; None where nothing recursed.
    """

    logprob: float
    entropy: float
    confidence: float | None = None
    halting: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One finished attempt.

    text: the new text only, without the prompt and without special tokens; where the chat template opens the
    thought (`<think>`) in the prompt, with that tag in front, so that a thought can be told from an answer.
    num_tokens: new tokens, the end-of-sequence token included.
    seconds: wall time from the call to the end.
    mean_logprob: mean natural-log probability of the new tokens under the unwarped model (nats).
    mean_entropy: mean entropy of the model's next-token distributions (nats). None: not known.
    error: what broke, for FinishReason.FAILED; else empty.
    depth: the deep recursions T it was drawn with. halting: mean probability, over the tokens that recursed,
        that the token is right as the recursion sees it. None: not a recursive engine, or not known.
    num_calls: pieces of code that were run for it. num_failed_calls: those that did not end well.
    tool_calls: what the model called through its template's own form; then the text is what came before.
    token_stats: one entry for each new token of which it is known, for votes that weigh windows or tails. It is for the
        solver alone: the journal keeps the means.
    """

    text: str
    num_tokens: int
    finish: FinishReason
    seconds: float
    seed: int
    mean_logprob: float | None = None
    mean_entropy: float | None = None
    error: str = ""
    depth: int | None = None
    halting: float | None = None
    num_calls: int = 0
    num_failed_calls: int = 0
    tool_calls: tuple[ToolCall, ...] = ()
    token_stats: tuple[TokenStats, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """New tokens of an attempt in flight. text: what they add. token_stats: as Sample's."""

    text: str
    num_tokens: int
    token_stats: tuple[TokenStats, ...] = ()


OnChunk = Callable[[Chunk], bool]
"""Watches one attempt; True ends it there with FinishReason.ABORTED. Called in order, perhaps from the engine's own
thread, so it must be quick and touch nothing but its own state."""


class Engine(Protocol):
    """Anything that answers a prompt; see the contract suite in tests/engines/contract.py."""

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        """Draw one sample, ending within `timeout_s` seconds with the text there is by then.

        Cancelling the call frees the attempt's slot and returns nothing. The chunks' texts together are the
        sample's, up to what was still on its way when it was cut.
        Raises: EngineError if no sample can be drawn (the engine may still serve later calls).
        """
        ...


async def call_engine(
    engine: Engine, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
) -> Sample:
    """`engine.sample` as the kit calls it: a bug in an engine costs this call and nothing else.

    A cancellation and Ctrl-C pass.
    Raises: EngineError for whatever breaks in the engine; what it does not expect itself is logged with its traceback.
    """
    try:
        return await engine.sample(prompt, params, timeout_s=timeout_s, on_chunk=on_chunk)
    except EngineError:
        raise
    except BaseException as error:  # native libraries panic with what is no Exception
        if asks_to_end(error):
            raise
        told, cause = shown(error), _loggable(error)
    raise EngineError(f"the engine broke: {told}") from cause


def _loggable(error: BaseException) -> BaseException | None:
    """The error, logged with its traceback; None for one whose traceback breaks whoever tells it."""
    try:
        log.exception("an engine broke")
    except BaseException:  # noqa: BLE001  # as in `shown`
        return None
    return error


def asks_to_end(error: BaseException) -> bool:
    """Whether it is a cancellation or Ctrl-C, alone or among what a nursery raised.

    A cancellation that is over, since nothing here is cancelled, is none: an engine has kept and raised it again.
    """
    import trio  # here, since vLLM's environment, which reads this module for its numbers, has none

    kind = type(error)  # isinstance would ask the error itself, which may break as well
    if issubclass(kind, BaseExceptionGroup):
        return any(map(asks_to_end, error.exceptions))  # type: ignore[attr-defined]
    if issubclass(kind, trio.Cancelled):
        return trio.current_effective_deadline() == -math.inf
    return issubclass(kind, KeyboardInterrupt)


def shown(error: BaseException, *, form: Callable[[BaseException], str] = repr) -> str:
    """An error as text, even where its own text breaks. form: repr, or str for its message alone."""
    try:
        return form(error)
    except BaseException:  # noqa: BLE001  # an error whose own text breaks, even by SystemExit, is still an error
        return type(error).__name__


def checked_sample(sample: Sample, *, may_be_empty: bool = False) -> Sample:
    """What an engine returned, with plain numbers where it gave those of a tensor library.

    may_be_empty: a model that says nothing is a finding of an evaluation, and no fault.
    Raises: EngineError for what is no sample, or for an empty text that ended by itself: engines that break
        quietly give those at once (EAGLE-3 on MXFP4: docs/peers.md#speculation), and they are no answers.
    """
    try:
        plain = replace(
            sample,
            num_tokens=int(sample.num_tokens),
            seconds=float(sample.seconds),
            finish=FinishReason(sample.finish),
            depth=None if sample.depth is None else int(sample.depth),
            mean_logprob=_plain(sample.mean_logprob),
            mean_entropy=_plain(sample.mean_entropy),
            halting=_plain(sample.halting),
        )
        is_silent = not plain.text.strip() and not plain.tool_calls
    except (TypeError, ValueError, AttributeError) as error:
        raise EngineError(f"the engine returned {type(sample).__name__}, which is no sample: {error}") from error
    if not isinstance(plain.text, str):
        raise EngineError(f"the engine returned a text of type {type(plain.text).__name__}")
    if is_silent and not may_be_empty and plain.finish in (FinishReason.STOP, FinishReason.LENGTH):
        raise EngineError("the engine returned an empty text")
    return plain


def _plain(value: float | None) -> float | None:
    return None if value is None else float(value)
