"""An engine over an OpenAI-compatible server: many `sample` calls, one streamed request each.

In: chats. Out: samples. The server batches the requests. An attempt that is cancelled, cut or out of time closes its
stream. An attempt whose server breaks is replayed: the next server gets the prompt and the tokens so far, and continues
them. That costs one prefill instead of all tokens.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

from kit.engines.text.chat import Rendered, render, split_last_turn
from kit.engines.text.encoding import EncodedPrompt, PromptEncoder, unbegun
from kit.engines.vllm.client import wire
from kit.engines.vllm.client.admission_wait import Admission
from kit.engines.vllm.client.attempt import Attempt
from kit.engines.vllm.client.depth import ServedDepth
from kit.engines.vllm.client.endpoint import Address, Endpoint
from kit.engines.vllm.client.faults import BrokenError, BusyError
from kit.engines.vllm.client.http import HttpClient
from kit.errors import EngineError, check_fields
from kit.models import gpt_oss
from kit.models.calls.splitting import form_of
from kit.models.facts import ModelFacts
from kit.models.recognition import markers_of
from kit.sampling import FinishReason, OnChunk, Prompt, Sample, SamplingParams
from kit.tasks import background

log = logging.getLogger(__name__)

_DOUBT_S = 5.0  # a server that is well lets no running text wait so long
_UNAVAILABLE = 503
_BUSY_PAUSE_S = 1.0  # where a server does not say when to come again
_TAIL_TOKENS = 16  # of a turn to continue: they tell whether the new text begins with a space


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """How a server is asked.

    num_logprobs: likeliest tokens told of each token; 20 is vLLM's limit and DeepConf's need, 0 means no statistics.
    tells_ids: whether the server gives token ids back, as vLLM does. needs_end: whether it has to be told the model's
    end token, since it has no tokenizer. max_replays: of one attempt.
    replay_pause_s: before the first replay; it doubles. busy_s: how long a server is waited for that says "later" and
    nothing else; such answers are no replays. cache_high: share of the KV cache from which attempts wait.
    poll_s: between readings of the cache; None for a server without metrics. depth: of a server that recurses.
    Raises: InputError for a value outside its range.
    """

    num_logprobs: int = 20
    tells_ids: bool = True
    needs_end: bool = False
    max_replays: int = 3
    replay_pause_s: float = 0.25
    busy_s: float = 120.0
    cache_high: float = 0.9
    poll_s: float | None = 0.5
    depth: ServedDepth | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("num_logprobs", 0 <= self.num_logprobs <= 20, "in [0, 20]"),
                ("max_replays", self.max_replays >= 0, ">= 0"),
                ("replay_pause_s", 0 <= self.replay_pause_s < math.inf, ">= 0 and finite"),
                ("busy_s", 0 <= self.busy_s < math.inf, ">= 0 and finite"),
                ("cache_high", 0 < self.cache_high <= 1, "in (0, 1]"),
                ("poll_s", self.poll_s is None or 0 < self.poll_s < math.inf, "> 0 and finite, or None"),
            ),
        )


class OpenAIEngine:
    """Samples from a server; see kit.sampling.Engine. Made by `open_openai`."""

    def __init__(self, endpoint: Endpoint, http: HttpClient, *, tokenizer: Any, config: ClientConfig) -> None:
        self._endpoint = endpoint
        self._http = http
        self._tokenizer = tokenizer
        self._markers = markers_of(ModelFacts(chat_template=str(tokenizer.chat_template or "")))
        self._call_form = form_of(str(tokenizer.chat_template or ""))
        self._keeps_special = self._markers.are_special or self._call_form.is_special
        self._encoder = PromptEncoder(tokenizer, write=self._written)
        self._config = config
        end_id = getattr(tokenizer, "eos_token_id", None)
        self._ends = {} if end_id is None else {int(end_id): str(tokenizer.eos_token)}
        self.admission = Admission(endpoint, http, high=config.cache_high, poll_s=config.poll_s)

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        """Draw one sample; see kit.sampling.Engine. The time that a server takes to come back counts.

        Raises: EngineError for a chat that the template or the server refuses, for a server that is given up or breaks
            again and again before the first token.
        """
        begun_s = trio.current_time()
        depth = self._config.depth.of(params) if self._config.depth else None
        attempt = None
        with trio.move_on_after(max(0.0, timeout_s)) as scope:
            attempt = self._attempt(await self._encoder.encode(prompt), prompt, params, on_chunk)
            await self._draw(attempt)
        if attempt and scope.cancelled_caught:
            self._doubt(attempt)
        seconds = trio.current_time() - begun_s
        return attempt.as_sample(seconds=seconds, depth=depth) if attempt else unbegun(params, seconds=seconds)

    def _doubt(self, attempt: Attempt) -> None:
        """Have a server probed that kept this attempt, and everybody, waiting for a first token, or for one of late."""
        if attempt.asked_at is None:
            return
        since_s = max(attempt.asked_s, trio.current_time() - _DOUBT_S) if attempt.has_come else attempt.asked_s
        if not self._endpoint.watchdog.has_heard_since(since_s):
            log.warning("%s: an attempt's time is over and nothing has come of late; probing", attempt.asked_at.url)
            self._endpoint.report_broken(attempt.asked_at)

    def _written(self, prompt: Prompt) -> Rendered:
        """The prompt's text; gpt-oss's turn to continue is not in the template's form."""
        if self._markers is not gpt_oss.HARMONY:
            return render(self._tokenizer, prompt)
        finished, so_far = split_last_turn(gpt_oss.prepared(prompt.messages))
        rendered = render(self._tokenizer, Prompt(tuple(finished), prompt.tools))
        return Rendered(rendered.text + gpt_oss.turn_so_far(so_far), "")

    def _attempt(
        self, encoded: EncodedPrompt, prompt: Prompt, params: SamplingParams, on_chunk: OnChunk | None
    ) -> Attempt:
        harmony_so_far = None
        if self._markers is gpt_oss.HARMONY and not prompt.text:
            _, harmony_so_far = split_last_turn(gpt_oss.prepared(prompt.messages))
        prompt_ids, rendered = encoded.ids, encoded.rendered
        tells_ids = self._config.tells_ids
        return Attempt(
            prompt,
            params,
            on_chunk,
            prompt_ids=prompt_ids,
            decode=self._decode if tells_ids else None,
            opening=rendered.opening,
            context=prompt_ids[-_TAIL_TOKENS:] if rendered.so_far and tells_ids else (),
            harmony_so_far=harmony_so_far,
            call_form=self._call_form,
            ends=self._ends,
        )

    def _decode(self, ids: Sequence[int]) -> str:
        is_skipped = not self._keeps_special
        # the clean-up of some tokenizers takes spaces out of code and formulas
        text: str = self._tokenizer.decode(ids, skip_special_tokens=is_skipped, clean_up_tokenization_spaces=False)
        return text

    async def _draw(self, attempt: Attempt) -> None:
        """Stream the attempt to its end, from several servers if need be."""
        busy_until = math.inf
        while attempt.finish is None:
            num_before = attempt.num_tokens
            try:
                async with self.admission.entered(len(attempt.prefix_ids or ())) as ticket:
                    address = await self._endpoint.ready()
                    if self._has_room(address, attempt):
                        await self._stream(address, attempt, ticket)
            except BusyError as error:
                busy_until = min(busy_until, trio.current_time() + self._config.busy_s)
                if trio.current_time() >= busy_until or attempt.prefix_ids is None:
                    self._give_up(attempt, error)
                else:  # a server may name tomorrow
                    left_s = busy_until - trio.current_time()
                    await trio.sleep(min(left_s, error.retry_after_s or _BUSY_PAUSE_S))
            except BrokenError as error:
                if not self._may_replay(attempt):
                    self._give_up(attempt, error)
                elif attempt.num_tokens == num_before:  # else this attempt is not to blame
                    await trio.sleep(self._config.replay_pause_s * 2**attempt.num_replays)
                attempt.num_replays += 1
                busy_until = math.inf

    def _may_replay(self, attempt: Attempt) -> bool:
        return attempt.num_replays < self._config.max_replays and attempt.prefix_ids is not None

    def _give_up(self, attempt: Attempt, error: EngineError) -> None:
        told = f"the server broke {attempt.num_replays + 1} times under this attempt: {error}"
        if isinstance(error, BusyError):
            told = f"the server had no time for this attempt: {error}"
        if attempt.num_tokens_left <= 0:
            attempt.finish = FinishReason.LENGTH
            return
        if not attempt.num_tokens:
            raise EngineError(told) from error
        attempt.fail(told)

    async def _stream(self, address: Address, attempt: Attempt, ticket: int) -> None:
        body = self._request(address, attempt)
        watchdog = self._endpoint.watchdog
        attempt.asked_at, attempt.asked_s, attempt.has_come = address, trio.current_time(), False
        watchdog.opened(attempt.asked_s)
        try:
            async with self._http.stream(f"{address.url}/v1/completions", body) as events:
                async for event in events:
                    watchdog.beat(trio.current_time())
                    attempt.has_come = True
                    self.admission.begun(ticket)
                    if attempt.take(wire.completion_piece(event)) is not None:
                        return
            if attempt.end_of_stream() is None:
                raise BrokenError("the server ended the stream without a finish")
        except BusyError as error:
            attempt.asked_at = None
            watchdog.beat(trio.current_time())
            if error.status == _UNAVAILABLE:  # one that served before is not loading
                self._endpoint.report_broken(address)
            if attempt.end_of_stream() is None:
                raise
        except BrokenError:
            attempt.asked_at = None
            self._endpoint.report_broken(address)
            if attempt.end_of_stream() is None:  # what broke after the end token broke nothing
                raise
        finally:
            watchdog.closed(trio.current_time())

    def _request(self, address: Address, attempt: Attempt) -> wire.JsonObject:
        prefix, context = attempt.prefix_ids, address.context_tokens
        assert prefix is not None
        wanted = attempt.num_tokens_left
        body = wire.completion_request(
            prefix,
            attempt.params,
            model=address.model,
            # servers refuse more than the context holds
            max_tokens=wanted if context is None else min(wanted, context - len(prefix)),
            seed=attempt.seed,
            num_logprobs=self._config.num_logprobs,
            shows_special=self._keeps_special,
            end_ids=tuple(self._ends) if self._config.needs_end else (),
            tells_ids=self._config.tells_ids,
        )
        extra = self._config.depth.arguments(attempt.params) if self._config.depth else {}
        return {**body, **extra}

    def _has_room(self, address: Address, attempt: Attempt) -> bool:
        """Whether the context holds one more token; if not, the attempt has ended.

        Raises: EngineError for a prompt that fills the context.
        """
        if attempt.num_tokens_left <= 0:  # the last server broke off after the last token
            attempt.finish = FinishReason.LENGTH
            return False
        context, num_before = address.context_tokens, len(attempt.prefix_ids or ())
        if context is None or num_before < context:
            return True
        if attempt.num_tokens:  # the new server has a smaller context
            attempt.finish = FinishReason.LENGTH
            return False
        raise EngineError(
            f"the prompt has {num_before} tokens and the model's context holds {context}; "
            "expected room for at least one new token, so shorten the prompt"
        )


@asynccontextmanager
async def open_openai(
    endpoint: Endpoint, *, tokenizer: Any, config: ClientConfig | None = None, http: HttpClient | None = None
) -> AsyncIterator[OpenAIEngine]:
    """An engine over a server, until it is left.

    tokenizer: Hugging Face's, of the model that the server serves. http: with the server's key, where it wants one.
    """
    config = config or ClientConfig()
    async with background() as nursery:
        engine = OpenAIEngine(endpoint, http or HttpClient(), tokenizer=tokenizer, config=config)
        nursery.start_soon(engine.admission.watch)
        yield engine
