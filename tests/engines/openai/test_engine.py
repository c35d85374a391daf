"""Chats of a server that somebody else runs: the engine contract, and what servers do besides."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import trio

from kit.engines.openai.choice import OpenAIChoice
from kit.engines.openai.opening import open_remote
from kit.errors import EngineError
from kit.prompting import PYTHON_TOOL
from kit.sampling import FinishReason, Message, Prompt, Sample, SamplingParams
from tests.engines import tiny
from tests.engines.contract import EngineContract, Subject
from tests.engines.openai.chat_server import Served, serving

PROMPT = tiny.chat("what is 1+1?")
WITH_TOOLS = Prompt((Message("user", "What is 6 times 7?"),), tools=(PYTHON_TOOL,))


class TestChats(EngineContract):
    @pytest.fixture
    async def subject(self) -> AsyncIterator[Subject]:
        with serving(Served()) as url:
            async with open_remote(OpenAIChoice(url=url), model=None, num_logprobs=20) as engine:
                yield Subject(engine=engine, prompt=PROMPT, bad_prompt=tiny.chat("x" * 5000), num_slots=4)


def sampled(served: Served, prompt: Prompt = PROMPT, **params: Any) -> Sample:
    async def main() -> Sample:
        with serving(served) as url:
            async with open_remote(OpenAIChoice(url=url), model=None, num_logprobs=20) as engine:
                return await engine.sample(prompt, SamplingParams(**{"max_new_tokens": 8, **params}), timeout_s=60)

    return trio.run(main)


def delta(finish: str | None = None, **parts: Any) -> dict[str, Any]:
    return {"choices": [{"delta": parts, "finish_reason": finish}]}


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_thoughts_that_the_server_took_apart_are_put_back_into_tags(name: str) -> None:
    says = [delta(**{name: "hm"}), delta(**{name: " so"}), delta(content=r"It is \boxed{2}."), delta("stop")]
    sample = sampled(Served(says=says))
    assert sample.text == "<think>hm so</think>\n" + r"It is \boxed{2}."
    assert sample.finish is FinishReason.STOP


def test_a_thought_that_is_cut_off_is_closed_and_cut_by_length() -> None:
    sample = sampled(Served(says=[delta(reasoning="hm"), delta("length")]))
    assert (sample.text.rstrip(), sample.finish) == ("<think>hm</think>", FinishReason.LENGTH)


def called(sample: Sample) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in sample.tool_calls]


def test_calls_come_in_pieces_and_several_in_one_turn() -> None:
    says = [
        delta(content="Let me see."),
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "python", "arguments": '{"co'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": 'de": "6*7"}'}}]),
        delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "python", "arguments": '{"code": "1"}'}}]),
        delta("tool_calls"),
    ]
    sample = sampled(Served(says=says), WITH_TOOLS)
    assert called(sample) == [("python", {"code": "6*7"}), ("python", {"code": "1"})]
    assert [call.id for call in sample.tool_calls] == ["a", "b"]
    assert (sample.text, sample.finish) == ("Let me see.", FinishReason.STOP)


TWICE = [{"name": "python", "arguments": '{"code": "6*7"}'}, {"name": "python", "arguments": '{"code": "1"}'}]


@pytest.mark.parametrize(
    "fragments",
    [
        [{"id": "a", "function": TWICE[0]}, {"id": "b", "function": TWICE[1]}],
        [{"function": each} for each in TWICE],
        [{"index": None, "function": each} for each in TWICE],
        [
            {"id": "a", "function": {"name": "python", "arguments": '{"code": '}},
            {"function": {"arguments": '"6*7"}'}},
            {"id": "b", "function": TWICE[1]},
        ],
        [
            {"index": 0, "id": "a", "function": {"name": "python", "arguments": '{"code": '}},
            {"index": 0, "id": "a", "function": {"name": "python", "arguments": '"6*7"}'}},
            {"index": 1, "function": {"name": "py", "arguments": ""}},
            {"index": 1, "function": {"name": "thon", "arguments": '{"code": "1"}'}},
        ],
        [
            {"index": place, "function": {"name": "python", "arguments": {"code": code}}}
            for place, code in ((0, "6*7"), (1, "1"))
        ],
    ],
    ids=["no index", "neither index nor id", "index null", "no index, in pieces", "the name in each", "objects"],
)
def test_calls_are_read_as_servers_really_tell_them(fragments: list[dict[str, Any]]) -> None:
    """Bugs of an earlier version: a call a fragment, `pythonpython`, and arguments that broke the stream."""
    says = [*(delta(tool_calls=[each]) for each in fragments), delta("tool_calls")]
    assert called(sampled(Served(says=says), WITH_TOOLS)) == [("python", {"code": "6*7"}), ("python", {"code": "1"})]


def test_one_call_that_is_in_no_list_is_read() -> None:
    says = [delta(tool_calls={"index": 0, "function": TWICE[0]}), delta("tool_calls")]
    assert called(sampled(Served(says=says), WITH_TOOLS)) == [("python", {"code": "6*7"})]


def test_content_in_parts_and_words_for_no_end_are_read() -> None:
    """Bugs of an earlier version: parts broke the stream, and a finish "null" ended the thought and the text."""
    parts = [{"type": "text", "text": "It is "}, {"type": "text", "text": r"\boxed{2}."}]
    says = [delta("null", reasoning="hm"), delta("NONE", reasoning=" so"), delta(content=parts), delta("STOP")]
    sample = sampled(Served(says=says))
    assert (sample.text, sample.finish) == ("<think>hm so</think>\n" + r"It is \boxed{2}.", FinishReason.STOP)


def test_what_is_not_told_of_one_token_costs_that_token_alone() -> None:
    told = {"token": "a", "logprob": -1.0, "top_logprobs": [{"logprob": -1.0}, {"logprob": None}]}
    untold = {"token": "b", "logprob": None, "top_logprobs": None}
    says = [
        {"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [told]}}]},
        {"choices": [{"delta": {"content": "b"}, "logprobs": {"content": [untold]}}]},
        {"choices": [{"delta": {"content": "c"}, "logprobs": None}]},
        {"choices": [{"delta": {"content": "d"}, "logprobs": {"content": [told]}}]},
        delta("stop"),
    ]
    sample = sampled(Served(says=says))
    assert (sample.text, len(sample.token_stats), sample.mean_logprob) == ("abcd", 2, -1.0)


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "python", "arguments": {"code": "6*7"}}\n</tool_call>',
        "<tool_call>\n<function=python>\n<parameter=code>\n6*7\n</parameter>\n</function>\n</tool_call>",
        "<tool_call>python\n<arg_key>code</arg_key>\n<arg_value>6*7</arg_value>\n</tool_call>",
    ],
)
def test_a_call_that_the_server_left_in_the_text_is_read_by_the_kit(text: str) -> None:
    says = [*(delta(content=text[place : place + 7]) for place in range(0, len(text), 7)), delta("stop")]
    assert called(sampled(Served(says=says), WITH_TOOLS, max_new_tokens=64)) == [("python", {"code": "6*7"})]


def test_calls_and_their_answers_go_back_in_the_apis_own_form() -> None:
    served = Served()
    first = sampled(
        Served(
            says=[
                delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "python", "arguments": "{}"}}]),
                delta("tool_calls"),
            ]
        ),
        WITH_TOOLS,
    )
    turn = Message("assistant", "", tool_calls=first.tool_calls)
    chat = Prompt((*WITH_TOOLS.messages, turn, Message("tool", "42", call_id="a")), tools=WITH_TOOLS.tools)
    sampled(served, chat)
    _, asked, answered = served.asked[-1]["messages"]
    assert asked["tool_calls"] == [{"id": "a", "type": "function", "function": {"name": "python", "arguments": "{}"}}]
    assert answered == {"role": "tool", "content": "42", "tool_call_id": "a"}
    assert served.asked[-1]["tools"][0]["function"]["parameters"]["required"] == ["code"]


@pytest.mark.parametrize("refused", [("top_k",), ("seed", "min_p"), ("logprobs", "top_logprobs"), ("stream_options",)])
def test_what_a_server_does_not_take_is_said_once_and_done_without(
    refused: Sequence[str], caplog: pytest.LogCaptureFixture
) -> None:
    served = Served(refuses=frozenset(refused), tells_logprobs="logprobs" not in refused)
    sample = sampled(served, top_k=20, min_p=0.1, presence_penalty=1.5)
    assert (sample.num_tokens, sample.finish) == (8, FinishReason.LENGTH)
    asked = served.asked[-1]
    assert not asked.keys() & set(refused)
    assert {"temperature", "top_p", "presence_penalty"} <= asked.keys()
    told = [record.message for record in caplog.records if "done without" in record.message]
    assert len(told) == 1
    assert all(name in told[0] for name in refused if name not in {"top_logprobs", "stream_options"})
    assert bool(sample.token_stats) == ("logprobs" not in refused)


def test_a_server_that_ignores_the_temperature_is_found_out(caplog: pytest.LogCaptureFixture) -> None:
    """`transformers serve` 5.19 did so, of a model whose generation_config says nothing of sampling."""
    sampled(Served())
    assert "all texts are the same" not in caplog.text
    sampled(Served(is_greedy=True))
    assert "all texts are the same" in caplog.text


def test_a_wish_that_is_taken_and_not_fulfilled_counts_as_lacking() -> None:
    served = Served(tells_logprobs=False)
    assert sampled(served).token_stats == ()
    assert "logprobs" not in served.asked[-1]


def test_a_stream_that_breaks_before_its_first_token_is_asked_for_again_and_later_keeps_what_there_is() -> None:
    assert sampled(Served(breaks=[0, 0])).num_tokens == 8
    cut = sampled(Served(breaks=[3]))
    assert (cut.num_tokens, cut.finish) == (3, FinishReason.FAILED)
    assert "broke off" in cut.error
    with pytest.raises(EngineError, match="broke 4 times"):
        sampled(Served(breaks=[0] * 9))


def test_a_length_that_the_context_has_no_room_for_is_left_to_the_server() -> None:
    """vLLM refuses a chat whose max_tokens and prompt together are more than its context."""
    served = Served(most_tokens=20)
    sample = sampled(served, max_new_tokens=500)
    assert (sample.num_tokens, sample.finish) == (20, FinishReason.LENGTH)
    assert "max_tokens" not in served.asked[-1]
    with pytest.raises(EngineError, match="the context is"):
        sampled(Served(), tiny.chat("x" * 5000))


def test_an_assistants_turn_is_gone_on_with_where_the_server_can() -> None:
    turn = Prompt((*PROMPT.messages, Message("assistant", "It is")))
    for owner, continues in (("vllm", True), ("somebody", False)):
        served = Served(owned_by=owner)
        sampled(served, turn)
        assert served.asked[-1].get("continue_final_message", False) is continues


@pytest.mark.parametrize("event", [{"choices": 7}, {"choices": [{"delta": {"content": 7}}]}, {"choices": [7]}])
def test_an_event_that_cannot_be_read_is_a_break_that_names_it(event: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        sampled(Served(says=[event]))
