"""A prompt as the model's chat template writes it.

In: a Prompt and a Hugging Face tokenizer. Out: the text that the model continues; nothing is tokenised here.

A turn to continue follows the template's opening of a turn, word for word. transformers' `continue_final_message`
renders it as a finished turn, and templates rewrite these: Qwen3's adds a closed, empty thought, DeepSeek-R1's drops
the thought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from kit.errors import EngineError
from kit.json_text import read_json
from kit.models.thoughts import THINK
from kit.sampling import Message, Prompt, Tool, ToolCall


@dataclass(frozen=True, slots=True)
class Rendered:
    """text: the whole prompt. so_far: the assistant's turn to continue, as it was given, or empty."""

    text: str
    so_far: str

    @property
    def opening(self) -> str:
        """`<think>` if the template opens the thought, else empty; it belongs in front of the new text.

        Without its tag a broken thought would pass for an answer. A turn to continue has its tag already.
        """
        opens = self.text.rstrip().endswith(THINK) and not self.so_far.rstrip().endswith(THINK)
        return THINK if opens else ""


def render(tokenizer: Any, prompt: Prompt) -> Rendered:
    """Write a prompt through the tokenizer's chat template; a raw text stays as it is.

    Raises: EngineError for an impossible chat, one that the template refuses, any without a template, or tools that it
        has no form for.
    """
    if prompt.text:
        return Rendered(prompt.text, so_far="")
    messages, so_far = split_last_turn(prompt.messages)
    text = _apply(tokenizer, messages, prompt.tools)
    if prompt.tools and text == _apply(tokenizer, messages, ()):
        raise EngineError(
            "the model's chat template has no form for tools; leave Prompt.tools empty, "
            "or use a model that was taught to call tools"
        )
    if text.rstrip().endswith(THINK):
        return Rendered(text + so_far.removeprefix(THINK), so_far)
    return Rendered(text + so_far, so_far)


def split_last_turn(messages: Sequence[Message]) -> tuple[Sequence[Message], str]:
    """The finished turns, and the text of the assistant's turn to continue.

    Raises: EngineError for a chat without a turn to answer.
    """
    so_far = ""
    if messages and messages[-1].role == "assistant":
        if messages[-1].tool_calls:
            raise EngineError("the chat ends with tool calls; expected a message of role 'tool' for each of them")
        *messages, last = messages
        so_far = last.content
    if not messages:
        raise EngineError("the chat holds no turn to answer; expected at least one message of the user's")
    return messages, so_far


def _apply(tokenizer: Any, messages: Sequence[Message], tools: Sequence[Tool]) -> str:
    if not tokenizer.chat_template:
        raise EngineError("the tokenizer has no chat template; only a raw text can be completed")
    try:
        text: str = tokenizer.apply_chat_template(
            [_as_dict(message) for message in messages],
            tools=[_schema(tool) for tool in tools] or None,
            add_generation_prompt=True,
            tokenize=False,
        )
    except TemplateError as error:  # such as "system role not supported"
        raise EngineError(f"the model's chat template refuses this chat: {error}") from error
    return text


def _as_dict(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.call_id:
        turn["tool_call_id"] = message.call_id
    return turn


def _call(call: ToolCall) -> dict[str, Any]:
    # parsed, since most templates write them with Jinja's tojson, which would quote a text once more
    arguments = _from_json(call.arguments, f"the arguments of the call of {call.name!r}")
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _schema(tool: Tool) -> dict[str, Any]:
    parameters = _from_json(tool.parameters, f"the parameters of the tool {tool.name!r}")
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _from_json(text: str, what: str) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise EngineError(f"{what} must be JSON, got {text[:200]!r}: {error}") from error
