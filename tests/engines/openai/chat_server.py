"""A small server of chat completions for tests, in a thread; standard library only.

Its "model" writes single characters that follow from all that stands before, and above temperature 0 from the seed.
What it lacks, what it lists and which key it wants is told when it is made.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.engines.vllm.openai_server import CHARACTERS, encode, next_token
from tests.serving import in_a_thread

CONTEXT = 4096


@dataclass(kw_only=True)
class Served:
    """What a server is like, and what it was asked. refuses: fields. says: events in place of its own texts.

    breaks: streams that end after so many events, the first of them first.
    """

    models: Sequence[str] = ("small",)
    owned_by: str = "somebody"
    lists_models: bool = True
    is_greedy: bool = False
    most_tokens: int = 10**9
    refuses: frozenset[str] = frozenset()
    key: str = ""
    tells_logprobs: bool = True
    has_completions: bool = True
    says: Sequence[dict[str, Any]] = ()
    breaks: list[int] = field(default_factory=list)
    token_s: float = 0.002
    asked: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def serving(served: Served) -> Iterator[str]:
    """The server's address while it runs."""
    handler = type("Told", (_Handler,), {"served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    with in_a_thread(server):
        yield f"http://127.0.0.1:{server.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if not self._is_let_in():
            return
        if not self.served.lists_models:
            self._refuse(500, "cannot list")
            return
        models = [{"id": name, "owned_by": self.served.owned_by} for name in self.served.models]
        self._answer(200, {"data": models}) if self.path == "/v1/models" else self._refuse(404, "no such page")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self._is_let_in():
            return
        self.served.asked.append(body)
        is_chat = self.path.endswith("/chat/completions")
        if not is_chat and not self.served.has_completions:
            self._refuse(404, "no such page")
            return
        if unknown := self.served.refuses & body.keys():
            self._refuse(400, f"unknown field {min(unknown)}")
            return
        text = json.dumps(body["messages"]) if is_chat else str(body["prompt"])
        if len(text) > CONTEXT:
            self._refuse(400, f"the context is {CONTEXT}")
        elif body.get("max_tokens", 0) > self.served.most_tokens:
            self._refuse(400, "max_tokens cannot be greater than max_model_len")
        elif body.get("stream"):
            self._stream(body, text, is_chat=is_chat)
        else:
            said = "a" if self.served.is_greedy else f"a{body.get('seed')}"
            choice = {"message": {"content": said}, **self._logprobs(body), "finish_reason": "length"}
            self._answer(200, {"choices": [choice]})

    def _stream(self, body: dict[str, Any], text: str, *, is_chat: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        left = self.served.breaks.pop(0) if self.served.breaks and body.get("max_tokens") != 1 else 10**9
        try:
            for event in self.served.says or self._events(body, text, is_chat=is_chat):
                if not left:
                    return
                left -= 1
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def _events(self, body: dict[str, Any], text: str, *, is_chat: bool) -> Iterator[dict[str, Any]]:
        ids = encode(text[-40:])
        num_tokens = body.get("max_tokens", self.served.most_tokens)
        for number in range(num_tokens):
            time.sleep(self.served.token_s)
            token = next_token(ids, seed=body.get("seed", 0), temperature=body.get("temperature", 1.0))
            ids.append(token)
            said = {"delta": {"content": CHARACTERS[token]}} if is_chat else {"text": CHARACTERS[token]}
            finish = "length" if number == num_tokens - 1 else None
            yield {"choices": [{**said, **(self._logprobs(body) if is_chat else {}), "finish_reason": finish}]}
        if body.get("stream_options"):
            yield {"choices": [], "usage": {"completion_tokens": num_tokens}}

    def _logprobs(self, body: dict[str, Any]) -> dict[str, Any]:
        if not (self.served.tells_logprobs and body.get("logprobs")):
            return {}
        top = [{"token": str(place), "logprob": math.log(0.04) - place / 100} for place in range(body["top_logprobs"])]
        return {"logprobs": {"content": [{"token": "a", "logprob": -1.5, "top_logprobs": top}]}}

    def _is_let_in(self) -> bool:
        if self.served.key and self.headers.get("authorization") != f"Bearer {self.served.key}":
            self._refuse(401, "wrong key")
            return False
        return True

    def _refuse(self, status: int, message: str) -> None:
        self._answer(status, {"error": {"message": message, "code": status}})

    def _answer(self, status: int, data: dict[str, Any]) -> None:
        encoded = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)
