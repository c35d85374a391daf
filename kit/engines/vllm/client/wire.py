"""Requests and answers as OpenAI-compatible servers write them; pure.

In: what is to be sampled. Out: the JSON of a request, and the pieces that a stream's events hold. Two forms:
- completions, whose prompt is token ids: exact, since the kit has rendered and tokenised it, and a turn is gone on with
  as it stands (kit.engines.text.chat tells what templates do to it otherwise). vLLM gives token ids back
  (`return_token_ids`); SGLang and llama.cpp take ids, and give text;
- chat, for a server whose tokenizer is not at hand: the server renders, and reads thoughts and calls.
Source: vLLM 0.32 entrypoints/openai/{completion,chat_completion}/protocol.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kit.errors import EngineError
from kit.sampling import CONFIDENCE_TOP_K, Message, Prompt, SamplingParams, TokenStats, Tool

JsonObject = Mapping[str, Any]

_LEAST_LOGPROB = -9999.0  # what vLLM writes for minus infinity, which JSON has no word for


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one event of a stream adds.

    token_ids: None where the server does not tell them. num_tokens: as far as is known, else one for a text.
    finish: as the server words it, empty while it goes on. thought: of the model's reasoning, told apart from the text.
    calls: fragments of tool calls, as chat servers stream them.
    """

    text: str = ""
    thought: str = ""
    token_ids: tuple[int, ...] | None = None
    num_tokens: int = 0
    token_stats: tuple[TokenStats, ...] = ()
    finish: str = ""
    calls: tuple[JsonObject, ...] = ()


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
    """A streamed completion. Stop texts stay with us, who keep them in the text and cut at the first."""
    return {
        **_common(params, model=model, max_tokens=max_tokens, seed=seed),
        "prompt": list(prompt_ids),
        "skip_special_tokens": not shows_special,
        "return_token_ids": True,
        # else two tokens that are written alike would be one key
        **({"logprobs": num_logprobs, "return_tokens_as_token_ids": True} if num_logprobs else {}),
    }


def chat_request(
    prompt: Prompt, params: SamplingParams, *, model: str, max_tokens: int, seed: int, num_logprobs: int
) -> JsonObject:
    """A streamed chat turn.

    A turn to go on with is sent with the flags of vLLM and SGLang for it; whether the template then leaves it as it
    is, only the completions form can promise.
    """
    body: dict[str, Any] = {
        **_common(params, model=model, max_tokens=max_tokens, seed=seed),
        "messages": [_message(message) for message in prompt.messages],
    }
    if num_logprobs:
        body |= {"logprobs": True, "top_logprobs": num_logprobs}
    if prompt.tools:
        body["tools"] = [_tool(tool) for tool in prompt.tools]
    if prompt.messages and prompt.messages[-1].role == "assistant":
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


def probe_request(model: str) -> JsonObject:
    """One token, which a healthy server gives at once."""
    return {"model": model, "prompt": "1", "max_tokens": 1, "temperature": 0}


def completion_piece(event: JsonObject) -> Piece:
    """What an event of a completion holds."""
    choice = _choice(event)
    logprobs = choice.get("logprobs") or {}
    chosen, tops = logprobs.get("token_logprobs") or (), logprobs.get("top_logprobs") or ()
    is_whole = len(chosen) == len(tops) and None not in chosen and None not in tops
    told = zip(chosen, tops, strict=True) if is_whole else ()
    token_stats = tuple(token_stats_of(one, tuple(top.values())) for one, top in told)
    return _piece(choice, text=choice.get("text") or "", token_stats=token_stats)


def chat_piece(event: JsonObject) -> Piece:
    """What an event of a chat turn holds."""
    choice = _choice(event)
    delta = choice.get("delta") or {}
    entries = (choice.get("logprobs") or {}).get("content") or ()
    token_stats = tuple(
        token_stats_of(entry["logprob"], [top["logprob"] for top in entry.get("top_logprobs") or ()])
        for entry in entries
    )
    thought = delta.get("reasoning") or delta.get("reasoning_content") or ""
    return _piece(
        choice,
        text=delta.get("content") or "",
        thought=thought,
        token_stats=token_stats,
        calls=tuple(delta.get("tool_calls") or ()),
    )


def token_stats_of(chosen: float, top: Sequence[float]) -> TokenStats:
    """What the log-probabilities of the likeliest tokens, and of the chosen one, tell of a token.

    entropy: of the tokens told, with the rest as if it were one token: a lower bound, exact where the rest is nothing.
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


def _common(params: SamplingParams, *, model: str, max_tokens: int, seed: int) -> dict[str, Any]:
    return {
        "model": model,
        "stream": True,
        "max_tokens": max_tokens,
        "seed": seed,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k if params.top_k else -1,
        "min_p": params.min_p,
    }


def _choice(event: JsonObject) -> JsonObject:
    match event.get("choices"):
        case [dict(choice), *_]:
            return choice
        case [] | None:  # such as the event that counts what was used
            return {}
    raise EngineError(f"the server sent {event.get('choices')!r} as choices, expected a list of objects")


def _piece(
    choice: JsonObject,
    *,
    text: str,
    token_stats: tuple[TokenStats, ...],
    thought: str = "",
    calls: tuple[JsonObject, ...] = (),
) -> Piece:
    ids = choice.get("token_ids")
    num_tokens = len(ids) if ids is not None else len(token_stats) or bool(text or thought or calls)
    return Piece(
        text=text,
        thought=thought,
        token_ids=None if ids is None else tuple(ids),
        num_tokens=num_tokens,
        token_stats=token_stats,
        finish=choice.get("finish_reason") or "",
        calls=calls,
    )


def _message(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        written["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.call_id:
        written["tool_call_id"] = message.call_id
    return written


def _tool(tool: Tool) -> dict[str, Any]:
    try:
        parameters = json.loads(tool.parameters)
    except ValueError as error:
        raise EngineError(f"the parameters of the tool {tool.name!r} must be JSON: {error}") from error
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}
