"""The transformers engine: many `sample` calls, one decode thread, one running batch.

In: chats. Out: samples. A call hands its token ids to the thread and waits. The caller keeps the deadline, so it holds
while a forward pass is stuck. Calls come from trio, from any number of loops and threads. It downloads nothing and runs
no Python code of a model.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import trio

from kit.engines.text.chat import Rendered
from kit.engines.text.encoding import PromptEncoder, unbegun
from kit.engines.text.tokenizer import load_tokenizer
from kit.engines.text.transcript import Detokenizer, Follower, Transcript
from kit.engines.transformers.decoding import Attempt, Decoder
from kit.engines.transformers.loading import load_model
from kit.engines.transformers.worker import Worker
from kit.errors import EngineError, InputError
from kit.models.calls.splitting import form_of, with_tool_calls
from kit.models.facts import token_ids
from kit.sampling import FinishReason, OnChunk, Prompt, Sample, SamplingParams, TokenStats

_TAIL_TOKENS = 16  # of a turn to continue: they tell whether the new text begins with a space


class TransformersEngine:
    """Samples from a causal language model; see kit.sampling.Engine.

    Without a chat template it completes raw texts only.
    The decode thread starts with the first call; `close`, or leaving `async with`, ends it.
    max_batch: rows that decode at once; further calls wait.
    Raises: InputError for layers that do not keep the keys and values of every position (sliding window, recurrent).
    """

    def __init__(self, model: Any, tokenizer: Any, *, max_batch: int = 16) -> None:
        if max_batch < 1:
            raise InputError(f"max_batch must be >= 1, got {max_batch}")
        self._tokenizer = tokenizer
        self._call_form = form_of(str(tokenizer.chat_template or ""))
        self._tokenizer_lock = threading.Lock()  # a slow tokenizer is one thread's at a time
        self._encoder = PromptEncoder(tokenizer, lock=self._tokenizer_lock)
        # without a limit (ALiBi) only max_new_tokens ends a row
        context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._context: int = context or sys.maxsize
        model.eval()
        decoder = self._make_decoder(model, eos_ids=_eos_ids(model, tokenizer))
        self._worker = Worker(decoder, max_batch=max_batch)

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        device: Literal["cpu", "cuda", "auto"] = "auto",
        dtype: str = "auto",
        max_batch: int = 16,
    ) -> Self:
        """Open a local model folder; nothing is ever downloaded.

        dtype: "float32", "bfloat16", "float16", "float64", or "auto" by the device and the checkpoint.
        Raises: MissingError, InputError naming the file that is absent or damaged; EngineError where memory does not
            suffice.
        """
        folder = Path(path)
        model = load_model(folder, device=device, dtype=dtype)
        return cls(model, load_tokenizer(folder), max_batch=max_batch)

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        """Draw one sample; see kit.sampling.Engine.

        Raises: EngineError for a chat that the template refuses or that fills the context, for a closed engine, and
            for a model that breaks.
        """
        begun_s = trio.current_time()
        encoded = None
        with trio.move_on_after(max(0.0, timeout_s)):
            encoded = await self._encoder.encode(prompt)
        if encoded is None:
            return unbegun(params, seconds=trio.current_time() - begun_s)
        done = trio.Event()
        attempt = self._attempt(encoded.ids, params, wake=_from_other_thread(done.set))
        transcript = self._transcript(attempt, encoded.rendered)
        if params.stop or on_chunk is not None:
            attempt.follow = Follower(transcript, on_chunk, partial(self._token_stats, attempt))
        self._worker.submit(attempt)
        try:
            with trio.move_on_at(begun_s + max(0.0, timeout_s)):
                await done.wait()
        finally:
            attempt.is_cancelled = True  # the row leaves before its next token; no-op once it ended
        if attempt.cause is not None:
            raise EngineError(attempt.error) from attempt.cause
        sample = self._as_sample(attempt, transcript, seconds=trio.current_time() - begun_s)
        return with_tool_calls(sample, prompt, self._call_form) if prompt.tools else sample

    def close(self) -> None:
        """Fail the calls in flight, end the decode thread and wait for it, for one forward pass at most."""
        self._worker.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # shielded: a cancelled owner must not leave the thread behind
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self.close)

    def _make_decoder(self, model: Any, *, eos_ids: frozenset[int]) -> Decoder:
        """For engines over other rows to replace."""
        return Decoder(model, eos_ids=eos_ids)

    def _attempt(self, prompt_ids: tuple[int, ...], params: SamplingParams, *, wake: Callable[[], object]) -> Attempt:
        """For engines over other rows to extend."""
        room = self._context - len(prompt_ids)
        if room < 1:
            raise EngineError(
                f"the prompt has {len(prompt_ids)} tokens and the model's context holds {self._context}; "
                "expected room for at least one new token, so shorten the prompt"
            )
        max_new_tokens = min(params.max_new_tokens, room)
        return Attempt(prompt_ids=prompt_ids, params=params, max_new_tokens=max_new_tokens, wake=wake)

    def _decode(self, ids: Sequence[int]) -> str:
        with self._tokenizer_lock:
            # the clean-up of some tokenizers takes spaces out of code and formulas
            text: str = self._tokenizer.decode(
                ids, skip_special_tokens=not self._call_form.is_special, clean_up_tokenization_spaces=False
            )
        return text

    def _transcript(self, attempt: Attempt, rendered: Rendered) -> Transcript:
        context = attempt.prompt_ids[-_TAIL_TOKENS:] if rendered.so_far else ()
        detokenizer = Detokenizer(self._decode, context=context)
        return Transcript(detokenizer, opening=rendered.opening, stop=attempt.params.stop)

    def _token_stats(self, attempt: Attempt, begin: int, end: int) -> tuple[TokenStats, ...]:
        """Of a range of the attempt's tokens; the decode thread calls it too."""
        return tuple(
            TokenStats(logprob=token.logprob, entropy=token.entropy, confidence=token.confidence)
            for token in attempt.tokens[begin:end]
        )

    def _as_sample(self, attempt: Attempt, transcript: Transcript, *, seconds: float) -> Sample:
        finish = attempt.finish or FinishReason.DEADLINE  # read before the tokens: once it is set they are whole
        tokens = tuple(attempt.tokens)
        if attempt.follow is None:
            # the end token is cut by its place, since a tokenizer may not mark it as special
            text_tokens = tokens[:-1] if finish is FinishReason.STOP else tokens
            transcript.add([token.id for token in text_tokens], is_last=True)
        return Sample(
            text=transcript.text,
            num_tokens=len(tokens),
            finish=finish,
            seconds=seconds,
            seed=attempt.params.seed,
            mean_logprob=_mean([token.logprob for token in tokens]),
            mean_entropy=_mean([token.entropy for token in tokens]),
            error=attempt.error,
            token_stats=self._token_stats(attempt, 0, len(tokens)),
        )


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends a text: the list of the generation config, and the tokenizer's own."""
    return token_ids(getattr(model.generation_config, "eos_token_id", None)) | token_ids(tokenizer.eos_token_id)


def _from_other_thread(act: Callable[[], object]) -> Callable[[], None]:
    """A function that makes this event loop do `act` soon; it does nothing after the loop's end."""
    token = trio.lowlevel.current_trio_token()

    def call() -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(act)

    return call


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
