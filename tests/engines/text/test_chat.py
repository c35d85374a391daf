"""Prompts through chat templates in the manner of Qwen3's."""

from __future__ import annotations

import json

import pytest

from kit.engines.text.chat import Rendered, render
from kit.errors import EngineError, InputError
from kit.sampling import Message, Prompt, Tool, ToolCall
from tests.engines import tiny

# What matters of Qwen3's: tools first, an assistant's last turn gets a closed thought, calls are written as JSON.
TEMPLATE = """\
{%- if tools %}{% for tool in tools %}[{{ tool | tojson }}]{% endfor %}{% endif %}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '(assistant)' }}
        {%- if loop.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{% endif %}
        {{- message.content }}
        {%- for call in message.tool_calls %}
            {{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- call.function.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '(end)' }}
    {%- else %}
        {{- '(' + message.role + ')' + message.content + '(end)' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '(assistant)' }}{% if opens %}{{- '<think>\\n' }}{% endif %}{%- endif %}"""
THINKING = "{% set opens = true %}" + TEMPLATE

ASK = Message("user", "2+2?")
CALL = ToolCall(id="call_0", name="python", arguments='{"code": "2+2"}')
TOOL = Tool(name="python", description="Runs code.", parameters='{"type": "object"}')


def rendered(*messages: Message, tools: tuple[Tool, ...] = (), template: str = TEMPLATE) -> Rendered:
    return render(tiny.tokenizer(chat_template=template), Prompt(messages, tools))


def test_a_turn_is_opened_after_the_users() -> None:
    assert rendered(ASK) == Rendered("(user)2+2?(end)(assistant)", "")


def test_a_raw_text_stays_as_it_is() -> None:
    assert render(tiny.tokenizer(chat_template=TEMPLATE), Prompt.raw(" 2+2=")) == Rendered(" 2+2=", "")


def test_a_prompt_is_a_chat_or_a_raw_text_not_both() -> None:
    with pytest.raises(InputError, match="raw text or a chat, not both"):
        Prompt((ASK,), text="2+2=")


def test_calls_and_their_answers_go_through_the_templates_form() -> None:
    prompt = (ASK, Message("assistant", "Let us see.", (CALL,)), Message("tool", "4", call_id="call_0"))
    written = '\n<tool_call>\n{"name": "python", "arguments": {"code": "2+2"}}\n</tool_call>'
    expected = f"(user)2+2?(end)(assistant)Let us see.{written}(end)(tool)4(end)(assistant)"
    assert rendered(*prompt).text == expected


def test_a_template_is_told_which_call_an_answer_is_for() -> None:
    template = "{% for message in messages %}{{ message.tool_call_id }}{% endfor %}"
    assert rendered(ASK, Message("tool", "4", call_id="call_7"), template=template).text == "call_7"


def test_tools_are_offered_as_the_schema_that_templates_expect() -> None:
    text = rendered(ASK, tools=(TOOL,)).text
    schema = json.loads(text[1 : text.index("](user)")])
    function = {"name": "python", "description": "Runs code.", "parameters": {"type": "object"}}
    assert schema == {"type": "function", "function": function}


def test_a_turn_gone_on_with_follows_the_opening_word_for_word() -> None:
    """Regression: rendered as a last turn, it would get a closed thought in front of it."""
    so_far = " So 2+2\n"
    assert rendered(ASK, Message("assistant", so_far)) == Rendered(f"(user)2+2?(end)(assistant){so_far}", so_far)


@pytest.mark.parametrize(
    ("so_far", "end", "opening"),
    [
        ("<think>2 and", "<think>\n2 and", ""),
        ("<think>2 and 2</think>4", "<think>\n2 and 2</think>4", ""),
        ("<think>", "<think>\n", ""),
        ("", "<think>\n", "<think>"),
        ("</think>4", "<think>\n</think>4", ""),
    ],
)
def test_a_thought_that_the_template_opens_is_opened_once(so_far: str, end: str, opening: str) -> None:
    turn = rendered(ASK, Message("assistant", so_far), template=THINKING)
    assert (turn.text, turn.opening) == ("(user)2+2?(end)(assistant)" + end, opening)


def test_a_thought_opened_in_the_prompt_belongs_in_front_of_the_text() -> None:
    assert rendered(ASK, template=THINKING).opening == "<think>"
    assert rendered(ASK).opening == ""


@pytest.mark.parametrize(
    ("messages", "tools", "message"),
    [
        ((), (), "holds no turn to answer"),
        ((Message("assistant", "4"),), (), "holds no turn to answer"),
        ((ASK, Message("assistant", "", (CALL,))), (), "ends with tool calls"),
        (
            (ASK, Message("assistant", "", (ToolCall(id="1", name="run", arguments="{"),)), ASK),
            (),
            "arguments of the call of 'run' must be JSON",
        ),
        (
            (ASK, Message("assistant", "", (ToolCall(id="1", name="run", arguments='{"a":' * 100_000),)), ASK),
            (),
            "arguments of the call of 'run' must be JSON, .*nested deeper",
        ),
        ((ASK,), (Tool(name="run", description="", parameters="no"),), "parameters of the tool 'run' must be JSON"),
    ],
)
def test_what_is_no_chat_is_refused(messages: tuple[Message, ...], tools: tuple[Tool, ...], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        rendered(*messages, tools=tools)


def test_tools_are_refused_where_the_template_would_drop_them() -> None:
    with pytest.raises(EngineError, match="no form for tools"):
        rendered(ASK, tools=(TOOL,), template=tiny.CHATML)
