"""Which server is asked, in what a user sets; pure but for the key, which is read where it is needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from kit.errors import InputError, check_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIChoice:
    """A server that speaks OpenAI's API.

    url: with or without `/v1`. api_key_env: the variable that holds the key; empty: none is sent. model_name: as the
    server lists it; empty: the first. uses_model: whether it serves the very model whose folder is at hand, so that
    prompts are written and tokenised here where the server takes token ids.
    Raises: InputError for an address that is none.
    """

    url: str = ""
    api_key_env: str = ""
    model_name: str = ""
    uses_model: bool = False

    def __post_init__(self) -> None:
        is_address = not self.url or _is_address(self.url)
        check_fields(self, [("url", is_address, "an address such as http://127.0.0.1:8000")])

    @property
    def base(self) -> str:
        """The address without `/v1`.

        Raises: InputError where none is set.
        """
        if not self.url:
            raise InputError(
                "engine.kind=openai needs the server's address: --url http://HOST:PORT, or engine.openai.url"
            )
        return self.url.rstrip("/").removesuffix("/v1")

    def key(self, environ: Mapping[str, str] = os.environ) -> str:
        """The key to send; empty for none.

        Raises: InputError for a variable that is not set, or holds what no header may; its value is not told.
        """
        if not self.api_key_env:
            return ""
        if not environ.get(self.api_key_env):
            raise InputError(f"--api-key-env {self.api_key_env}: there is no such variable; export it, or leave it out")
        key = environ[self.api_key_env].strip()  # a file of variables may end its lines as Windows does
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"--api-key-env {self.api_key_env}: it holds a character that no key has; export it anew")
        return key


def _is_address(url: str) -> bool:
    try:
        target = urlsplit(url)
        _ = target.port, (target.hostname or "").encode("idna")  # which raise for what none is
    except ValueError:
        return False
    return target.scheme in ("http", "https") and bool(target.hostname) and not any(map(str.isspace, url))
