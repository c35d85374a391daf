"""Real servers that nobody here wrote: what they take and give, as it is.

Each needs an interpreter of its own that has the server, and a real model; without it the test is skipped, loudly.
KIT_TRANSFORMERS_SERVE: a Python with `transformers[serving]` and accelerate. KIT_LLAMA_SERVER: llama.cpp's own
`llama-server` (Debian's package llama.cpp-tools has it); KIT_GGUF: SmolLM2-135M-Instruct as a file for it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import trio

from kit import cli
from kit.engines.openai.choice import OpenAIChoice
from kit.engines.openai.opening import open_remote
from kit.engines.vllm.client.faults import BrokenError
from kit.engines.vllm.client.http import HttpClient
from kit.engines.vllm.server.ports import free_port
from kit.errors import EngineError
from kit.sampling import FinishReason, Message, Prompt, Sample, SamplingParams

pytestmark = pytest.mark.long

PROMPT = Prompt((Message("user", "What is 4 + 7?"),))
GREEDY = SamplingParams(temperature=0, max_new_tokens=12)
_START_S = 900.0


def wanted(variable: str, what: str) -> Path:
    place = Path(os.environ.get(variable, ""))
    if not place.is_file():
        pytest.skip(f"{what} IS NOT TESTED: set {variable}")
    return place


@contextmanager
def started(command: Sequence[str | Path], *, environ: dict[str, str], log: Path) -> Iterator[str]:
    """The address of a server that answers; `{port}` in the command is its port."""
    port = free_port(Random())
    argv = [str(word).format(port=port) for word in command]
    told = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environ}
    with log.open("wb") as output:
        process = subprocess.Popen(argv, env=told, stdout=output, stderr=output)
        try:
            url = f"http://127.0.0.1:{port}"
            trio.run(_answers, url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(60)


async def _answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    with trio.fail_after(_START_S):
        while process.poll() is None:
            try:
                await HttpClient().get_text(f"{url}/v1/models", timeout_s=20)
                return
            except BrokenError as error:
                if error.status:  # it answers, if only that it broke
                    return
            except EngineError:
                return
            await trio.sleep(1)
    pytest.fail(f"the server ended: {log.read_text()[-2000:]}")


def drawn(choice: OpenAIChoice, *params: SamplingParams, model: Path | None = None) -> list[Sample]:
    async def main() -> list[Sample]:
        async with open_remote(choice, model=model, num_logprobs=20) as engine:
            return [await engine.sample(PROMPT, each, timeout_s=300) for each in params]

    return trio.run(main)


def test_vllm_started_by_hand_gives_the_same_texts_by_chats_and_by_token_ids(
    vllm_python: Path, real_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--dtype", "float32", "--enforce-eager", "--max-model-len", "auto", "--api-key", "sesame")
    cache = ("--kv-cache-memory-bytes", str(100 << 20), "--no-enable-chunked-prefill", "--served-model-name", "smol")
    server = (vllm_python, "-m", "vllm.entrypoints.openai.api_server", "--model", real_model, "--port", "{port}")
    monkeypatch.setenv("SESAME", "sesame")
    with started((*server, *options, *cache), environ={"TORCHDYNAMO_DISABLE": "1"}, log=tmp_path / "log") as url:
        varied = SamplingParams(seed=5, temperature=1.0, max_new_tokens=12, top_k=40, presence_penalty=0.5)
        too_long = SamplingParams(temperature=0, max_new_tokens=100_000)
        choice = OpenAIChoice(url=url, api_key_env="SESAME")
        by_chat = drawn(choice, GREEDY, varied)
        by_ids = drawn(choice, GREEDY, varied, model=real_model)
        assert [sample.text for sample in by_chat] == [sample.text for sample in by_ids]
        assert len(by_chat[0].token_stats) == by_chat[0].num_tokens
        (whole,) = drawn(choice, too_long)
        assert whole.finish in {FinishReason.STOP, FinishReason.LENGTH, FinishReason.DEADLINE}


def test_transformers_serve_is_asked_in_chats_and_what_it_lacks_is_said(
    real_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    python = wanted("KIT_TRANSFORMERS_SERVE", "`transformers serve`")
    server = (python, "-m", "transformers.cli.transformers", "serve", "--port", "{port}", "--device", "cpu")
    with started((*server, "--dtype", "float32", real_model), environ={}, log=tmp_path / "log") as url:
        (sample,) = drawn(OpenAIChoice(url=url, model_name=str(real_model)), GREEDY)
    assert (sample.num_tokens, sample.finish) == (12, FinishReason.LENGTH)
    assert "top_k is left out" in caplog.text
    assert "all texts are the same" in caplog.text


@pytest.fixture
def llama_server(tmp_path: Path) -> Iterator[str]:
    binary, gguf = wanted("KIT_LLAMA_SERVER", "llama.cpp's server"), wanted("KIT_GGUF", "llama.cpp's server")
    server = (binary, "--model", gguf, "--port", "{port}", "--ctx-size", "2048", "--threads", "1")
    with started(server, environ={}, log=tmp_path / "log") as url:
        yield url


def test_llama_cpps_server_is_asked_in_chats(llama_server: str) -> None:
    (sample,) = drawn(OpenAIChoice(url=llama_server), GREEDY)
    assert (sample.num_tokens, sample.finish) == (12, FinishReason.LENGTH)


def test_llama_cpps_server_completes_the_kits_own_token_ids(llama_server: str, real_model: Path) -> None:
    seeded = SamplingParams(seed=5, temperature=1.0, max_new_tokens=12)
    first, again = drawn(OpenAIChoice(url=llama_server), seeded, seeded, model=real_model)
    assert first.finish in {FinishReason.STOP, FinishReason.LENGTH}
    assert first.text
    assert first.text == again.text


@pytest.mark.slow
def test_a_dry_run_is_answered_by_llama_cpps_server(
    llama_server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    problems = tmp_path / "sums.csv"
    problems.write_text("id,problem,answer\ns1,What is $4+7$?,11\ns2,What is $9+8$?,17\n")
    asked = ("--engine", "openai", "--url", llama_server, "--problems", str(problems), "--out", str(tmp_path / "out"))
    assert cli.main(["dry-run", *asked, "--set", "solver.width=2", "--set", "solver.stop.num_samples=2"]) == 0
    (journal,) = (tmp_path / "out").rglob("journal.jsonl")
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [each["kind"] for each in records].count("solution") == 2
    assert [each["kind"] for each in records].count("sample") >= 2
    assert "OPEN" in capfd.readouterr().out
