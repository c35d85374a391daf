"""Chat completions of OpenAI-compatible servers; pure.

In: a chat and how it is sampled. Out: the JSON of a request, and of the events of its stream the kit's own text:
thoughts that the server took apart are put back into `<think>`, calls become ToolCalls.
Source: OpenAI's API reference, chat completions; `reasoning_content` as DeepSeek's API and vLLM to 0.11 name it,
`reasoning` as vLLM later and OpenRouter do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kit.engines.openai.abilities import Abilities
from kit.engines.vllm.client.faults import BrokenError
from kit.engines.vllm.client.wire import Piece, finish_word, is_unknown, text_of, token_stats_of
from kit.json_text import read_json
from kit.models.family import TAGS
from kit.sampling import Message, Prompt, SamplingParams, TokenStats, Tool, ToolCall

JsonObject = Mapping[str, Any]

_THINK, _END_OF_THOUGHT = TAGS.thought
_THOUGHTS = ("reasoning_content", "reasoning")


def chat_request(prompt: Prompt, params: SamplingParams, *, model: str, abilities: Abilities) -> dict[str, Any]:
    """A streamed chat. What is off is not sent, nor what the server was found not to take."""
    request = _sampled(params, model, abilities)
    request["messages"] = [message_json(message) for message in prompt.messages]
    if abilities.num_logprobs:
        request |= {"logprobs": True, "top_logprobs": abilities.num_logprobs}
    if prompt.tools:
        request["tools"] = [_tool(tool) for tool in prompt.tools]
    if abilities.continues and prompt.messages[-1].role == "assistant":
        request |= {"add_generation_prompt": False, "continue_final_message": True}
    return request


def raw_request(prompt: Prompt, params: SamplingParams, *, model: str, abilities: Abilities) -> dict[str, Any]:
    """A streamed completion of a raw text."""
    return {**_sampled(params, model, abilities), "prompt": prompt.text}


def _sampled(params: SamplingParams, model: str, abilities: Abilities) -> dict[str, Any]:
    wanted = {
        "seed": params.seed,
        "top_k": params.top_k or None,
        "min_p": params.min_p or None,
        "presence_penalty": params.presence_penalty or None,
    }
    request: dict[str, Any] = {
        "model": model,
        "stream": True,
        "max_tokens": params.max_new_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
        **{name: value for name, value in wanted.items() if value is not None and abilities.takes(name)},
    }
    if abilities.counts_tokens:
        request["stream_options"] = {"include_usage": True}
    return request


def message_json(message: Message) -> dict[str, Any]:
    """A turn as the API takes it; a call's arguments are a text there."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.call_id:
        turn["tool_call_id"] = message.call_id
    return turn


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = read_json(tool.parameters)
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class ChatReader:
    """Brings the events of one stream into the kit's form. num_earlier: calls in the chat so far, for ids.

    num_tokens: of the answer, as the server counts them at the end; None where it does not.
    """

    num_earlier: int = 0
    num_tokens: int | None = None
    _is_thinking: bool = False
    _calls: dict[int, _Call] = field(default_factory=dict)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls so far, in order; one without a name is none."""
        named = [call for _, call in sorted(self._calls.items()) if call.name]
        return tuple(
            ToolCall(id=call.id or f"call_{self.num_earlier + place}", name=call.name, arguments=call.arguments or "{}")
            for place, call in enumerate(named)
        )

    def piece(self, event: JsonObject) -> Piece:
        """What an event adds.

        Raises: BrokenError, which names the event's beginning, for one that cannot be read.
        """
        try:
            return self._piece(event)
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
            raise BrokenError(f"the server sent an event that cannot be read ({error}): {str(event)[:200]}") from error

    def _piece(self, event: JsonObject) -> Piece:
        usage = event.get("usage")
        if isinstance(usage, Mapping) and isinstance(usage.get("completion_tokens"), int):
            self.num_tokens = usage["completion_tokens"]
        choices = event.get("choices") or [{}]
        choice = choices[0]
        delta = choice.get("delta") or choice.get("message") or {}
        told = delta.get("tool_calls") or ()
        for fragment in (told,) if isinstance(told, Mapping) else told:
            self._add_call(fragment)
        text, finish = self._text(delta) or text_of(choice.get("text")), finish_word(choice.get("finish_reason"))
        if finish and self._is_thinking:
            text += self._turn(thinks=False)
        token_stats = _token_stats(choice.get("logprobs"))
        num_tokens = len(token_stats) or bool(text)
        return Piece(text=text, num_tokens=num_tokens, token_stats=token_stats or (None,) * num_tokens, finish=finish)

    def _text(self, delta: JsonObject) -> str:
        thought = next((each for name in _THOUGHTS if (each := text_of(delta.get(name)))), "")
        said = text_of(delta.get("content"))
        text = self._turn(thinks=True) + thought if thought else ""
        return text + (self._turn(thinks=False) + said if said else "")

    def _turn(self, *, thinks: bool) -> str:
        if thinks == self._is_thinking:
            return ""
        self._is_thinking = thinks
        return _THINK if thinks else f"{_END_OF_THOUGHT}\n"

    def _add_call(self, told: JsonObject) -> None:
        """Add a fragment of a call. Some servers number none, tell the name in each, or arguments as an object."""
        function = told.get("function") or {}
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        index = told.get("index")
        place = self._place(told.get("id"), name) if index is None else int(index)
        call = self._calls.setdefault(place, _Call())
        call.id = told.get("id") or call.id
        call.name += name if name != call.name else ""
        call.arguments += arguments if isinstance(arguments, str) else json.dumps(arguments)

    def _place(self, id_: str | None, name: str) -> int:
        """Where a fragment belongs that has no index: to the last call, or where it begins another, behind it."""
        if not self._calls:
            return 0
        place = max(self._calls)
        last = self._calls[place]
        is_another = id_ not in (None, "", last.id) if last.id else bool(name) and _is_whole(last.arguments)
        return place + is_another


def _is_whole(arguments: str) -> bool:
    try:
        return isinstance(read_json(arguments), dict)
    except ValueError:
        return False


def _token_stats(logprobs: Any) -> tuple[TokenStats | None, ...]:
    """One entry a token; None for a token of which nothing is told."""
    content: Sequence[JsonObject] = (logprobs or {}).get("content") or ()
    return tuple(None if is_unknown(token.get("logprob")) else _stats_of(token) for token in content)


def _stats_of(token: JsonObject) -> TokenStats:
    top = [each.get("logprob") for each in token.get("top_logprobs") or ()]
    return token_stats_of(float(token["logprob"]), [float(each) for each in top if each is not None])
