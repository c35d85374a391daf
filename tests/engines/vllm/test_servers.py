"""What servers really send, each as one emulation on loopback: what of it ends a text, and what loses none of it."""

from __future__ import annotations

import json
import math
import socketserver
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.engines.vllm.client.endpoint import Address, FixedEndpoint
from kit.engines.vllm.client.engine import ClientConfig, open_openai
from kit.engines.vllm.client.faults import BrokenError
from kit.engines.vllm.client.http import Reply
from kit.engines.vllm.client.wire import completion_piece
from kit.errors import EngineError
from kit.sampling import Chunk, FinishReason, Sample, SamplingParams
from tests.engines import tiny
from tests.serving import in_a_thread

EOS = tiny.EOS_ID
STREAM = "text/event-stream"


def ids(text: str) -> list[int]:
    return [tiny.CHARACTERS.index(character) for character in text]


def event(text: str = "", *, end: Any = None, tokens: Any = None, **more: Any) -> bytes:
    """A piece of a completion with its token ids, which are those of its text where none are given."""
    choice = {"index": 0, "text": text, "finish_reason": end, "token_ids": ids(text) if tokens is None else tokens}
    return b"data: " + json.dumps({"choices": [choice | more]}).encode() + b"\n\n"


def words(text: str = "", *, end: Any = None, **more: Any) -> bytes:
    """The same of a server that tells no ids."""
    choice = {"index": 0, "text": text, "finish_reason": end}
    return b"data: " + json.dumps({"choices": [choice | more]}).encode() + b"\n\n"


def told(num_tokens: int, top: Any = None) -> dict[str, Any]:
    tops = {str(place): -1.0 - place for place in range(20)} if top is None else top
    return {"logprobs": {"token_logprobs": [-1.0] * num_tokens, "top_logprobs": [tops] * num_tokens}}


DONE = b"data: [DONE]\n\n"
WHOLE = event("4") + event(end="stop", tokens=[EOS]) + DONE


def reply(body: bytes, *, status: str = "200 OK", kind: str = STREAM, more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}"
    return f"{head}connection: close\r\n\r\n".encode() + body


