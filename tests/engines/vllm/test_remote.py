"""Servers that somebody else runs, found by their address."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from kit.assets import TINY_MODEL
from kit.engines.vllm.client.remote import open_remote
from kit.errors import EngineError
from kit.sampling import FinishReason, Message, Prompt, Sample, SamplingParams
from tests.engines.vllm.test_contract import served

PROMPT = Prompt((Message("user", "What is $1+1$?"),))


def drawn(url: str) -> Sample:
    async def draw() -> Sample:
        async with open_remote(url, tokenizer_folder=TINY_MODEL) as engine:
            return await engine.sample(PROMPT, SamplingParams(seed=3, max_new_tokens=8), timeout_s=60)

    return trio.run(draw)


def test_a_server_is_asked_for_its_own_model_with_and_without_v1() -> None:
    with served() as url:
        sample = drawn(url)
        assert (sample.num_tokens, sample.finish) == (8, FinishReason.LENGTH)
        assert len(sample.text) == 8
        assert drawn(f"{url}/v1/").text == sample.text


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

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("body", [b'{"data": []}', b'{"data": [{"name": "x"}]}'])
def test_a_server_that_lists_no_model_is_told_from_one_that_does_not_answer(body: bytes) -> None:
    with saying(body) as url, pytest.raises(EngineError, match=r"/v1/models lists no model"):
        drawn(url)
    with saying(b"<html>") as url, pytest.raises(EngineError, match="no server answers there"):
        drawn(url)
    with pytest.raises(EngineError, match=r"no server answers there .*start it, or give its address"):
        drawn("http://127.0.0.1:9")
