"""Calls in Hermes' form: what is taken off a text's end, and what is left as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.models.calls.splitting import Said, split_tool_calls
from kit.sampling import ToolCall


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


def test_a_closing_tag_of_a_thought_within_a_call_ends_no_thought() -> None:
    """Regression: such a call was not read."""
    said = split_tool_calls(f"<think>{call_text('a')}</think>{call_text('b')}{call_text(arguments={'c': '</think>'})}")
    assert said.text == f"<think>{call_text('a')}</think>"
    assert [call.name for call in said.tool_calls] == ["b", "python"]


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
