"""Prompts through chat templates in the manner of Qwen3's, and the calls that come back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.engines.text.chat import Rendered, render
from kit.errors import EngineError
from kit.models.hermes import Said, split_tool_calls
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
        ((ASK,), (Tool(name="run", description="", parameters="no"),), "parameters of the tool 'run' must be JSON"),
    ],
)
def test_what_is_no_chat_is_refused(messages: tuple[Message, ...], tools: tuple[Tool, ...], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        rendered(*messages, tools=tools)


def test_tools_are_refused_where_the_template_would_drop_them() -> None:
    with pytest.raises(EngineError, match="no form for tools"):
        rendered(ASK, tools=(TOOL,), template=tiny.CHATML)


def call_text(name: str = "python", arguments: Any = None) -> str:
    written = json.dumps({"name": name, "arguments": {} if arguments is None else arguments}, ensure_ascii=False)
    return f"<tool_call>\n{written}\n</tool_call>"


def test_calls_are_taken_off_the_end_in_order() -> None:
    text = f"First.\n{call_text(arguments={'code': 'é'})}\n{call_text('search', {'k': [1]})}"
    calls = (
        ToolCall(id="call_3", name="python", arguments='{"code": "é"}'),
        ToolCall(id="call_4", name="search", arguments='{"k": [1]}'),
    )
    assert split_tool_calls(text, num_earlier=3) == Said("First.", calls)


def test_what_a_model_makes_up_after_its_call_is_dropped() -> None:
    said = split_tool_calls(f"{call_text('a')}\n<tool_response>7</tool_response>{call_text('b')}")
    assert (said.text, [call.name for call in said.tool_calls]) == ("", ["a"])


def test_a_closing_tag_within_a_string_does_not_end_the_call() -> None:
    (call,) = split_tool_calls(call_text(arguments={"code": "'</tool_call>'"})).tool_calls
    assert json.loads(call.arguments) == {"code": "'</tool_call>'"}


def test_a_thought_may_speak_of_calls() -> None:
    thought = f"<think>I could {call_text('a')} here</think>"
    assert split_tool_calls(thought + "4") == Said(thought + "4")
    said = split_tool_calls(f"{thought}\n\n{call_text('b')}")
    assert (said.text, [call.name for call in said.tool_calls]) == (thought + "\n", ["b"])


@pytest.mark.parametrize(
    "text",
    [
        "no call",
        "<tool_call>",
        "<tool_call>\n{",
        '<tool_call>{"name": "a", "arguments": {}}',
        '<tool_call>{"name": "a", "arguments": {}} and</tool_call>',
        '<tool_call>{"name": "a", "arguments": "{}"}</tool_call>',
        '<tool_call>{"name": 1, "arguments": {}}</tool_call>',
        '<tool_call>{"arguments": {}}</tool_call>',
        "<tool_call>[]</tool_call>",
        f"<tool_call>{'[' * 100_000}</tool_call>",
        f'<tool_call>{{"name": "a", "arguments": {{"n": {"9" * 10_000}}}}}</tool_call>',
        call_text() + "<tool_call>{</tool_call>",
    ],
    ids=range(12),
)
def test_a_malformed_call_leaves_the_text_as_it_is(text: str) -> None:
    assert split_tool_calls(text) == Said(text)


PARTS = ("<tool_call>", "</tool_call>", "</think>", '{"name": "a", ', '"arguments": {}}', "}", "\n", "a")


@given(text=st.lists(st.sampled_from(PARTS), max_size=20).map("".join))
def test_any_text_is_split_into_a_beginning_of_it_and_calls(text: str) -> None:
    said = split_tool_calls(text)
    assert text.startswith(said.text)
    assert said.tool_calls or said.text == text


@given(
    arguments=st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.booleans())),
    before=st.text(st.characters(exclude_characters="<")),
)
def test_a_call_written_by_a_template_is_read_back(arguments: dict[str, Any], before: str) -> None:
    said = split_tool_calls(f"{before}\n{call_text(arguments=arguments)}")
    (call,) = said.tool_calls
    assert (said.text, json.loads(call.arguments)) == (before, arguments)
