"""The engine contract over servers: vLLM-like and text-only doubles, and the real vLLM where there is one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kit.engines.vllm.client.endpoint import Address, FixedEndpoint
from kit.engines.vllm.client.engine import ClientConfig, open_engine
from kit.engines.vllm.server.ports import free_port
from tests.engines import tiny
from tests.engines.contract import EngineContract, Subject
from tests.engines.vllm import openai_server

PROMPT = tiny.chat("what is 1+1?")
TOO_LONG = tiny.chat("x" * 5000)
SCRIPT = Path(openai_server.__file__)


@contextmanager
def served(*options: str) -> Iterator[str]:
    """A double that runs as a process; gives its address."""
    port = free_port(Random())
    process = subprocess.Popen([sys.executable, str(SCRIPT), "--port", str(port), *options], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert b"complete" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def endpoint(url: str, *, context_tokens: int | None = 4096) -> FixedEndpoint:
    return FixedEndpoint(Address(url=url, model="model", context_tokens=context_tokens))


def subject_of(engine: Any, *, goes_on: bool = True) -> Subject:
    return Subject(engine=engine, prompt=PROMPT, bad_prompt=TOO_LONG, num_slots=4, goes_on=goes_on)


@pytest.fixture(scope="module")
def telling_url() -> Iterator[str]:
    with served("--tells-ids") as url:
        yield url


@pytest.fixture(scope="module")
def words_url() -> Iterator[str]:
    with served() as url:
        yield url


class TestAServerThatTellsTokenIds(EngineContract):
    @pytest.fixture
    async def subject(self, telling_url: str) -> AsyncIterator[Subject]:
        async with open_engine(endpoint(telling_url), tokenizer=tiny.tokenizer()) as engine:
            yield subject_of(engine)


class TestAServerThatTellsWordsOnly(EngineContract):
    """As SGLang and llama.cpp do: token ids in, text out."""

    @pytest.fixture
    async def subject(self, words_url: str) -> AsyncIterator[Subject]:
        config = ClientConfig(tells_ids=False, poll_s=None)
        async with open_engine(endpoint(words_url), tokenizer=tiny.tokenizer(), config=config) as engine:
            yield subject_of(engine)
