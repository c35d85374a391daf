"""The transformers engine: many `sample` calls, one decode thread, one running batch.

In: chats. Out: samples. A call hands its token ids to the thread and waits; the deadline is kept on
the caller's side, so it holds even while a forward pass is stuck. Calls must come from trio (the
kit's event loop), from any number of loops and threads. It downloads nothing and never runs a
model's own Python code.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import trio
from jinja2 import TemplateError

from kit.engines.hf.decoding import Attempt, Decoder
from kit.engines.hf.loading import load_model, load_tokenizer
from kit.engines.hf.worker import Worker
from kit.errors import EngineError, InputError
from kit.sampling import Finish, OnChunk, Prompt, Sample, SamplingParams, TokenEvidence

THINK = "<think>"  # as DeepSeek-R1, QwQ and Qwen3 write it
_TAIL_TOKENS = 16  # of the prompt: the tag and a line break, even a byte at a time


class TransformersEngine:
    """Samples from a causal language model with a chat template; see kit.sampling.Engine.

    The decode thread starts with the first call. `close`, or leaving `async with`, ends it.
    max_batch: rows that decode at once; further calls wait for a free row.
    Raises: InputError for a tokenizer without chat template, or a model whose layers do not all keep
        the keys and values of every position (sliding window, recurrent).
    """

    def __init__(self, model: Any, tokenizer: Any, *, max_batch: int = 16) -> None:
        if max_batch < 1:
            raise InputError(f"max_batch must be >= 1, got {max_batch}")
        if not tokenizer.chat_template:
            raise InputError(
                "the tokenizer has no chat template; put a chat_template.jinja into the model folder, "
                "or use an instruction-tuned model"
            )
        self._tokenizer = tokenizer
        self._tokenizer_lock = threading.Lock()  # fast tokenizers fail when two threads borrow them
        # a config may give no limit (ALiBi); then only max_new_tokens ends a row
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

        dtype: "auto" takes the checkpoint's; else "float32", "bfloat16", "float16" or "float64".
        Raises: MissingError, InputError naming the file that is absent or damaged.
        """
        folder = Path(path)
        model = load_model(folder, device=device, dtype=dtype)
        return cls(model, load_tokenizer(folder), max_batch=max_batch)

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        """Draw one sample; see kit.sampling.Engine.

        Raises: EngineError for a chat that the template refuses or that fills the model's context, when
            the engine is closed, and when the model breaks.
        """
        begun_s = trio.current_time()
        attempt, done = self._attempt(prompt, params)
        self._worker.submit(attempt)
        try:
            with trio.move_on_after(max(0.0, timeout_s)):
                await done.wait()
        finally:
            attempt.is_cancelled = True  # the row leaves before its next token; no-op once it ended
        if attempt.cause is not None:
            raise EngineError(attempt.error) from attempt.cause
        return self._as_sample(attempt, seconds=trio.current_time() - begun_s)

    def close(self) -> None:
        """Fail the calls in flight, end the decode thread and wait for it (one forward pass at most)."""
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
        """The constructor's last step, for engines over other rows to replace."""
        return Decoder(model, eos_ids=eos_ids)

    def _attempt(self, prompt: Prompt, params: SamplingParams) -> tuple[Attempt, trio.Event]:
        prompt_ids = self._encode(prompt)
        room = self._context - len(prompt_ids)
        if room < 1:
            raise EngineError(
                f"the prompt has {len(prompt_ids)} tokens and the model's context holds {self._context}; "
                "expected room for at least one new token, so shorten the prompt"
            )
        done = trio.Event()
        attempt = Attempt(
            prompt_ids=prompt_ids,
            params=params,
            max_new_tokens=min(params.max_new_tokens, room),
            wake=_from_other_thread(done.set),
        )
        return attempt, done

    def _encode(self, prompt: Prompt) -> tuple[int, ...]:
        chat = [{"role": message.role, "content": message.content} for message in prompt.messages]
        try:
            with self._tokenizer_lock:
                ids = self._tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        except TemplateError as error:  # such as "system role not supported"
            raise EngineError(f"the model's chat template refuses this chat: {error}") from error
        return tuple(ids)

    def _as_sample(self, attempt: Attempt, *, seconds: float) -> Sample:
        finish = attempt.finish or Finish.DEADLINE  # read before the tokens: once it is set they are whole
        tokens = tuple(attempt.tokens)
        # the end token is cut by its place: not every tokenizer marks every end token as special
        text_ids = [token.id for token in (tokens[:-1] if finish is Finish.STOP else tokens)]
        with self._tokenizer_lock:
            text: str = self._tokenizer.decode(text_ids, skip_special_tokens=True)
            prompt_end: str = self._tokenizer.decode(attempt.prompt_ids[-_TAIL_TOKENS:])
        if prompt_end.rstrip().endswith(THINK):
            # Some templates open the thought in the prompt; without its tag a thought cut short reads as an answer.
            text = THINK + text
        return Sample(
            text=text,
            num_tokens=len(tokens),
            finish=finish,
            seconds=seconds,
            seed=attempt.params.seed,
            mean_logprob=_mean([token.logprob for token in tokens]),
            mean_entropy=_mean([token.entropy for token in tokens]),
            error=attempt.error,
            evidence=tuple(TokenEvidence(logprob=token.logprob, entropy=token.entropy) for token in tokens),
        )


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends a text: chat models list several, and the tokenizer's may not be among them."""
    listed = getattr(model.generation_config, "eos_token_id", None)
    ids = listed if isinstance(listed, list) else [listed]
    return frozenset(id_ for id_ in [*ids, tokenizer.eos_token_id] if id_ is not None)


def _from_other_thread(act: Callable[[], object]) -> Callable[[], None]:
    """A function that has this event loop do `act` soon, and does nothing once the loop has ended."""
    token = trio.lowlevel.current_trio_token()

    def call() -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(act)

    return call


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
