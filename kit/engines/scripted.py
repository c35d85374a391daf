"""An engine that plays a script: what each attempt says, how long it takes, and how it fails.

In: a function (prompt, params) -> Script. Out: the samples it describes, on trio's clock, so that
on trio's autojump clock a five-hour competition takes milliseconds. Used by tests, `kit simulate` and
the benchmarks. It does not model a batch: attempts do not slow each other down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Self

import trio

from kit.engines.text.stop_strings import end_of_stop, show
from kit.errors import EngineError, InputError, check_fields
from kit.sampling import Chunk, FinishReason, OnChunk, Prompt, Sample, SamplingParams, TokenStats, ToolCall


class Fault(Enum):
    """What goes wrong with an attempt."""

    NONE = "none"
    ERROR = "error"  # raises EngineError after Script.seconds
    FAILED = "failed"  # a sample with FinishReason.FAILED after Script.seconds
    HANG = "hang"  # never returns, whatever timeout_s says; cancelling works
    LATE = "late"  # ignores timeout_s and returns the whole text after Script.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What one attempt does without limits.

    seconds: of the whole text. num_tokens: of it, with the end-of-sequence token. num_chunks: equal pieces that a
    watcher sees. token_stats: one entry a token, or empty.
    Raises: InputError for a negative time, no tokens or no pieces.
    """

    text: str = ""
    seconds: float = 1.0
    num_tokens: int = 100
    fault: Fault = Fault.NONE
    mean_logprob: float | None = None
    mean_entropy: float | None = None
    num_chunks: int = 1
    token_stats: tuple[TokenStats, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()

    def __post_init__(self) -> None:
        checks = (
            ("seconds", self.seconds >= 0, ">= 0"),
            ("num_tokens", self.num_tokens >= 1, ">= 1"),
            ("num_chunks", self.num_chunks >= 1, ">= 1"),
        )
        check_fields(self, checks)


class Outcome(Enum):
    """How a call ended."""

    RUNNING = "running"
    RETURNED = "returned"
    RAISED = "raised"
    CANCELLED = "cancelled"


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One call as the engine saw it; `outcome` is filled in when it ends. Times on trio's clock."""

    prompt: Prompt
    params: SamplingParams
    timeout_s: float
    begun_s: float
    ended_s: float | None = None
    outcome: Outcome = Outcome.RUNNING


class ScriptedEngine:
    """Plays what `write` says for each call; the same calls give the same samples.

    calls: every call, in the order they came, for tests to look at.
    """

    def __init__(self, write: Callable[[Prompt, SamplingParams], Script]) -> None:
        self._write = write
        self.calls: list[Call] = []

    @classmethod
    def from_scripts(cls, scripts: Mapping[str, Sequence[Script]]) -> Self:
        """Play the scripts of the first key found in the last message or the raw text, number `seed % len(scripts)`.

        Raises (when sampled): InputError for a prompt that holds none of the keys.
        """

        def write(prompt: Prompt, params: SamplingParams) -> Script:
            content = prompt.text or prompt.messages[-1].content
            for key, candidates in scripts.items():
                if key in content:
                    return candidates[params.seed % len(candidates)]
            raise InputError(f"no script for {content!r}; expected one of {sorted(scripts)} in it")

        return cls(write)

    @property
    def num_running(self) -> int:
        """How many calls are in flight."""
        return self._count(Outcome.RUNNING)

    @property
    def num_cancelled(self) -> int:
        """How many calls were cancelled."""
        return self._count(Outcome.CANCELLED)

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        """Play one script; see kit.sampling.Engine.

        Raises: EngineError for Fault.ERROR.
        """
        script = self._write(prompt, params)
        begun_s = trio.current_time()
        call = Call(prompt=prompt, params=params, timeout_s=timeout_s, begun_s=begun_s)
        self.calls.append(call)
        try:
            sample = await _play(script, params, timeout_s, on_chunk)
        except trio.Cancelled:
            call.outcome = Outcome.CANCELLED
            raise
        except EngineError:
            call.outcome = Outcome.RAISED
            raise
        else:
            call.outcome = Outcome.RETURNED
            return sample
        finally:
            call.ended_s = trio.current_time()

    def _count(self, outcome: Outcome) -> int:
        return sum(call.outcome is outcome for call in self.calls)


async def _play(script: Script, params: SamplingParams, timeout_s: float, on_chunk: OnChunk | None) -> Sample:
    begun_s = trio.current_time()
    if script.fault is Fault.HANG:
        await trio.sleep_forever()
    share, finish = _limit(script, params, timeout_s)
    share, is_cut = await _say(script, share, on_chunk)
    breaks = finish is not FinishReason.DEADLINE and not is_cut
    if script.fault is Fault.ERROR and breaks:
        raise EngineError("the script of this attempt says that the engine breaks")
    failed = script.fault is Fault.FAILED and breaks
    if is_cut:
        finish = FinishReason.ABORTED
    return Sample(
        text=script.text[: round(len(script.text) * share)],
        num_tokens=round(script.num_tokens * share),
        finish=FinishReason.FAILED if failed else finish,
        seconds=trio.current_time() - begun_s,
        seed=params.seed,
        mean_logprob=script.mean_logprob,
        mean_entropy=script.mean_entropy,
        error="the script of this attempt says that it fails" if failed else "",
        tool_calls=script.tool_calls if finish is FinishReason.STOP and share == 1 else (),
        token_stats=script.token_stats[: round(len(script.token_stats) * share)],
    )


async def _say(script: Script, share: float, on_chunk: OnChunk | None) -> tuple[float, bool]:
    """Take the time that a share of the script takes; returns the share that was said and whether it was cut."""
    if on_chunk is None:
        await trio.sleep(script.seconds * share)
        return share, False
    said = 0.0
    while said < share:
        before, said = said, min(share, said + 1 / script.num_chunks)
        await trio.sleep(script.seconds * (said - before))
        if show(on_chunk, _chunk(script, before, said)):
            return said, True
    return share, False


def _chunk(script: Script, begin: float, end: float) -> Chunk:
    def place(length: int) -> slice:
        return slice(round(length * begin), round(length * end))

    tokens = place(script.num_tokens)
    return Chunk(
        text=script.text[place(len(script.text))],
        num_tokens=tokens.stop - tokens.start,
        token_stats=script.token_stats[place(len(script.token_stats))],
    )


def _limit(script: Script, params: SamplingParams, timeout_s: float) -> tuple[float, FinishReason]:
    """The share of the script that is played, in [0, 1], and why it ends there.

    Tokens come at an even pace, so a share of the time is that share of text and tokens.
    """
    share = min(1.0, params.max_new_tokens / script.num_tokens)
    finish = FinishReason.STOP if share == 1 else FinishReason.LENGTH
    end = end_of_stop(script.text, params.stop)
    if end is not None and end <= share * len(script.text):
        share, finish = end / len(script.text), FinishReason.STOP
    is_in_time = script.seconds * share <= timeout_s
    if script.fault is Fault.LATE or is_in_time:
        return share, finish
    return max(0.0, timeout_s / script.seconds), FinishReason.DEADLINE
