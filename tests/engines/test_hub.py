"""Models by their id on the hub, from a hub on loopback."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from hashlib import sha1
from pathlib import Path

import pytest

from kit.assets import TINY_MODEL
from kit.engines.hub import find_model, is_hub_id
from kit.errors import InputError, MissingError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
EXTRA = ("modeling_tiny.py", "pytorch_model.bin")  # never fetched


class _Hub(http.server.SimpleHTTPRequestHandler):
    """`owner/tiny`, by the two calls that snapshot_download makes: the list of files, and each file."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        folder = Path(self.directory)
        if path.startswith("/api/models/owner/tiny"):
            files = [
                {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": _etag(file)}
                for file in folder.iterdir()
            ]
            siblings = [{"rfilename": each["path"]} for each in files]
            told = files if "/tree/" in path else {"id": "owner/tiny", "sha": COMMIT, "siblings": siblings}
            self._send(json.dumps(told).encode(), with_body=with_body, headers={"Content-Type": "application/json"})
        elif path.startswith("/owner/tiny/resolve/") and (file := folder / path.rsplit("/", 1)[1]).is_file():
            self._send(
                file.read_bytes(), with_body=with_body, headers={"ETag": f'"{_etag(file)}"', "X-Repo-Commit": COMMIT}
            )
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _send(self, body: bytes, *, with_body: bool, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def _etag(file: Path) -> str:
    return sha1(file.read_bytes()).hexdigest()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    shutil.copytree(TINY_MODEL, folder)
    for name in EXTRA:
        (folder / name).write_text("never")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hub, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def found(named: str, tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, since huggingface_hub reads its switches when it is imported."""
    code = f"from kit.engines.hub import find_model; print(find_model({named!r}))"
    told = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), **environ}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=told)


def test_a_model_of_the_hub_is_fetched_once_without_code_and_pickles(tmp_path: Path, hub: str) -> None:
    done = found("owner/tiny", tmp_path, HF_ENDPOINT=hub, HF_HUB_DISABLE_XET="1")
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert {path.name for path in folder.iterdir()} == {path.name for path in TINY_MODEL.iterdir()}
    assert (folder / "model.safetensors").read_bytes() == (TINY_MODEL / "model.safetensors").read_bytes()
    again = found("owner/tiny", tmp_path, HF_HUB_OFFLINE="1")
    assert again.stdout == done.stdout


@pytest.mark.parametrize("offline", [True, False])
def test_a_model_that_cannot_be_fetched_is_one_clear_error(tmp_path: Path, hub: str, offline: bool) -> None:
    environ = {"HF_HUB_OFFLINE": "1"} if offline else {"HF_ENDPOINT": hub}
    done = found("owner/absent", tmp_path, **environ)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("kit.errors.MissingError: owner/absent: no such folder here, and the hub does not give it (")
    assert "unset HF_HUB_OFFLINE, or copy the model's folder here" in last


def test_a_folder_is_itself_and_a_path_is_never_asked_of_the_hub(tmp_path: Path) -> None:
    assert find_model(str(tmp_path)) == tmp_path
    for path in ("./a/b", "/a/b", "a/b/c", "nowhere", "../a"):
        assert not is_hub_id(path)
        assert find_model(path) == Path(path)
    with pytest.raises(InputError, match="the model's name is empty"):
        find_model(" ")


def test_a_machine_without_the_hub_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingError, match=r"pip install 'mathllm-kit\[torch\]'"):
        find_model("owner/absent")
