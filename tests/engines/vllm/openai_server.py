"""A small OpenAI-compatible server for tests: a program of its own, with faults on demand; standard library only.

    python openai_server.py --port 20001 [--tells-ids] [--token-s 0.002] [--fails-above 8 --num-seqs 16] ...

Its "model" writes single characters that follow from all that stands before, and above temperature 0 from the seed: a
text that is gone on with half-way ends as the whole one does, whoever goes on with it. `/stats` counts what came.
Told to fail, it dies as vLLM does: with a traceback on its standard error, or in the middle of a stream.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 \n+-=?"
IM_START, IM_END = len(CHARACTERS), len(CHARACTERS) + 1
OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB"
DAMAGED = "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: header too large"


@dataclass
class State:
    """What the handlers share. num_streams: open now."""

    options: argparse.Namespace
    lock: threading.Lock = field(default_factory=threading.Lock)
    num_requests: int = 0
    num_streams: int = 0
    most_streams: int = 0
    num_left: int = 0  # streams that the client closed
    num_tokens: int = 0
    num_readings: int = 0  # of its metrics
    prompts: list[list[int]] = field(default_factory=list)

    def count(self, **changes: int) -> None:
        with self.lock:
            for name, change in changes.items():
                setattr(self, name, getattr(self, name) + change)
            self.most_streams = max(self.most_streams, self.num_streams)


def next_token(ids: list[int], *, seed: int, temperature: float) -> int:
    """A character that is no break of line, so that texts are easy to compare."""
    key = f"{ids}|{seed if temperature else ''}"
    return blake2b(key.encode(), digest_size=4).digest()[0] % (len(CHARACTERS) - 6)


def encode(text: str) -> list[int]:
    return [CHARACTERS.index(each) if each in CHARACTERS else len(CHARACTERS) - 1 for each in text]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the parent's name)
        pass

    def do_GET(self) -> None:
        options = self.state.options
        if self.path == "/v1/models":
            model = {"id": "model", "object": "model", "max_model_len": options.context}
            self._answer({"object": "list", "data": [model]})
        elif self.path == "/metrics":
            self._send(200, self._metrics().encode(), "text/plain")
            self.state.count(num_readings=1)
        elif self.path == "/stats":
            state = self.state
            told = {
                each.name: getattr(state, each.name) for each in fields(state) if each.name not in ("options", "lock")
            }
            self._answer(told | {"argv": sys.argv[1:], "pid": os.getpid()})
        else:
            self._answer({})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.state.count(num_requests=1)
        ids = body["prompt"] if isinstance(body["prompt"], list) else encode(body["prompt"])
        self.state.prompts.append(ids)
        context = self.state.options.context
        if len(ids) + body["max_tokens"] > context:
            message = f"This model's maximum context length is {context} tokens. However, you asked for more."
            self._answer({"error": {"message": message, "type": "BadRequestError", "code": 400}}, status=400)
        elif self._is_told("refuse"):
            self._answer({"error": {"message": "the engine is dead", "code": 500}}, status=500)
        elif not body.get("stream"):
            self._wait_while_hung()
            self._answer({"choices": [{"text": "a", "finish_reason": "length"}]})
        else:
            self._stream(body, ids)

    def _stream(self, body: dict[str, Any], ids: list[int]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        self.state.count(num_streams=1)
        try:
            for event in self._events(body, list(ids)):
                self.wfile.write(b": as some servers send\n\n" if event is None else _line(json.dumps(event)))
                self.wfile.flush()
            self.wfile.write(_line("[DONE]"))
        except (BrokenPipeError, ConnectionResetError):
            self.state.count(num_left=1)
        finally:
            self.state.count(num_streams=-1)

    def _events(self, body: dict[str, Any], ids: list[int]) -> Iterator[dict[str, Any] | None]:
        options = self.state.options
        yield None
        num_tokens = min(body["max_tokens"], options.context - len(ids))
        for number in range(num_tokens):
            time.sleep(options.token_s)
            self._wait_while_hung()
            if self._is_told("die"):
                yield {"error": {"message": "EngineCore encountered an issue.", "code": 500}}
                print("vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.", file=sys.stderr)
                os._exit(1)
            token = next_token(ids, seed=body["seed"], temperature=body["temperature"])
            ids.append(token)
            self.state.count(num_tokens=1)
            yield self._event(token, body, is_last=number == num_tokens - 1)
        yield {"choices": [], "usage": {"completion_tokens": num_tokens}}

    def _event(self, token: int, body: dict[str, Any], *, is_last: bool) -> dict[str, Any]:
        text = CHARACTERS[token]
        choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": "length" if is_last else None}
        if self.state.options.tells_ids:
            choice["token_ids"] = [token]
        likeliest = {f"token_id:{place}": math.log(0.04) - place / 100 for place in range(20)}
        if body.get("logprobs"):
            choice["logprobs"] = {"tokens": [text], "token_logprobs": [-1.5], "top_logprobs": [likeliest]}
        return {"choices": [choice]}

    def _metrics(self) -> str:
        options = self.state.options
        usage = self.state.num_streams / options.cache_streams if options.cache_streams else 0.0
        return (
            "# HELP vllm:kv_cache_usage_perc KV-cache usage.\n"
            f'vllm:kv_cache_usage_perc{{engine="0",model_name="model"}} {usage}\n'
            'vllm:num_preemptions_total{engine="0",model_name="model"} 0.0\n'
            f'vllm:cache_config_info{{block_size="16",num_gpu_blocks="{options.cache_streams}"}} 1.0\n'
        )

    def _wait_while_hung(self) -> None:
        while self._is_told("hang"):
            time.sleep(0.02)

    def _is_told(self, fault: str) -> bool:
        """Whether a file of that name lies in the folder of faults; `die` is told once, the others until it goes."""
        folder = self.state.options.faults
        if folder is None or not (folder / fault).exists():
            return False
        if fault == "die":
            (folder / fault).unlink(missing_ok=True)
        return True

    def _answer(self, data: dict[str, Any], *, status: int = 200) -> None:
        self._send(status, json.dumps(data).encode(), "application/json")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def _line(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tells-ids", action="store_true")
    parser.add_argument("--token-s", type=float, default=0.002)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--num-seqs", type=int, default=1)
    parser.add_argument("--fails-above", type=int, default=10**9, help="attempts at once that are out of memory")
    parser.add_argument("--damaged", action="store_true")
    parser.add_argument("--start-s", type=float, default=0.0)
    parser.add_argument("--cache-streams", type=int, default=0, help="streams that fill the cache; 0: none ever do")
    parser.add_argument("--num-workers", type=int, default=0, help="processes that sleep, in groups of their own")
    parser.add_argument("--ignores-sigterm", action="store_true")
    parser.add_argument("--faults", type=Path)
    options = parser.parse_args()
    if options.ignores_sigterm:
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(options.num_workers):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    time.sleep(options.start_s)
    if options.damaged or options.num_seqs > options.fails_above:
        print(f"(EngineCore pid=1) ERROR 11-21 11:55:50 [core.py:1510] {OUT_OF_MEMORY}", file=sys.stderr, flush=True)
        if options.damaged:
            print(DAMAGED, file=sys.stderr, flush=True)
        sys.exit(1)
    Handler.state = State(options)
    server = Server(("127.0.0.1", options.port), Handler)
    print("Application startup complete.", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
