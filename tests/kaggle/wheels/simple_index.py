"""A package index on loopback that can misbehave, and wheels small enough to make by the dozen."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename

from kit.kaggle.transfer import sha256_of
from kit.kaggle.wheels.lockfile import Wheel
from tests.serving import in_a_thread


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    tag: str = "py3-none-any",
    requires: Sequence[str] = (),
    extras: Sequence[str] = (),
    requires_python: str = "",
    payload: bytes = b"",
) -> Wheel:
    """A wheel that pip and uv install: a module of the package's name, and `payload` beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    info = f"{module}-{version.partition('-')[0]}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version.partition('-')[0]}"]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Provides-Extra: {each}" for each in extras] + [f"Requires-Dist: {each}" for each in requires]
    files = {
        f"{module}/__init__.py": f"version = {version!r}\n".encode(),
        f"{module}/payload.bin": payload,
        f"{info}/METADATA": ("\n".join(lines) + "\n").encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    rows = [f"{path},sha256={_record_hash(content)},{len(content)}" for path, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]).encode()
    path = folder / f"{module}-{version}-{tag}.whl"
    with ZipFile(path, "w") as archive:
        for member, content in files.items():
            archive.writestr(ZipInfo(member), content)  # a fixed time: the same wheel has the same bytes
    return locked(path)


def locked(path: Path) -> Wheel:
    """A wheel's line of a lock."""
    name, version, _, _ = parse_wheel_filename(path.name)
    size_bytes = path.stat().st_size
    return Wheel(name=name, version=str(version), file=path.name, size_bytes=size_bytes, sha256=sha256_of(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """How one request for a file is answered. cut: the connection ends after so many bytes of the body."""

    status: int = 200
    cut: int | None = None


@dataclass(slots=True)
class SimpleIndex:
    """Serves the wheels of a folder. What was asked for is in `gets`: (file, where its range begins)."""

    folder: Path
    speaks_json: bool = True
    ignores_ranges: bool = False
    mistakes_ranges: bool = False  # answers a range as one, but from the first byte on
    says_size: bool = True
    says_hash: bool = True
    faults: dict[str, deque[Fault]] = field(default_factory=dict)
    replaced: dict[str, bytes] = field(default_factory=dict)
    gets: list[tuple[str, int]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    pause_s: float = 0.0  # between chunks of a body
    url: str = ""

    def content(self, file: str) -> bytes:
        return self.replaced.get(file) or (self.folder / file).read_bytes()

    def received(self, file: str) -> list[int]:
        """Where each request for the file began."""
        return [begin for name, begin in self.gets if name == file]


@contextmanager
def served(index: SimpleIndex) -> Iterator[SimpleIndex]:
    class Handler(_Handler):
        simple_index = index

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    index.url = f"http://127.0.0.1:{server.server_address[1]}/simple"
    with in_a_thread(server):
        yield index


class _Handler(BaseHTTPRequestHandler):
    simple_index: SimpleIndex
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *args: object) -> None:
        """Keep the tests' output clean."""

    def _answer(self, *, with_body: bool) -> None:
        self.simple_index.headers.append(dict(self.headers))
        _, kind, *rest = self.path.split("/")
        if kind == "simple":
            self._send_page(rest[0])
        else:
            self._send_file(rest[-1], with_body=with_body)

    def _send_page(self, project: str) -> None:
        index = self.simple_index
        files = [path.name for path in sorted(index.folder.iterdir()) if _project(path.name) == project]
        if not files:
            return self._send(404, b"")
        if index.speaks_json:
            offers = [self._offer(file) for file in files]
            page = json.dumps({"meta": {"api-version": "1.1"}, "name": project, "files": offers}).encode()
            return self._send(200, page, kind="application/vnd.pypi.simple.v1+json")
        links = "".join(f'<a href="../../files/{file}">{file}</a>' for file in files)
        return self._send(200, links.encode(), kind="text/html")

    def _offer(self, file: str) -> dict[str, object]:
        content = (self.simple_index.folder / file).read_bytes()
        hashes = {"sha256": hashlib.sha256(content).hexdigest()} if self.simple_index.says_hash else {}
        size = {"size": len(content)} if self.simple_index.says_size else {}
        return {"filename": file, "url": f"../../files/{file}", "hashes": hashes, **size}

    def _send_file(self, file: str, *, with_body: bool) -> None:
        index = self.simple_index
        if not (index.folder / file).exists():
            return self._send(404, b"")
        content, begin = index.content(file), self._begin()
        if with_body:
            index.gets.append((file, begin))
        waiting = index.faults.get(file)
        fault = waiting.popleft() if waiting and with_body else Fault()
        if fault.status != 200:
            return self._send(fault.status, b"")
        if begin and begin >= len(content):
            return self._send(416, b"")
        first = 0 if index.mistakes_ranges else begin
        span = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if begin else {}
        return self._send(206 if begin else 200, content[first:], with_body=with_body, cut=fault.cut, more=span)

    def _begin(self) -> int:
        text = self.headers.get("Range", "")
        return 0 if self.simple_index.ignores_ranges or not text else int(text.removeprefix("bytes=").partition("-")[0])

    def _send(
        self, status: int, body: bytes, *, kind: str = "application/octet-stream", with_body: bool = True,
        cut: int | None = None, more: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self._send_body(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True

    def _send_body(self, body: bytes, chunk_bytes: int = 1 << 14) -> None:
        try:
            for begin in range(0, len(body), chunk_bytes):
                self.wfile.write(body[begin : begin + chunk_bytes])
                if self.simple_index.pause_s:
                    time.sleep(self.simple_index.pause_s)
        except OSError:  # whoever asked has gone, as they may
            self.close_connection = True


def _project(file: str) -> str:
    if file.endswith(".whl"):
        return parse_wheel_filename(file)[0]
    return canonicalize_name(parse_sdist_filename(file)[0]) if file.endswith(".tar.gz") else ""


def _record_hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
