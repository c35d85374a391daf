"""The vLLM engine, whole: a supervised server, the tokenizer of its model, and the client over both.

In: what to start and its settings. Out: an engine that answers. The tokenizer is loaded while the server starts. A
damaged model is an error before that.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from kit.engines.text.model_folder import check_model_folder, read_config
from kit.engines.vllm.client.engine import ClientConfig, OpenAIEngine, open_openai
from kit.engines.vllm.server.settings import MOST_LOGPROBS, ServerSettings
from kit.engines.vllm.server.supervision import Launch, OnNews, SupervisorConfig, nobody
from kit.engines.vllm.server.supervisor import Supervisor, open_server


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmConfig:
    """Everything a vLLM engine is told.

    client: how the server is asked; for log-probabilities `settings.num_logprobs` alone is the setting, as a server
    refuses a request for more. template: values for the chat template, such as gpt-oss's `reasoning_effort` or Qwen3's
    `enable_thinking`.
    """

    settings: ServerSettings = field(default_factory=ServerSettings)
    supervisor: SupervisorConfig = field(default_factory=SupervisorConfig)
    client: ClientConfig = field(default_factory=ClientConfig)
    template: tuple[tuple[str, str | bool | int], ...] = ()

    @property
    def asking(self) -> ClientConfig:
        """The client's config for this server: what it tells and anything reads, and whether it knows its end token."""
        told = self.settings.num_logprobs
        read = MOST_LOGPROBS if told is None else min(told, MOST_LOGPROBS)
        return dataclasses.replace(self.client, num_logprobs=read, needs_end=not self.settings.own_tokenizer)


@asynccontextmanager
async def open_vllm(
    launch: Launch, config: VllmConfig, *, on_news: OnNews = nobody
) -> AsyncIterator[tuple[OpenAIEngine, Supervisor]]:
    """An engine and its server's supervisor, from the server's first token until it is left.

    Raises: MissingError or InputError for a damaged model folder; EngineError, with cause, fix and the end of the log,
        for a server that does not start.
    """
    await trio.to_thread.run_sync(check_model_folder, launch.model)
    async with open_server(launch, config.settings, config.supervisor, on_news=on_news) as server:
        tokenizer = await trio.to_thread.run_sync(_load_tokenizer, launch, dict(config.template))
        asking = config.asking
        if not _can_end(tokenizer, launch):
            asking = dataclasses.replace(asking, needs_end=False)
        async with open_openai(server, tokenizer=tokenizer, config=asking) as engine:
            await server.ready()
            yield engine, server


def _can_end(tokenizer: Any, launch: Launch) -> bool:
    """Whether the model can draw the tokenizer's end token: vLLM refuses to look for one beyond the vocabulary."""
    config = read_config(launch.model)
    size = config.get("vocab_size", (config.get("text_config") or {}).get("vocab_size"))
    return not isinstance(size, int) or (tokenizer.eos_token_id or 0) < size


def with_values(chat_template: str, values: Mapping[str, Any]) -> str:
    """A chat template with these variables set before its own defaults."""
    # Jinja reads JSON's true, false and texts
    told = "".join(f"{{%- set {name} = {json.dumps(value)} -%}}" for name, value in values.items())
    return told + chat_template


def _load_tokenizer(launch: Launch, template: Mapping[str, Any]) -> Any:
    # imported here, while the server starts: torch and transformers take seconds
    from kit.engines.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(launch.model)
    if template and tokenizer.chat_template:
        tokenizer.chat_template = with_values(tokenizer.chat_template, template)
    return tokenizer
