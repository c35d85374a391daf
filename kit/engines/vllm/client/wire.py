"""Requests and answers of OpenAI-compatible servers, in the completions form; pure.

In: a prompt as token ids. Out: the JSON of a request, and the pieces that the events of its stream hold. The kit
renders and tokenises by itself, so the prompt is exact and an attempt goes on where it broke off. vLLM gives token ids
back (`return_token_ids`); SGLang and llama.cpp take ids and give text.
Source: vLLM 0.32, entrypoints/openai/completion/protocol.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kit.engines.vllm.client.faults import BrokenError
from kit.sampling import CONFIDENCE_TOP_K, SamplingParams, TokenStats

JsonObject = Mapping[str, Any]

_GOES_ON = frozenset(
    "null none nan undefined unspecified finish_reason_unspecified in_progress running pending continue continuing"
    " generating streaming not_finished unfinished".split()
)
"""What a server says of a text of which there is more to come."""
_END_OF_IDS = 1 << 31  # tokenizers take no larger ones
_LEAST_LOGPROB = -9999.0  # what vLLM writes for minus infinity, which JSON cannot say


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one event of a stream adds.

    token_ids: None where the server does not tell them. num_tokens: 1 for a text whose number is not known.
    token_stats: one entry a token; None where nothing is told of it.
    finish: in the server's word, in small letters; empty while it goes on.
    """

    text: str = ""
    token_ids: tuple[int, ...] | None = None
    num_tokens: int = 0
    token_stats: tuple[TokenStats | None, ...] = ()
    finish: str = ""


def completion_request(
    prompt_ids: Sequence[int],
    params: SamplingParams,
    *,
    model: str,
    max_tokens: int,
    seed: int,
    num_logprobs: int,
    shows_special: bool,
    end_ids: Sequence[int] = (),
    tells_ids: bool = True,
) -> JsonObject:
    """A streamed completion. The kit looks for stop texts itself, since they stay in the text.

    What is off is not sent, and what only vLLM knows is sent only where ids are wanted: strict servers refuse a field
    that they do not know. end_ids: the model's end tokens, for a server that has no tokenizer to know them by; vLLM's
    own field. tells_ids: whether the server is to give ids back.
    """
    extra: dict[str, Any] = {}
    if params.top_k:
        extra["top_k"] = params.top_k
    if params.min_p:
        extra["min_p"] = params.min_p
    if params.presence_penalty:
        extra["presence_penalty"] = params.presence_penalty
    if num_logprobs:
        extra["logprobs"] = num_logprobs
    if shows_special:
        extra["skip_special_tokens"] = False
    if tells_ids:
        extra["return_token_ids"] = True
    if end_ids:
        extra["stop_token_ids"] = list(end_ids)
    if tells_ids and num_logprobs:
        extra["return_tokens_as_token_ids"] = True  # else two tokens with the same text would be one key
    return {
        "model": model,
        "stream": True,
        "prompt": list(prompt_ids),
        "max_tokens": max_tokens,
        "seed": seed,
        "temperature": params.temperature,
        "top_p": params.top_p,
        **extra,
    }


def probe_request(model: str) -> JsonObject:
    """One token, which a healthy server gives at once. By an id: the server may have no tokenizer."""
    return {"model": model, "prompt": [1], "max_tokens": 1, "temperature": 0}


def completion_piece(event: JsonObject) -> Piece:
    """What an event of a completion holds. The one place that reads what servers send.

    Raises: BrokenError, which names the event's beginning, for one that cannot be read.
    """
    try:
        return _piece(_choice(event))
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        raise BrokenError(f"the server sent an event that cannot be read ({error}): {str(event)[:200]}") from error


def _piece(choice: JsonObject) -> Piece:
    text, ids = text_of(choice.get("text")), _ids(choice.get("token_ids"))
    token_stats = _token_stats(choice.get("logprobs"))
    num_tokens = len(ids) if ids is not None else len(token_stats) or bool(text)
    return Piece(
        text=text,
        token_ids=ids,
        num_tokens=num_tokens,
        token_stats=token_stats if len(token_stats) == num_tokens else (None,) * num_tokens,
        finish=finish_word(choice.get("finish_reason")),
    )


def text_of(value: Any) -> str:
    """A text, or the parts of one. Raises: TypeError for what is neither."""
    if isinstance(value, list):
        return "".join(map(text_of, value))
    if isinstance(value, dict) and ("text" in value or "type" in value):  # a part of another type has no text
        value = value.get("text")
    return _word(value)


def finish_word(value: Any) -> str:
    """Why a text ended, in the server's word and in small letters; empty while it goes on.

    Raises: TypeError for what is no word.
    """
    if isinstance(value, dict):  # as SGLang itself tells it
        value = value.get("type")
    word = "" if value is False else _word(value).strip().lower().replace(" ", "_").replace("-", "_")
    return "" if word in _GOES_ON else word


def _word(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {value!r:.80}")
    return value


def _ids(value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    for id_ in (ids := tuple(value)):
        if type(id_) is not int or not 0 <= id_ < _END_OF_IDS:
            raise ValueError(f"expected token ids, got {id_!r:.80}")
    return ids


def token_stats_of(chosen: float, top: Sequence[float]) -> TokenStats:
    """The statistics of one token, from its log-probability and those of the likeliest tokens.

    entropy: takes all other tokens for one: a lower bound, exact where there are none.
    """
    known = sorted((value for value in top if math.isfinite(value)), reverse=True)
    told = [math.exp(value) for value in known]
    rest = max(0.0, 1.0 - math.fsum(told))
    entropy = -math.fsum(share * value for share, value in zip(told, known, strict=True))
    entropy -= rest * math.log(rest) if rest > 0 else 0.0
    likeliest = known[:CONFIDENCE_TOP_K]
    return TokenStats(
        logprob=min(0.0, max(_LEAST_LOGPROB, chosen)),
        entropy=max(0.0, entropy),
        confidence=-math.fsum(likeliest) / len(likeliest) if len(likeliest) >= CONFIDENCE_TOP_K else None,
    )


def _token_stats(logprobs: Any) -> tuple[TokenStats | None, ...]:
    """One entry a token; None for a token of which nothing is told."""
    chosen, tops = (logprobs or {}).get("token_logprobs") or (), (logprobs or {}).get("top_logprobs") or ()
    if len(chosen) != len(tops):
        return ()
    return tuple(
        None
        if is_unknown(one) or top is None
        else token_stats_of(one, [each for each in top.values() if each is not None])
        for one, top in zip(chosen, tops, strict=True)
    )


def is_unknown(logprob: float | None) -> bool:
    """Whether a server tells nothing of a token."""
    return logprob is None or math.isnan(logprob)


def _choice(event: JsonObject) -> JsonObject:
    match event.get("choices"):
        case [dict(choice), *_]:
            return choice
        case [] | None:  # such as the event that counts what was used
            return {}
    raise ValueError("expected a list of objects as its choices")
