"""A server that somebody else runs, found and looked at; an engine over the best of what it serves out.

Token-level where the model's own folder is at hand and the server takes token ids in `/v1/completions`: prompts are
then exact, and an attempt goes on where a server broke. Else chats. What the server lacks is said once, in the log.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from kit.engines.openai.abilities import find_abilities
from kit.engines.openai.choice import OpenAIChoice
from kit.engines.openai.engine import ChatEngine
from kit.engines.vllm.client.endpoint import Address, FixedEndpoint
from kit.engines.vllm.client.engine import ClientConfig, open_openai
from kit.engines.vllm.client.faults import BrokenError, RefusedError
from kit.engines.vllm.client.http import HttpClient
from kit.errors import EngineError, InputError, did_you_mean
from kit.sampling import Engine

log = logging.getLogger(__name__)

_PROBE_TIMEOUT_S = 30.0
_FIRST_TOKEN_S = 120.0
_VLLM = "vllm"
_NO_RIGHT = frozenset({401, 403})
_NOT_THERE = 404
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A server that answers. is_vllm: whether it gives token ids back and has metrics, which only vLLM does."""

    address: Address
    is_vllm: bool


@asynccontextmanager
async def open_remote(choice: OpenAIChoice, *, model: Path | None, num_logprobs: int) -> AsyncIterator[Engine]:
    """The engine over a server, until it is left.

    model: the folder of the model that it serves; None: not at hand. num_logprobs: likeliest tokens wanted of each
    token, where the server tells any; 0: none.

    Raises: InputError for a key, an address or a model's name that is wrong; EngineError for a server that does not
        answer; MissingError for a folder without tokenizer.
    """
    http = HttpClient(key=choice.key())
    found = await find_server(http, choice)
    if model is not None and await _takes_ids(http, found.address):
        from kit.engines.text.tokenizer import load_tokenizer  # transformers takes seconds

        tokenizer = await trio.to_thread.run_sync(load_tokenizer, model)
        if found.is_vllm:
            config = ClientConfig(num_logprobs=num_logprobs)
        else:
            config = ClientConfig(num_logprobs=0, tells_ids=False, poll_s=None)
            log.warning("%s tells no token ids and no log-probabilities: votes are weighed by their count", choice.base)
        async with open_openai(FixedEndpoint(found.address), tokenizer=tokenizer, config=config, http=http) as engine:
            yield engine
        return
    address = found.address
    try:
        abilities = await find_abilities(http, address.url, model=address.model, is_vllm=found.is_vllm)
    except RefusedError as error:
        raise _explained(error, choice) from error
    log.warning(
        "%s: chats with %s; done without: %s", choice.base, address.model, "; ".join(abilities.lacks) or "nothing"
    )
    read = min(num_logprobs, abilities.num_logprobs)
    yield ChatEngine(http, address, dataclasses.replace(abilities, num_logprobs=read))


async def served_name(choice: OpenAIChoice) -> str:
    """What the server calls the model that would be asked. Raises: as `open_remote`."""
    return (await find_server(HttpClient(key=choice.key()), choice)).address.model


async def find_server(http: HttpClient, choice: OpenAIChoice) -> Found:
    """The server, and the model that is asked for by its name.

    Raises: as `open_remote`.
    """
    try:
        listed = await http.get_json(f"{choice.base}/v1/models", timeout_s=_PROBE_TIMEOUT_S)
    except (RefusedError, BrokenError) as error:
        if choice.model_name and error.status and error.status not in _NO_RIGHT:
            log.warning("%s lists no models (%s); taking %s as told", choice.base, error, choice.model_name)
            return Found(address=Address(url=choice.base, model=choice.model_name), is_vllm=False)
        if isinstance(error, RefusedError):
            raise _explained(error, choice) from error
        if error.status:
            raise EngineError(f"{choice.base} cannot list its models ({error}); name one: --model-name NAME") from error
        raise EngineError(
            f"{choice.base}: no server answers there ({error}); start it, or give its address by --url"
        ) from error
    models = _models(listed, choice.base)
    return _found(models[_chosen(models, choice)], choice.base)


def _models(listed: Any, url: str) -> dict[str, Any]:
    try:
        models = {str(model["id"]): model for model in listed["data"]}
    except (KeyError, TypeError):
        models = {}
    if not models:
        raise EngineError(f"{url}/v1/models lists no model, so this is no server for completions")
    return models


def _chosen(models: dict[str, Any], choice: OpenAIChoice) -> str:
    if not choice.model_name:
        return next(iter(models))
    if choice.model_name not in models:
        hint = did_you_mean(choice.model_name, models)
        shown = ", ".join([*models][:_MOST_SHOWN])
        raise InputError(
            f"{choice.base} serves no {choice.model_name!r}; {f'{hint} ' if hint else ''}it lists: {shown}"
        )
    return choice.model_name


def _found(model: Any, url: str) -> Found:
    context = model.get("max_model_len")
    address = Address(url=url, model=model["id"], context_tokens=context if isinstance(context, int) else None)
    return Found(address=address, is_vllm=model.get("owned_by") == _VLLM)


async def _takes_ids(http: HttpClient, address: Address) -> bool:
    """Whether the server completes a prompt of token ids."""
    body = {"model": address.model, "prompt": [1], "max_tokens": 1, "temperature": 0}
    try:
        await http.post_json(f"{address.url}/v1/completions", body, timeout_s=_FIRST_TOKEN_S)
    except EngineError as error:
        log.info("%s completes no token ids: %s", address.url, error)
        return False
    return True


def _explained(error: RefusedError, choice: OpenAIChoice) -> InputError:
    if error.status in _NO_RIGHT:
        fix = f"is the key in {choice.api_key_env} right?" if choice.api_key_env else "name its key: --api-key-env NAME"
        return InputError(f"{choice.base} refuses us ({error}); {fix}")
    if error.status == _NOT_THERE:
        return InputError(f"{choice.base} has no such page ({error}); --url is the address without /v1/…")
    return InputError(f"{choice.base} refuses the plainest chat ({error}); see its log")
