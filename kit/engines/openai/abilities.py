"""What a server can do, found out before the first attempt by asking for single tokens.

In: its address and model. Out: which of the kit's wishes it takes, and a sentence on each that it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kit.engines.vllm.client.faults import BrokenError, RefusedError
from kit.engines.vllm.client.http import HttpClient
from kit.sampling import CONFIDENCE_TOP_K

PROBE_TIMEOUT_S = 120.0  # the first token of a large model may compile something
_VARIED_TOKENS = 16
_OPTIONAL: Mapping[str, Any] = {"seed": 1, "top_k": 1, "min_p": 0.1, "presence_penalty": 0.1}
_LOSSES = {
    "seed": "samples cannot be repeated",
    "top_k": "top_k is left out",
    "min_p": "min_p is left out",
    "presence_penalty": "the presence penalty is left out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a chat endpoint takes. fields: optional ones of a request. num_logprobs: likeliest tokens told of each;
    0: none. counts_tokens: whether a stream ends with how many tokens it had. continues: whether it goes on with an
    assistant's turn when told to, as vLLM does. varies: whether texts differ at a high temperature.
    """

    fields: frozenset[str] = frozenset()
    num_logprobs: int = 0
    counts_tokens: bool = False
    continues: bool = False
    varies: bool = True

    def takes(self, field: str) -> bool:
        """Whether a request may have this field."""
        return field in self.fields

    @property
    def lacks(self) -> tuple[str, ...]:
        """What is done without, a few words each."""
        missing = [f"{name}: {loss}" for name, loss in _LOSSES.items() if name not in self.fields]
        if not self.num_logprobs:
            missing.append("logprobs: votes are weighed by their count alone")
        if not self.varies:
            missing.append(
                "temperature: all texts are the same, so votes tell nothing (`transformers serve` samples only where "
                "the model's generation_config.json says do_sample: true)"
            )
        if not self.continues:
            missing.append("continuing a turn: the last call for an answer is a turn of its own")
        return tuple(missing)


async def find_abilities(http: HttpClient, url: str, *, model: str, is_vllm: bool) -> Abilities:
    """Ask for one token with everything; where that is refused, with each wish alone.

    Raises: RefusedError for a server that refuses the plainest chat; BrokenError for one that does not answer.
    """
    ask = _Asking(http, f"{url}/v1/chat/completions", model)
    logprobs = {"logprobs": True, "top_logprobs": CONFIDENCE_TOP_K}
    answered, fields = await ask.answer(**_OPTIONAL, **logprobs), frozenset(_OPTIONAL)
    if answered is None:
        await ask.plainly()
        fields = frozenset([name for name, value in _OPTIONAL.items() if await ask.answer(**{name: value}) is not None])
        answered = await ask.answer(**logprobs)
    return Abilities(
        fields=fields,
        num_logprobs=CONFIDENCE_TOP_K if _tells_logprobs(answered) else 0,
        counts_tokens=await ask.takes_usage(),
        continues=is_vllm,
        varies=await ask.varies(takes_seed="seed" in fields),
    )


@dataclass(frozen=True, slots=True)
class _Asking:
    http: HttpClient
    url: str
    model: str

    async def plainly(self, **extra: Any) -> Mapping[str, Any]:
        """The answer to the shortest chat; what is wrong with it is the user's to know."""
        body = {"model": self.model, "messages": [{"role": "user", "content": "1"}], "max_tokens": 1, **extra}
        answered: Mapping[str, Any] = await self.http.post_json(self.url, body, timeout_s=PROBE_TIMEOUT_S)
        return answered

    async def answer(self, **extra: Any) -> Mapping[str, Any] | None:
        """The answer to a chat with these wishes; None where they are refused."""
        try:
            return await self.plainly(**extra)
        except RefusedError:
            return None

    async def varies(self, *, takes_seed: bool) -> bool:
        """Whether two texts at a high temperature differ."""
        texts = set()
        for seed in (1, 2):
            told = {"temperature": 1.5, "max_tokens": _VARIED_TOKENS, **({"seed": seed} if takes_seed else {})}
            answered = await self.plainly(messages=[{"role": "user", "content": "Tell me a story."}], **told)
            choice = (answered.get("choices") or [{}])[0]
            texts.add(str((choice.get("message") or {}).get("content")))
        return len(texts) > 1

    async def takes_usage(self) -> bool:
        """Whether a stream that is asked to ends with its number of tokens."""
        body = {"model": self.model, "messages": [{"role": "user", "content": "1"}], "max_tokens": 1, "stream": True}
        has_usage = False
        try:
            async with self.http.stream(self.url, {**body, "stream_options": {"include_usage": True}}) as events:
                async for event in events:
                    has_usage = has_usage or bool(event.get("usage"))
        except (RefusedError, BrokenError):  # `transformers serve` 5.19 ends its streams without the last word
            pass
        return has_usage


def _tells_logprobs(answered: Mapping[str, Any] | None) -> bool:
    """Whether an answer holds log-probabilities: some servers take the wish and do not fulfil it."""
    match answered:
        case {"choices": [{"logprobs": {"content": [{"top_logprobs": [_, *_]}, *_]}}, *_]}:
            return True
    return False
