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
import trio

from kit.engines.vllm.client.endpoint import Address, FixedEndpoint
from kit.engines.vllm.client.engine import ClientConfig, open_openai
from kit.engines.vllm.client.http import HttpClient
from kit.engines.vllm.server.ports import free_port
from kit.sampling import Message, Prompt, Sample
from tests.engines import tiny
from tests.engines.contract import EngineContract, Subject, quick
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
        async with open_openai(endpoint(telling_url), tokenizer=tiny.tokenizer()) as engine:
            yield subject_of(engine)


class TestAServerThatTellsWordsOnly(EngineContract):
    """As SGLang and llama.cpp do: token ids in, text out."""

    @pytest.fixture
    async def subject(self, words_url: str) -> AsyncIterator[Subject]:
        config = ClientConfig(tells_ids=False, poll_s=None)
        async with open_openai(endpoint(words_url), tokenizer=tiny.tokenizer(), config=config) as engine:
            yield subject_of(engine)


class HarmonyTokenizer:
    """A token a character; the server's own tokens are its characters."""

    chat_template = "{{ '<|start|>assistant<|channel|>' }}"

    def apply_chat_template(self, messages: list[dict[str, str]], **_settings: Any) -> str:
        turns = [f"<|start|>{turn['role']}<|message|>{turn['content']}<|end|>" for turn in messages]
        return "".join(turns) + "<|start|>assistant"

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [1000 + ord(character) for character in text]}

    def decode(self, ids: list[int], **_settings: Any) -> str:
        return "".join(chr(id_ - 1000) if id_ >= 1000 else openai_server.CHARACTERS[id_] for id_ in ids)


@pytest.mark.parametrize(
    ("so_far", "written"),
    [
        ("", ""),
        ("<think>1+1", "<|channel|>analysis<|message|>1+1"),
        (
            "<think>1+1</think>It is",
            "<|channel|>analysis<|message|>1+1<|end|><|start|>assistant<|channel|>final<|message|>It is",
        ),
    ],
)
def test_a_turn_of_gpt_oss_is_continued_as_the_model_wrote_it(telling_url: str, so_far: str, written: str) -> None:
    ask = Message("user", "1+1?")
    prompt = Prompt((ask, Message("assistant", so_far)) if so_far else (ask,))
    tokenizer = HarmonyTokenizer()

    async def main() -> tuple[Sample, Any]:
        async with open_openai(endpoint(telling_url), tokenizer=tokenizer) as engine:
            sample = await engine.sample(prompt, quick(max_new_tokens=4), timeout_s=30)
            return sample, await HttpClient().get_json(f"{telling_url}/stats", timeout_s=10)

    sample, stats = trio.run(main)
    sent = tokenizer.decode(stats["prompts"][-1])
    assert sent == f"<|start|>user<|message|>1+1?<|end|><|start|>assistant{written}"
    # what comes before `<|message|>` is no text
    assert (sample.num_tokens, len(sample.text)) == (4, 4 if so_far else 0)
