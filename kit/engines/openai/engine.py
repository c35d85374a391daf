"""An engine over a server's chat completions, for servers without a token-level endpoint or models of unknown tokens.

In: chats. Out: samples. The server writes the prompt by its own template, reads thoughts and calls by its own parsers,
and what it leaves in the text the kit reads itself. A text cannot be gone on with after a break: an attempt is asked
for again where nothing had come of it, and else ends with what there is.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import re

import trio

from kit.engines.openai.abilities import Abilities
from kit.engines.openai.wire import ChatReader, chat_request, raw_request
from kit.engines.text.chat import split_last_turn
from kit.engines.vllm.client.attempt import Attempt
from kit.engines.vllm.client.endpoint import Address
from kit.engines.vllm.client.faults import BrokenError, BusyError, RefusedError
from kit.engines.vllm.client.http import Events, HttpClient
from kit.errors import EngineError
from kit.models.calls.splitting import split_in_any_form
from kit.sampling import FinishReason, OnChunk, Prompt, Sample, SamplingParams

log = logging.getLogger(__name__)

_MAX_TRIES = 4
_OF_LENGTH = re.compile(r"max_tokens|context length|maximum context|too long", re.IGNORECASE)
_PAUSE_S = 0.5  # before the second try; it doubles


class ChatEngine:
    """Samples from a server's chats; see kit.sampling.Engine. Made by `open_remote`."""

    def __init__(self, http: HttpClient, address: Address, abilities: Abilities) -> None:
        self._http = http
        self._address = address
        self._abilities = abilities
        self._too_many_tokens = math.inf  # a length that was refused: beside the prompt the context has no room for it

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        """Draw one sample; see kit.sampling.Engine.

        Raises: EngineError for a prompt that the server refuses, for a server that breaks again and again before the
            first token.
        """
        if not prompt.text:
            split_last_turn(prompt.messages)  # refuses a chat without a turn to answer
        begun_s = trio.current_time()
        attempt = Attempt(prompt, params, on_chunk, prompt_ids=(), decode=None)
        reader = ChatReader(num_earlier=sum(len(message.tool_calls) for message in prompt.messages))
        with trio.move_on_after(max(0.0, timeout_s)):
            reader = await self._draw(attempt, reader)
        return self._as_sample(attempt, reader, seconds=trio.current_time() - begun_s)

    async def _draw(self, attempt: Attempt, reader: ChatReader) -> ChatReader:
        """Stream the attempt to its end; returns the reader of the stream that it has its text from."""
        while True:
            try:
                await self._stream(attempt, reader)
                return reader
            except RefusedError as error:
                if not self._is_length(error, attempt):
                    raise
                self._too_many_tokens = min(self._too_many_tokens, attempt.params.max_new_tokens)
            except BrokenError as error:
                attempt.num_replays += 1
                if attempt.num_tokens or reader.tool_calls:
                    attempt.fail(f"the server broke off: {error}")
                    return reader
                if attempt.num_replays >= _MAX_TRIES:
                    raise EngineError(f"the server broke {_MAX_TRIES} times under this attempt: {error}") from error
                told_s = error.retry_after_s if isinstance(error, BusyError) else None
                await trio.sleep(told_s or _PAUSE_S * 2**attempt.num_replays)
                reader = dataclasses.replace(reader)

    def _is_length(self, error: RefusedError, attempt: Attempt) -> bool:
        """Whether a length was refused that the server can choose itself: as much as its context leaves."""
        return attempt.params.max_new_tokens < self._too_many_tokens and _OF_LENGTH.search(str(error)) is not None

    async def _stream(self, attempt: Attempt, reader: ChatReader) -> None:
        write = raw_request if attempt.prompt.text else chat_request
        body = write(attempt.prompt, attempt.params, model=self._address.model, abilities=self._abilities)
        if attempt.params.max_new_tokens >= self._too_many_tokens:
            del body["max_tokens"]
        page = "completions" if attempt.prompt.text else "chat/completions"
        async with self._http.stream(f"{self._address.url}/v1/{page}", body) as events:
            try:
                await _follow(attempt, reader, events)
            except BrokenError:
                if attempt.finish is None:
                    raise
        if attempt.finish is None and reader.tool_calls:
            attempt.finish = FinishReason.STOP
        if attempt.finish is None:
            raise BrokenError("the server ended the stream without a finish")

    def _as_sample(self, attempt: Attempt, reader: ChatReader, *, seconds: float) -> Sample:
        sample = attempt.as_sample(seconds=seconds)
        if reader.num_tokens is not None:
            sample = dataclasses.replace(sample, num_tokens=reader.num_tokens)
        if sample.finish is not FinishReason.STOP or not attempt.prompt.tools or sample.tool_calls:
            return sample
        if reader.tool_calls:
            return dataclasses.replace(sample, tool_calls=reader.tool_calls)
        said = split_in_any_form(sample.text, num_earlier=reader.num_earlier)
        return dataclasses.replace(sample, text=said.text, tool_calls=said.tool_calls)


async def _follow(attempt: Attempt, reader: ChatReader, events: Events) -> None:
    """Take in events up to the attempt's own end, or up to the stream's: the count of tokens comes after the finish."""
    async for event in events:
        piece = reader.piece(event)
        if attempt.finish is None and attempt.take(piece) is not None and not piece.finish:
            return
