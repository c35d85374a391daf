"""An engine over a server that somebody else runs: its address in, and what it says of itself; an engine out.

The server must speak OpenAI's completions: vLLM, SGLang, llama.cpp. Prompts are written and tokenised here, so the
model's own folder is needed for its tokenizer and chat template.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from kit.engines.vllm.client.endpoint import Address, FixedEndpoint
from kit.engines.vllm.client.engine import ClientConfig, OpenAIEngine, open_openai
from kit.engines.vllm.client.http import HttpClient
from kit.errors import EngineError

_PROBE_TIMEOUT_S = 30.0
_VLLM = "vllm"


@asynccontextmanager
async def open_remote(url: str, *, tokenizer_folder: Path) -> AsyncIterator[OpenAIEngine]:
    """The engine over the server at `url`, with or without `/v1`; it asks for the first model that the server lists.

    Raises: EngineError for a server that does not answer or lists no model; MissingError or InputError for a folder
        without tokenizer.
    """
    from kit.engines.transformers.loading import load_tokenizer  # torch and transformers take seconds

    address, is_vllm = await _found(url.rstrip("/").removesuffix("/v1"))
    tokenizer = await trio.to_thread.run_sync(load_tokenizer, tokenizer_folder)
    # what only vLLM has: token ids in its answers, and metrics of its cache
    config = ClientConfig() if is_vllm else ClientConfig(tells_ids=False, poll_s=None, num_logprobs=0)
    async with open_openai(FixedEndpoint(address), tokenizer=tokenizer, config=config) as engine:
        yield engine


async def _found(url: str) -> tuple[Address, bool]:
    """The server's address, and whether it is vLLM."""
    try:
        listed = await HttpClient().get_json(f"{url}/v1/models", timeout_s=_PROBE_TIMEOUT_S)
        model = listed["data"][0]
        context = model.get("max_model_len")
        address = Address(url=url, model=model["id"], context_tokens=context if isinstance(context, int) else None)
    except EngineError as error:
        raise EngineError(f"{url}: no server answers there ({error}); start it, or give its address") from error
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise EngineError(f"{url}/v1/models lists no model, so this is no server for completions") from error
    return address, model.get("owned_by") == _VLLM