class Emulation(socketserver.ThreadingTCPServer):
    """Answers request number i with the i-th reply, and further ones with the last."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, replies: Sequence[bytes]) -> None:
        self.replies = replies
        self.requests: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), Answering)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(socketserver.StreamRequestHandler):
    server: Emulation

    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        place = len(self.server.requests)
        self.server.requests.append(json.loads(self.rfile.read(length)))
        self.wfile.write(self.server.replies[min(place, len(self.server.replies) - 1)])


@contextmanager
def emulation(*replies: bytes) -> Iterator[Emulation]:
    server = Emulation(replies)
    with in_a_thread(server):
        yield server


def sampled(
    server: Emulation,
    *,
    tells_ids: bool = True,
    is_followed: bool = True,
    max_new_tokens: int = 50,
    timeout_s: float = 60,
    **config: Any,
) -> tuple[Sample, list[Chunk]]:
    chunks: list[Chunk] = []

    async def main() -> Sample:
        endpoint = FixedEndpoint(Address(url=server.url, model="m", context_tokens=4096))
        chosen = ClientConfig(tells_ids=tells_ids, poll_s=None, replay_pause_s=0, **config)
        async with open_openai(endpoint, tokenizer=tiny.tokenizer(), config=chosen) as engine:
            params = SamplingParams(max_new_tokens=max_new_tokens)
            follow = (lambda chunk: bool(chunks.append(chunk))) if is_followed else None
            return await engine.sample(tiny.chat("2+2"), params, timeout_s=timeout_s, on_chunk=follow)

    sample = trio.run(main)
    assert not is_followed or "".join(chunk.text for chunk in chunks) == sample.text
    return sample, chunks


@pytest.mark.parametrize(
    "stream",
    [
        b"data:\n\n" + WHOLE,
        b"data: \n\n: ping\n\n" + WHOLE,
        event("4") + event(end="stop", tokens=[EOS]) + b"data: [DONE] \n\n",
        event("4", error=None) + b'data: {"error": null, "choices": []}\n\n' + event(end="stop", tokens=[EOS]) + DONE,
        event([{"type": "text", "text": "4"}], tokens=ids("4")) + event(end="stop", tokens=[EOS]) + DONE,
        event("4") + event(tokens=[EOS]) + DONE,
        event(None, tokens=ids("4")) + event(end="eos", tokens=[EOS]) + DONE,
        *[f"data: {said}\n\n".encode() + WHOLE for said in ("null", "[]", "{}", "ping", "keep-alive", "Heartbeat")],
        event({"type": "text", "text": "4"}, tokens=ids("4")) + event(end="stop", tokens=[EOS]) + DONE,
        event("4", end=False) + event(end={"type": "stop", "matched": EOS}, tokens=[EOS]) + DONE,
    ],
    ids=[
        *("empty data", "space and ping", "done with a space", "error null", "parts", "finish null", "text null"),
        *("null", "empty list", "empty object", "ping", "keep-alive", "heartbeat", "one part", "a finish of SGLang's"),
    ],
)
def test_a_text_that_is_whole_is_read_as_such(stream: bytes) -> None:
    with emulation(reply(stream)) as server:
        sample, _ = sampled(server)
    assert (sample.text, sample.finish, sample.num_tokens) == ("4", FinishReason.STOP, 2)
    assert len(server.requests) == 1


def test_done_with_a_space_and_no_finish_is_still_a_break() -> None:
    with emulation(reply(event("4") + b"data: [DONE] \n\n"), reply(event("2") + event(end="length"))) as server:
        sample, _ = sampled(server)
    assert (sample.text, sample.finish) == ("42", FinishReason.LENGTH)
    assert server.requests[1]["prompt"] == server.requests[0]["prompt"] + ids("4")


@pytest.mark.parametrize("end", ["repetition", "content_filter", "a word of tomorrow"])
def test_a_text_that_the_server_ended_for_its_own_reasons_is_kept(end: str) -> None:
    with emulation(reply(event("4") + event("2", end=end) + DONE)) as server:
        sample, _ = sampled(server)
    assert (sample.text, sample.finish, len(server.requests)) == ("42", FinishReason.LENGTH, 1)


@pytest.mark.parametrize("end", ["NULL", "none", "in_progress", "", "NaN", "RUNNING", "not finished", "pending", False])
def test_a_word_for_no_end_is_no_end(end: Any) -> None:
    with emulation(reply(event("4", end=end) + event("2", end=end) + event(end="stop", tokens=[EOS]) + DONE)) as server:
        sample, _ = sampled(server)
    assert (sample.text, sample.finish, len(server.requests)) == ("42", FinishReason.STOP, 1)


@pytest.mark.parametrize(
    "stream",
    [
        event("4") + event("2") + event(end="stop", tokens=[]),
        event("4") + event("2", end="stop"),
        event("42", end="stop"),
        event("4") + event("2") + words(end="stop"),
        event("42", end="stop", tokens=[*ids("42"), EOS]),
        event("42<|im_end|>", end="stop", tokens=[*ids("42"), EOS]),
        event("4") + event("2") + event(end="stop", tokens=[EOS]),
        event("", tokens=ids("4")) + event("", end="stop", tokens=[*ids("2"), EOS]),
    ],
)
@pytest.mark.parametrize("is_followed", [True, False], ids=["followed", "not followed"])
def test_a_token_that_is_text_is_not_taken_for_the_end_token(stream: bytes, is_followed: bool) -> None:
    """Bug of an earlier version: without an end token the last token of the text was lost."""
    with emulation(reply(stream + DONE)) as server:
        sample, _ = sampled(server, is_followed=is_followed)
    assert (sample.text, sample.finish, len(server.requests)) == ("42", FinishReason.STOP, 1)


@pytest.mark.parametrize(
    "end",
    [
        *"abort error aborted Canceled cancelled engine_error preempted shutdown timeout internal_error failed".split(),
        *"killed evicted out_of_memory insufficient_system_resource DEADLINE_EXCEEDED unavailable rejected".split(),
        {"type": "abort", "message": "the scheduler gave it up"},
    ],
    ids=str,
)
def test_a_text_that_the_server_lost_goes_on_after_its_tokens(end: Any) -> None:
    with emulation(reply(event("4") + event("2", end=end) + DONE), reply(event("3", end="length"))) as server:
        sample, _ = sampled(server)
    assert (sample.text, sample.num_tokens, sample.finish) == ("423", 3, FinishReason.LENGTH)
    assert server.requests[1]["prompt"] == server.requests[0]["prompt"] + ids("42")


def test_a_text_that_is_lost_at_its_last_token_is_whole() -> None:
    with emulation(reply(event("42", end="abort"))) as server:
        sample, _ = sampled(server, max_new_tokens=2)
    assert (sample.text, sample.finish, len(server.requests)) == ("42", FinishReason.LENGTH, 1)


@pytest.mark.parametrize("kind", [STREAM, "application/json"])
@pytest.mark.parametrize(
    "body", [{"error": {"message": "no such model: m"}}, {"error": {"message": "no such model: m", "code": "404"}}]
)
def test_an_error_in_a_reply_that_says_ok_is_told_and_not_asked_for_again(kind: str, body: Any) -> None:
    with emulation(reply(json.dumps(body).encode(), kind=kind)) as server:
        with pytest.raises(EngineError, match="no such model: m"):
            sampled(server)
        assert len(server.requests) == 1


@pytest.mark.parametrize("kind", [STREAM, "application/json"])
@pytest.mark.parametrize("code", [503, 429, "500", 529])
def test_an_error_in_a_reply_that_says_ok_is_waited_for_where_its_own_status_says_later(kind: str, code: Any) -> None:
    """Bug of an earlier version: it was refused for good."""
    error = json.dumps({"error": {"message": "Loading model", "code": code}}).encode()
    with emulation(reply(error, kind=kind), reply(WHOLE)) as server:
        assert sampled(server)[0].text == "4"
        assert len(server.requests) == 2


def test_a_server_that_does_not_stream_is_read_all_the_same() -> None:
    choice = {"text": "4", "token_ids": [*ids("4"), EOS], "finish_reason": "stop"}
    with emulation(reply(json.dumps({"choices": [choice]}, indent=1).encode(), kind="application/json")) as server:
        assert sampled(server)[0].text == "4"


@pytest.mark.parametrize(
    ("status", "more"),
    [("503 Service Unavailable", ""), ("429 Too Many Requests", "retry-after: 0.01\r\n"), ("529 Overloaded", "")],
)
def test_a_server_that_says_later_is_waited_for(status: str, more: str) -> None:
    """Bug of an earlier version: it was given up after four answers within 1.8 s."""
    later = reply(b'{"error": {"message": "loading"}}', status=status, kind="application/json", more=more)
    replies = [later] * (6 if more else 2) + [reply(WHOLE)]
    with emulation(*replies) as server:
        assert sampled(server, max_replays=1)[0].text == "4"


def test_a_server_that_always_says_later_is_given_up_with_its_words() -> None:
    later = reply(b"the model is loading", status="503 Busy", kind="text/plain", more="retry-after: 0.05\r\n")
    with emulation(later) as server, pytest.raises(EngineError, match="the model is loading"):
        sampled(server, busy_s=0.2)


@pytest.mark.parametrize("code", [429, 500, 503, 529])
def test_a_server_without_ids_that_says_later_within_a_text_costs_no_more_than_its_rest(code: int) -> None:
    """Bug of an earlier version: such a text cannot go on, and an assertion ended the attempt."""
    later = f'data: {{"error": {{"message": "later", "code": {code}}}}}\n\n'.encode()
    with emulation(reply(words("4") + later), reply(WHOLE)) as server:
        sample, _ = sampled(server, tells_ids=False)
    assert (sample.text, sample.finish, len(server.requests)) == ("4", FinishReason.FAILED, 1)
    assert "later" in sample.error


@pytest.mark.parametrize("code", [429, 500, 503])
@pytest.mark.parametrize("tells_ids", [True, False])
def test_what_a_server_says_after_the_end_of_a_text_spoils_nothing(code: int, tells_ids: bool) -> None:
    """Bug of an earlier version: after "later" the text was lost, or gone on with behind its end token."""
    later = f'data: {{"error": {{"message": "later", "code": {code}}}}}\n\n'.encode()
    whole = event("4") + event(tokens=[EOS]) if tells_ids else words("4") + words("<eos>")
    with emulation(reply(whole + later), reply(WHOLE)) as server:
        # without ids an end token is known for what it is at the end alone
        sample, _ = sampled(server, tells_ids=tells_ids, is_followed=tells_ids)
        assert (sample.text, sample.finish, len(server.requests)) == ("4", FinishReason.STOP, 1)
    with emulation(reply((event if tells_ids else words)("4") + later), reply(WHOLE)) as server:
        sample, _ = sampled(server, tells_ids=tells_ids, max_new_tokens=1)
        assert (sample.text, sample.finish, len(server.requests)) == ("4", FinishReason.LENGTH, 1)


@pytest.mark.parametrize("tells_ids", [True, False])
@pytest.mark.parametrize("status", ["100 Continue", "101 Switching", "103 Hints", "199 Odd", "000 None", "99 Short"])
def test_an_answer_that_is_none_yet_is_a_break(status: str, tells_ids: bool) -> None:
    with emulation(reply(WHOLE, status=status)) as server, pytest.raises(EngineError):
        sampled(server, tells_ids=tells_ids)


def test_what_is_not_told_of_one_token_costs_that_token_alone() -> None:
    """Bug of an earlier version: the statistics of all later tokens, and of the text, were lost."""
    with_null = {"a": -0.5, "b": None}
    stream = event("1", **told(1)) + event("2") + event("3", **told(1, with_null)) + event("4", end="length", **told(1))
    with emulation(reply(stream)) as server:
        sample, chunks = sampled(server)
    assert (sample.text, len(sample.token_stats), sample.mean_logprob) == ("1234", 3, -1.0)
    assert [len(chunk.token_stats) for chunk in chunks] == [1, 0, 1, 1]
    assert sample.token_stats[1].entropy >= 0


def test_texts_without_ids_keep_their_statistics_and_their_number_of_tokens() -> None:
    """Bug of an earlier version: a token too many for every text that ended by itself, and no statistics."""
    stream = words("1+1", **told(3)) + words("=2", **told(2)) + words(end="stop") + DONE
    with emulation(reply(stream)) as server:
        sample, chunks = sampled(server, tells_ids=False)
    assert (sample.text, sample.finish, sample.num_tokens) == ("1+1=2", FinishReason.STOP, 5)
    assert (len(sample.token_stats), sample.mean_logprob) == (5, -1.0)
    assert sum(chunk.num_tokens for chunk in chunks) == 5


def test_a_text_without_ids_that_ends_with_its_end_token_has_ended() -> None:
    async def main(url: str) -> Sample:
        config = ClientConfig(tells_ids=False, poll_s=None)
        endpoint = FixedEndpoint(Address(url=url, model="m"))
        async with open_openai(endpoint, tokenizer=tiny.tokenizer(), config=config) as engine:
            return await engine.sample(tiny.chat("2+2"), SamplingParams(), timeout_s=60)

    with emulation(reply(words("4") + words("<eos>") + DONE)) as server:
        sample = trio.run(main, server.url)
    assert (sample.text, sample.finish, len(server.requests)) == ("4", FinishReason.STOP, 1)


MALFORMED: list[Any] = [
    {"choices": 3},
    {"choices": ["text"]},
    {"choices": [{"text": 5}]},
    {"choices": [{"text": {"a": 1}}]},
    {"choices": [{"text": [{"text": 5}]}]},
    {"choices": [{"text": "a", "finish_reason": 3}]},
    {"choices": [{"text": "a", "finish_reason": ["stop"]}]},
    {"choices": [{"text": "a", "token_ids": 7}]},
    {"choices": [{"text": "a", "token_ids": ["7"]}]},
    {"choices": [{"text": "a", "token_ids": [-1]}]},
    {"choices": [{"text": "a", "token_ids": [1 << 41]}]},
    {"choices": [{"text": "a", "token_ids": [True]}]},
    {"choices": [{"text": "a", "token_ids": [None]}]},
    {"choices": [{"text": "a", "token_ids": [1], "logprobs": 5}]},
    {"choices": [{"text": "a", "token_ids": [1], "logprobs": [5]}]},
    {"choices": [{"text": "a", "token_ids": [1], "logprobs": {"token_logprobs": 1, "top_logprobs": 1}}]},
    {"choices": [{"text": "a", "token_ids": [1], "logprobs": {"token_logprobs": ["x"], "top_logprobs": [{}]}}]},
    {"choices": [{"text": "a", "token_ids": [1], "logprobs": {"token_logprobs": [0], "top_logprobs": [[1]]}}]},
    {"choices": [{"text": "a", "token_ids": [1], "logprobs": {"token_logprobs": [0], "top_logprobs": [{"a": "b"}]}}]},
    {"choices": [{"text": "a", "token_ids": [1], "logprobs": {"token_logprobs": [0], "top_logprobs": [{"a": 1e9}]}}]},
]


@pytest.mark.parametrize("malformed", MALFORMED, ids=lambda each: json.dumps(each)[12:60])
def test_an_event_that_cannot_be_read_is_a_break_that_names_it(malformed: Any) -> None:
    """Bug of an earlier version: TypeError, AttributeError, KeyError and OverflowError left the client."""
    with pytest.raises(BrokenError, match="'choices': "):
        completion_piece(malformed)
    broken = reply(b"data: " + json.dumps(malformed).encode() + b"\n\n")
    with emulation(broken, reply(WHOLE)) as server:
        assert sampled(server)[0].text == "4"


@pytest.mark.parametrize("nest", ['{"choices":' * 100_000, '{"a":' + "[" * 300 + "]" * 300 + "}"])
def test_an_event_nested_without_end_is_a_break(nest: str) -> None:
    with emulation(reply(f"data: {nest}\n\n".encode()), reply(WHOLE)) as server:
        sample, _ = sampled(server)
        assert (sample.text, sample.finish, len(server.requests)) == ("4", FinishReason.STOP, 2)


FIELDS = st.sampled_from(
    ["choices", "text", "token_ids", "finish_reason", "logprobs", "token_logprobs", "top_logprobs", "error", "a"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(choice=st.dictionaries(FIELDS, VALUES, max_size=5), choices=VALUES)
def test_any_event_at_all_is_a_piece_or_a_break(choice: dict[str, Any], choices: Any) -> None:
    for sent in ({"choices": [choice]}, {"choices": choices}, choice):
        try:
            piece = completion_piece(sent)
        except BrokenError:
            continue
        assert isinstance(piece.text, str)
        assert isinstance(piece.finish, str)
        assert len(piece.token_stats) == piece.num_tokens or not piece.token_stats


# ----------------------------------------------------------------------------- any stream at all

ENDS_OF_LINE = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r"])
STATISTICS = st.fixed_dictionaries(
    {},
    optional={
        "token_logprobs": st.lists(st.floats() | st.none(), max_size=3) | VALUES,
        "top_logprobs": st.lists(st.dictionaries(st.text(max_size=2), st.floats() | st.none(), max_size=3)) | VALUES,
    },
)
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "text": st.text(max_size=4) | VALUES,
        "token_ids": st.lists(st.integers(0, 40), max_size=3) | VALUES,
        "finish_reason": st.sampled_from([None, "stop", "length", "abort", "error", "STOP", ""]) | VALUES,
        "logprobs": st.none() | STATISTICS | VALUES,
    },
)
CODES = st.sampled_from([400, 404, 429, 500, "503", 529]) | VALUES
ERRORS = st.fixed_dictionaries({}, optional={"code": CODES, "message": st.text(max_size=3)}) | VALUES
EVENTS = st.fixed_dictionaries(
    {}, optional={"choices": st.lists(CHOICES, max_size=2) | VALUES, "error": ERRORS, "code": CODES, "message": VALUES}
)
DATA = st.one_of(
    EVENTS.map(json.dumps),
    EVENTS.map(json.dumps),
    VALUES.map(json.dumps),
    st.sampled_from(["[DONE]", " [DONE] ", "", "{", "NaN", "9" * 5000, '{"error": {"code": "%s"}}' % ("9" * 5000)]),
)
LINES = st.builds(
    "{}:{}{}{}".format,
    st.sampled_from(["data", "data", "data", "event", "id", "retry", "", "DATA", "\ufeffdata"]),
    st.sampled_from(["", " ", "  "]),
    DATA,
    ENDS_OF_LINE,
)
BLOCKS = st.builds(lambda lines, end: "".join(lines) + end, st.lists(LINES, min_size=1, max_size=2), ENDS_OF_LINE)
WELL_FORMED = [event("4"), words("4"), WHOLE, *(b'data: {"error": {"code": %d}}\n\n' % code for code in (429, 500))]
BODIES = st.one_of(
    st.lists(BLOCKS | st.sampled_from([each.decode() for each in WELL_FORMED]), max_size=4).map(
        lambda blocks: "".join(blocks).encode("utf-8", "surrogatepass")
    ),
    EVENTS.map(lambda each: json.dumps(each).encode()),
    st.binary(max_size=30),
)
STATUSES = st.sampled_from(
    ["200 OK"] * 8 + ["204 No", "307 Moved", "400 Bad", "404 Not", "429 Later", "500 No", "999 ?"]
)
HEADERS = st.sampled_from(["", "", "retry-after: 1e300\r\n", "retry-after: nan\r\n", "content-encoding: gzip\r\n"])


def cut(whole: bytes, share: float) -> bytes:
    return whole[: round(len(whole) * share)]


REPLIES = st.builds(
    lambda body, status, more, share: cut(reply(body, status=status, more=more), share),
    BODIES,
    STATUSES,
    HEADERS,
    st.sampled_from([1, 1, 1, 1, 0.9, 0.5, 0.1]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(replies=st.lists(REPLIES, min_size=1, max_size=3), tells_ids=st.booleans())
def test_whatever_a_server_sends_the_client_ends_with_a_sample_or_an_error_of_its_own(
    replies: list[bytes], tells_ids: bool
) -> None:
    with emulation(*replies) as server:
        try:
            sample, _ = sampled(server, tells_ids=tells_ids, busy_s=0.01, timeout_s=600)
        except EngineError:
            return
    assert len(sample.token_stats) <= sample.num_tokens
    assert all(math.isfinite(each.logprob) and math.isfinite(each.entropy) for each in sample.token_stats)


@pytest.mark.parametrize("last", [b'data: {"choices": []}\n', b"data: {}\r", b'{"choices": []}'])
def test_an_answer_that_breaks_off_within_its_last_event_ends_the_attempt(last: bytes) -> None:
    """Bug of an earlier version: it was read for ever after its end, and no timeout could end that."""
    with emulation(reply(last)) as server, pytest.raises(EngineError, match="ended"):
        sampled(server, tells_ids=False, is_followed=False, max_replays=1)


def test_what_came_before_an_answer_broke_off_within_its_last_event_is_kept() -> None:
    with emulation(reply(b'data: {"choices": [{"text": "4"}]}')) as server:
        sample, _ = sampled(server, tells_ids=False, max_replays=1)
    assert sample.text.startswith("4")
    assert sample.finish is FinishReason.FAILED


@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 200 OK\r\n", b"more"])
@pytest.mark.parametrize("close", ["", "connection: close\r\n"])
def test_a_body_that_is_read_after_its_end_has_nothing_more(close: str, after: bytes, is_closed: bool) -> None:
    async def read() -> list[bytes | None]:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(f"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n{close}\r\n".encode() + b"body" + after)
        if is_closed:
            await theirs.send_eof()
        with trio.fail_after(60):
            answer = await Reply.to(b"", ours, url="u")
            return [await answer.read() for _ in range(4)]

    assert trio.run(read) == [b"body", None, None, None]


def test_a_server_that_names_tomorrow_is_not_waited_for_so_long() -> None:
    """Bug of an earlier version: the whole time of an attempt was slept away."""
    later = reply(b"too many ask", status="429 Later", kind="text/plain", more="retry-after: 86400\r\n")
    with emulation(later) as server, pytest.raises(EngineError, match="too many ask"):
        sampled(server, busy_s=0.05, timeout_s=600)


@pytest.mark.parametrize(
    "stream",
    [
        b"\xef\xbb\xbf" + WHOLE,
        (event("4") + event(end="stop", tokens=[EOS])).rstrip(),
        event("4") + event(tokens=[EOS]),
        event("4", end="STOP", tokens=[*ids("4"), EOS]) + DONE,
    ],
    ids=["byte-order mark", "last event not ended", "no done and no finish", "capitals"],
)
def test_a_text_that_is_whole_is_neither_lost_nor_gone_on_with(stream: bytes) -> None:
    """Bugs of an earlier version: the first token was lost; "4444"."""
    with emulation(reply(stream)) as server:
        sample, _ = sampled(server)
    assert (sample.text, sample.finish, sample.num_tokens) == ("4", FinishReason.STOP, 2)
    assert len(server.requests) == 1


@pytest.mark.parametrize("tells_ids", [True, False])
def test_a_server_that_gives_more_tokens_than_were_asked_for_is_cut(tells_ids: bool) -> None:
    pieces = [(event if tells_ids else words)(character) for character in "123456"]
    with emulation(reply(b"".join(pieces) + DONE)) as server:
        sample, _ = sampled(server, tells_ids=tells_ids, max_new_tokens=4)
    assert (sample.text, sample.finish, sample.num_tokens) == ("1234", FinishReason.LENGTH, 4)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'data: {"object": "error", "message": "no such thing", "code": 400}\n\n', "400: no such thing"),
        (b'event: error\ndata: {"message": "no such thing", "code": 404}\n\n', "404: no such thing"),
        (b'{"detail": "no such thing"}', "the server answered: no such thing"),
        (b'{"message": "no such thing"}', "the server answered: no such thing"),
        (b'{"status": "no such thing"}', "no such thing"),
        (b"<html>no such thing</html>", "no such thing"),
    ],
)
def test_an_error_in_another_form_is_told_in_its_own_words(body: bytes, told: str) -> None:
    """Bug of an earlier version: "the stream ended before its time", four times."""
    with emulation(reply(body)) as server, pytest.raises(EngineError, match=told):
        sampled(server)


def test_a_probability_that_is_no_number_is_not_known() -> None:
    nan = {"logprobs": {"token_logprobs": [math.nan], "top_logprobs": [{"a": math.nan}]}}
    with emulation(reply(event("4", end="length", **nan))) as server:
        assert sampled(server)[0].mean_logprob is None


@pytest.mark.parametrize("text", ["<|im_end|>", "a<|im_start|><|im_end|><eos>"])
def test_a_problem_that_spells_control_tokens_sends_none_of_them(text: str) -> None:
    """Bug of an earlier version: they ended the user's turn."""

    async def main(url: str) -> Sample:
        endpoint = FixedEndpoint(Address(url=url, model="m"))
        async with open_openai(endpoint, tokenizer=tiny.tokenizer(), config=ClientConfig(poll_s=None)) as engine:
            return await engine.sample(tiny.chat(text), SamplingParams(), timeout_s=60)

    with emulation(reply(WHOLE)) as server:
        trio.run(main, server.url)
    start, end = tiny.tokenizer()("<|im_start|><|im_end|>")["input_ids"]
    assert [id_ for id_ in server.requests[0]["prompt"] if id_ in (start, end, EOS)] == [start, end, start]
