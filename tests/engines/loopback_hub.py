"""A hub on loopback: folders `owner/name` below one root, listed, given out, and written to by commits."""

from __future__ import annotations

import base64
import http.server
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import Any

from tests.serving import in_a_thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Hub(http.server.SimpleHTTPRequestHandler):
    """What huggingface_hub asks of a model: its files, one file, a new repository, a commit."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_POST(self) -> None:
        path, body = self.path.partition("?")[0], self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/repos/create":
            named = json.loads(body)
            name = f"{named.get('organization', 'owner')}/{named['name']}"
            (self._root / name).mkdir(parents=True, exist_ok=True)
            self._send_json({"url": f"http://{self.headers['Host']}/{name}", "id": name})
        elif path == "/api/validate-yaml":
            self._send_json({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = [{"path": each["path"], "uploadMode": "regular"} for each in json.loads(body)["files"]]
            self._send_json({"files": [{**each, "shouldIgnore": False} for each in files]})
        elif "/commit/" in path:
            name = "/".join(path.split("/")[3:5])
            self._commit(self._root / name, body)
            self._send_json({"commitUrl": f"http://{self.headers['Host']}/{name}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self._refuse("RepoNotFound")

    @property
    def _root(self) -> Path:
        return Path(self.directory)

    def _commit(self, folder: Path, body: bytes) -> None:
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                assert entry["value"]["encoding"] == "base64"
                (folder / entry["value"]["path"]).write_bytes(base64.b64decode(entry["value"]["content"]))

    def _answer(self, *, with_body: bool) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"] and (folder := self._root / "/".join(parts[2:4])).is_dir():
            self._send_json(_listing(folder, "/".join(parts[2:4]), is_tree="tree" in parts))
            return
        folder = self._root / "/".join(parts[:2])
        if parts[2:3] != ["resolve"] or not folder.is_dir():
            self._refuse("RepoNotFound")
        elif not (file := folder / parts[-1]).is_file():
            self._refuse("EntryNotFound")
        else:
            headers = {"ETag": f'"{_etag(file)}"', "X-Repo-Commit": COMMIT}
            self._send(file.read_bytes(), with_body=with_body, headers=headers)

    def _send_json(self, content: Any) -> None:
        self._send(json.dumps(content).encode(), with_body=True, headers={"Content-Type": "application/json"})

    def _send(self, body: bytes, *, with_body: bool, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def _listing(folder: Path, name: str, *, is_tree: bool) -> Any:
    files = [
        {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": _etag(file)}
        for file in folder.iterdir()
    ]
    return (
        files if is_tree else {"id": name, "sha": COMMIT, "siblings": [{"rfilename": each["path"]} for each in files]}
    )


def _etag(file: Path) -> str:
    return sha1(file.read_bytes()).hexdigest()


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """The hub's address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hub, directory=str(root)))
    with in_a_thread(server):
        yield f"http://127.0.0.1:{server.server_port}"
