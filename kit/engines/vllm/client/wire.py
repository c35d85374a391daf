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

from kit.errors import EngineError
from kit.sampling import CONFIDENCE_TOP_K, SamplingParams, TokenStats

JsonObject = Mapping[str, Any]

_LEAST_LOGPROB = -9999.0  # what vLLM writes for minus infinity, which JSON cannot say


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one event of a stream adds.

    token_ids: None where the server does not tell them. num_tokens: 1 for a text whose number is not known.
    finish: in the server's word; empty while it goes on.
    """

    text: str = ""
    token_ids: tuple[int, ...] | None = None
    num_tokens: int = 0
    token_stats: tuple[TokenStats, ...] = ()
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
) -> JsonObject:
    """A streamed completion. The kit looks for stop texts itself, since they stay in the text."""
    return {
        "model": model,
        "stream": True,
        "prompt": list(prompt_ids),
        "max_tokens": max_tokens,
        "seed": seed,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k if params.top_k else -1,
        "min_p": params.min_p,
        "skip_special_tokens": not shows_special,
        "return_token_ids": True,
        # else two tokens with the same text would be one key
        **({"logprobs": num_logprobs, "return_tokens_as_token_ids": True} if num_logprobs else {}),
    }


def probe_request(model: str) -> JsonObject:
    """One token, which a healthy server gives at once."""
    return {"model": model, "prompt": "1", "max_tokens": 1, "temperature": 0}


def completion_piece(event: JsonObject) -> Piece:
    """What an event of a completion holds."""
    choice = _choice(event)
    text, ids, token_stats = choice.get("text") or "", choice.get("token_ids"), _token_stats(choice)
    return Piece(
        text=text,
        token_ids=None if ids is None else tuple(ids),
        num_tokens=len(ids) if ids is not None else len(token_stats) or bool(text),
        token_stats=token_stats,
        finish=choice.get("finish_reason") or "",
    )


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


def _token_stats(choice: JsonObject) -> tuple[TokenStats, ...]:
    logprobs = choice.get("logprobs") or {}
    chosen, tops = logprobs.get("token_logprobs") or (), logprobs.get("top_logprobs") or ()
    is_whole = len(chosen) == len(tops) and None not in chosen and None not in tops
    told = zip(chosen, tops, strict=True) if is_whole else ()
    return tuple(token_stats_of(one, tuple(top.values())) for one, top in told)


def _choice(event: JsonObject) -> JsonObject:
    match event.get("choices"):
        case [dict(choice), *_]:
            return choice
        case [] | None:  # such as the event that counts what was used
            return {}
    raise EngineError(f"the server sent {event.get('choices')!r} as choices, expected a list of objects")
