"""Servers that somebody else runs, found by their address, key and model's name."""

from __future__ import annotations

import http.server
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio

from kit.assets import TINY_MODEL
from kit.engines.openai.choice import OpenAIChoice
from kit.engines.openai.opening import open_remote
from kit.errors import EngineError, InputError, KitError
from kit.sampling import FinishReason, Message, Prompt, Sample, SamplingParams
from tests.engines.openai.chat_server import Served, serving
from tests.engines.vllm.test_contract import served
from tests.serving import in_a_thread

PROMPT = Prompt((Message("user", "What is $1+1$?"),))


def drawn(url: str, *, model: Path | None = TINY_MODEL, num_logprobs: int = 20, **choice: str) -> Sample:
    async def draw() -> Sample:
        server = OpenAIChoice(url=url, **choice)  # type: ignore[arg-type]
        async with open_remote(server, model=model, num_logprobs=num_logprobs) as engine:
            return await engine.sample(PROMPT, SamplingParams(seed=3, max_new_tokens=8), timeout_s=60)

    return trio.run(draw)


def test_a_server_is_asked_for_its_own_model_with_and_without_v1() -> None:
    with served() as url:
        sample = drawn(url)
        assert (sample.num_tokens, sample.finish) == (8, FinishReason.LENGTH)
        assert len(sample.text) == 8
        assert drawn(f"{url}/v1/").text == sample.text


def test_token_ids_are_sent_where_the_models_folder_is_at_hand_and_the_server_takes_them() -> None:
    for completes in (True, False):
        server = Served(has_completions=completes)
        with serving(server) as url:
            drawn(url)
            assert ("messages" in server.asked[-1]) is not completes
            drawn(url, model=None)
            assert "messages" in server.asked[-1]


@pytest.mark.parametrize("model", [TINY_MODEL, None])
def test_log_probabilities_are_asked_for_only_where_somebody_reads_them(model: Path | None) -> None:
    """Bug of an earlier version: 20 came with each token of any vLLM, and votes that count threw them away."""
    for num_logprobs in (0, 20):
        server = Served(owned_by="vllm", has_completions=model is not None)
        with serving(server) as url, suppress(EngineError):  # the double tells no token ids
            drawn(url, model=model, num_logprobs=num_logprobs)
        assert bool(server.asked[-1].get("logprobs")) is bool(num_logprobs)


@contextmanager
def saying(body: bytes) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    with in_a_thread(server):
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize("body", [b'{"data": []}', b'{"data": [{"name": "x"}]}'])
def test_a_server_that_lists_no_model_is_told_from_one_that_does_not_answer(body: bytes) -> None:
    with saying(body) as url, pytest.raises(EngineError, match=r"/v1/models lists no model"):
        drawn(url)
    with saying(b"<html>") as url, pytest.raises(EngineError, match="no server answers there"):
        drawn(url)
    with pytest.raises(EngineError, match=r"no server answers there .*start it, or give its address by --url"):
        drawn("http://127.0.0.1:9")


def test_a_models_name_that_the_server_does_not_list_is_told_with_its_list() -> None:
    with serving(Served(models=("qwen3-8b", "llama"))) as url:
        with pytest.raises(
            InputError, match=r"serves no 'qwen3-7b'; did you mean 'qwen3-8b'\? it lists: qwen3-8b, llama"
        ):
            drawn(url, model_name="qwen3-7b")
        drawn(url, model=None, model_name="llama")


def test_a_server_that_cannot_list_its_models_is_asked_for_the_one_that_is_named() -> None:
    """`transformers serve` 5.19 of a local folder answers 500 to /v1/models."""
    with serving(Served(lists_models=False)) as url:
        with pytest.raises(EngineError, match=r"cannot list its models .*--model-name"):
            drawn(url)
        assert drawn(url, model=None, model_name="small").num_tokens == 8


def test_a_key_that_is_wrong_or_missing_is_told_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Served(key="right")) as url:
        with pytest.raises(InputError, match=r"401: wrong key.*name its key: --api-key-env NAME"):
            drawn(url)
        with pytest.raises(InputError, match="--api-key-env SOME_KEY: there is no such variable"):
            drawn(url, api_key_env="SOME_KEY")
        monkeypatch.setenv("SOME_KEY", "wrong")
        with pytest.raises(InputError, match="is the key in SOME_KEY right"):
            drawn(url, api_key_env="SOME_KEY")
        monkeypatch.setenv("SOME_KEY", "right")
        assert drawn(url, api_key_env="SOME_KEY").num_tokens == 8
        assert drawn(url, model=None, api_key_env="SOME_KEY").num_tokens == 8


def test_a_key_is_sent_without_the_ends_of_its_line_and_never_told() -> None:
    choice = OpenAIChoice(url="http://127.0.0.1:9", api_key_env="SOME_KEY")
    assert choice.key({"SOME_KEY": " sk-abc\r\n"}) == "sk-abc"
    for key in ("sk-ü", "sk-a\nb", "sk-\x00"):
        with pytest.raises(InputError, match="--api-key-env SOME_KEY: it holds a character that no key has") as told:
            choice.key({"SOME_KEY": key})
        assert "sk-" not in str(told.value)


def test_an_address_that_is_none_is_refused_before_anything_is_asked() -> None:
    wrong = ("localhost:8000", "http://[::1", "http://127.0.0.1:99999", "http://127.0.0.1:9 ", f"http://{'a' * 70}.de")
    for url in wrong:
        with pytest.raises(InputError, match="url must be an address such as"):
            OpenAIChoice(url=url)
    with pytest.raises(InputError, match="needs the server's address"):
        drawn("")
    with serving(Served()) as url, pytest.raises(KitError, match=r"--url is the address without /v1"):
        drawn(f"{url}/else")
