"""Harmony's turns: into the kit's form and back, piece by piece, and which templates and models they are of."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.models.facts import ModelFacts
from kit.models.gpt_oss import GPT_OSS, HARMONY, HarmonyReader, ends_in_final, is_harmony, prepared, turn_so_far
from kit.sampling import Message, ToolCall

CHATML = "<|im_start|>assistant"

ANALYSIS = "<|channel|>analysis<|message|>1+1 is 2.<|end|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>It is 2."
CALL = '<|start|>assistant<|channel|>commentary to=functions.python <|constrain|>json<|message|>{"code": "1+1"}'
WRITTEN = '\n<tool_call>\n{"name": "python", "arguments": {"code": "1+1"}}\n</tool_call>'


def read_all(text: str, *, so_far: str = "", piece: int = 0) -> str:
    """Token by token if `piece` is 0: special tokens come whole."""
    reader = HarmonyReader(so_far=so_far)
    parts = [part for part in re.split(r"(<\|\w+\|>|[\s\S])", text) if part]
    said = "".join(reader.add(part) for part in parts)
    return said + reader.add("", is_last=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ANALYSIS + FINAL, "<think>1+1 is 2.</think>It is 2."),
        ("<|channel|>final<|message|>2", "2"),
        ("<|channel|>analysis<|message|>cut sho", "<think>cut sho"),
        (ANALYSIS + CALL, "<think>1+1 is 2.</think>" + WRITTEN),
        (
            ANALYSIS + ANALYSIS.replace("<|channel|>", "<|start|>assistant<|channel|>") + FINAL,
            "<think>1+1 is 2.1+1 is 2.</think>It is 2.",
        ),
        ("<|channel|>commentary<|message|>I will look.<|end|>" + CALL, "I will look." + WRITTEN),
        (
            "<|channel|>analysis to=python code<|message|>print(2)",
            '\n<tool_call>\n{"name": "python", "arguments": {"code": "print(2)"}}\n</tool_call>',
        ),
        (
            '<|channel|>commentary to=functions.python <|constrain|>json<|message|>{"code": ',
            '\n<tool_call>\n{"code":\n</tool_call>',
        ),
        ("", ""),
    ],
)
def test_harmony_is_read_into_thoughts_text_and_calls(text: str, said: str) -> None:
    assert read_all(text) == said
    assert HarmonyReader().add(text, is_last=True) == said


@given(cut=st.integers(0, 40))
def test_a_harmony_turn_gone_on_with_ends_as_the_whole_one(cut: int) -> None:
    """Where it is cut, in the kit's form, what was said and what is said next together are the whole."""
    whole = "<think>1+1 is 2.</think>It is 2."
    so_far = whole[:cut] if cut >= len("<think>") and not 16 < cut < 24 else ""
    written = turn_so_far(so_far)
    full = ANALYSIS + FINAL
    assert full.startswith(written)
    assert so_far + read_all(full[len(written) :], so_far=so_far) == whole


def test_finished_harmony_turns_lose_their_tags_and_keep_their_work() -> None:
    call = ToolCall(id="c", name="python", arguments="{}")
    ask = Message("user", "?")
    chat = (
        ask,
        Message("assistant", "<think>plan</think>", (call,)),
        Message("tool", "4", call_id="c"),
        Message("assistant", "<think>broken off</think>"),
        ask,
        Message("assistant", "<think>x</think>It is 4."),
        ask,
        Message("assistant", "<think>so far"),
    )
    contents = [message.content for message in prepared(chat)]
    assert contents == ["?", "plan", "4", "broken off", "?", "It is 4.", "?", "<think>so far"]


def test_harmony_is_told_by_the_template() -> None:
    assert is_harmony("<|start|>assistant<|channel|>final<|message|>")
    assert not is_harmony(CHATML)


def test_the_markers_are_those_of_a_turn() -> None:
    assert ANALYSIS.startswith(HARMONY.thought[0])
    assert ANALYSIS.endswith(HARMONY.thought[1])
    assert HARMONY.call[0] in CALL


@pytest.mark.parametrize(
    ("text", "is_final"),
    [
        (ANALYSIS, False),
        (ANALYSIS + FINAL, True),
        (ANALYSIS + FINAL + "<|return|>", True),
        ("analysisWe need 2assistantfinal2", True),
        ("analysisWe need 2", False),
        ("analysis of the problem", None),
        ("It is 2.", None),
    ],
)
def test_whether_the_final_channel_has_begun_is_told_with_and_without_special_tokens(
    text: str, is_final: bool | None
) -> None:
    assert ends_in_final(text) is is_final


def test_a_model_is_told_by_its_type_or_by_its_template() -> None:
    assert GPT_OSS.recognises(ModelFacts(config={"model_type": "gpt_oss"}))
    assert GPT_OSS.recognises(ModelFacts(chat_template=ANALYSIS + FINAL))
    assert not GPT_OSS.recognises(ModelFacts(config={"model_type": "qwen2"}, chat_template=CHATML))
