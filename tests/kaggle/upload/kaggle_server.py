"""A stand-in for Kaggle's API on loopback: what the unmodified client asks of datasets and notebooks, with faults.

The client reaches it as its HTTP proxy (`KAGGLE_API_ENVIRONMENT=LOCALHOST` makes it speak plain HTTP to
`localhost`, `http_proxy` sends that here), so request targets come in absolute form. It knows the requests that a
log of the client showed and no others: IntrospectToken, GetDatasetStatus, GetDataset, StartBlobUpload, the
resumable PUT of Google's storage, CreateDataset, CreateDatasetVersion, ListDatasetFiles; and of notebooks SaveKernel,
GetKernel, GetKernelSessionStatus, ListKernelSessionOutput, CreateCodeSubmission, GetSubmissionLimits.

Source: docs/kaggle.md#client, read against kaggle 2.2.4 and 2.2.5. Never compared with the live site.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import socket
import struct
import sys
import threading
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.serving import in_a_thread

USERNAME = "ada"
KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "KGAT_0f1e2d3c4b5a69788796a5b4c3d2e1f0"
_CHUNK_BYTES = 1 << 16
_SERVICES = {
    "IntrospectToken": "introspect",
    "GetDatasetStatus": "status",
    "GetDataset": "dataset",
    "StartBlobUpload": "start",
    "CreateDataset": "create",
    "CreateDatasetVersion": "version",
    "ListDatasetFiles": "files",
    "SaveKernel": "save",
    "GetKernel": "kernel",
    "GetKernelSessionStatus": "run",
    "ListKernelSessionOutput": "log",
    "CreateCodeSubmission": "submit",
    "GetSubmissionLimits": "limits",
}


@dataclass
class Fault:
    """What goes wrong at one kind of request (`where`), `times` times, after going well `after` times.

    where: a value of _SERVICES, or put or probe.
    file: only for a blob of this name. code: the HTTP status. message: as a JSON body, else an empty one.
    cut: the connection is reset instead of an answer. kept_bytes: how much of a body storage keeps before that.
    body: a JSON answer of status 200. raw: one that need not be JSON. is_done: the request takes effect although its
    answer is lost.
    """

    where: str
    code: int = 503
    times: int = 1
    after: int = 0
    file: str | None = None
    message: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    kept_bytes: int = 0
    body: Mapping[str, Any] | None = None
    raw: bytes | None = None
    is_done: bool = False
    hang_s: float = 0.0


@dataclass
class Blob:
    name: str
    size_bytes: int
    content: bytearray = field(default_factory=bytearray)


@dataclass
class Dataset:
    files: dict[str, bytes]
    is_private: bool = True
    title: str = ""
    licence: str = ""
    num_versions: int = 1
    statuses: list[str] = field(default_factory=lambda: ["READY"])


@dataclass(frozen=True)
class Seen:
    """One request. where: as in Fault. detail: its JSON, or for a PUT its blob's name, start and received bytes."""

    where: str
    detail: Mapping[str, Any]
    authorization: str | None


class KaggleServer:
    """Use in a `with` block; `environ` leads the client here."""

    def __init__(self) -> None:
        self.datasets: dict[str, Dataset] = {}
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.blobs: dict[str, Blob] = {}
        self.after_create: list[str] = ["READY"]
        self.chunk_pause_s = 0.0
        self.lock = threading.RLock()
        self.broken: list[BaseException] = []
        self._http = _Http(self)
        self._serving = in_a_thread(self._http)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": f"http://127.0.0.1:{self._http.server_port}",
            "KAGGLE_USERNAME": USERNAME,
            "KAGGLE_KEY": KEY,
        }

    def __enter__(self) -> KaggleServer:
        self._serving.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._serving.__exit__(*error)

    def count(self, where: str) -> int:
        return sum(seen.where == where for seen in self.seen)

    def sent_bytes(self, name: str) -> list[tuple[int, int]]:
        """For each PUT of a blob of this name: where it started, and how many bytes of it came."""
        return [
            (seen.detail["start"], seen.detail["received"])
            for seen in self.seen
            if seen.where == "put" and seen.detail["name"] == name
        ]

    def received_bytes(self, name: str) -> int:
        with self.lock:
            return max((len(blob.content) for blob in self.blobs.values() if blob.name == name), default=0)

    def take_fault(self, where: str, file: str | None = None) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.where != where or fault.times == 0 or fault.file not in (None, file):
                    continue
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def answer(self, where: str, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        with self.lock:
            answer: tuple[int, Mapping[str, Any]] = getattr(self, f"_{where}")(asked)
        return answer

    def _introspect(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        is_right = asked["token"] == TOKEN
        return 200, {"active": is_right, **({"username": USERNAME} if is_right else {})}

    def _status(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        dataset = self.datasets.get(_ref(asked))
        if dataset is None:
            return 404, {}
        status = dataset.statuses.pop(0) if len(dataset.statuses) > 1 else dataset.statuses[0]
        return 200, {"status": status}

    def _dataset(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        dataset = self.datasets.get(_ref(asked))
        return (404, {}) if dataset is None else (200, {"currentVersionNumber": dataset.num_versions})

    def _start(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        token = f"blob-{len(self.blobs)}"
        self.blobs[token] = Blob(asked["name"], int(asked.get("contentLength", 0)))
        url = f"http://localhost/upload/storage/v1/b/kaggle/o?uploadType=resumable&upload_id={token}"
        return 200, {"token": token, "createUrl": url}

    def _create(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        ref = f"{asked['ownerSlug']}/{asked['slug']}"
        if ref in self.datasets:
            error = (
                f'The requested title "{asked["title"]}" is already in use by a dataset. Please choose another title.'
            )
            return 200, {"status": "error", "error": error, "ref": "", "url": ""}
        files = self._files_of(asked["files"])
        self.datasets[ref] = Dataset(
            files, asked.get("isPrivate", False), asked["title"], asked["licenseName"], statuses=list(self.after_create)
        )
        return 200, self._accepted(ref)

    def _version(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        ref = _ref(asked)
        dataset = self.datasets.get(ref)
        if dataset is None:
            return 404, {}
        dataset.files = self._files_of(asked["body"]["files"])
        dataset.num_versions += 1
        dataset.statuses = list(self.after_create)
        return 200, self._accepted(ref)

    def _files(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        dataset = self.datasets.get(_ref(asked))
        if dataset is None:
            return 404, {}
        start, size = int(asked.get("pageToken") or 0), int(asked.get("pageSize") or 20)
        names = sorted(dataset.files)
        page = [
            {"name": name, "totalBytes": len(dataset.files[name]), "creationDate": "2026-11-21T10:00:00.000Z"}
            for name in names[start : start + size]
        ]
        token = str(start + size) if start + size < len(names) else ""
        return 200, {"datasetFiles": page, "nextPageToken": token}

    @staticmethod
    def _accepted(ref: str) -> Mapping[str, Any]:
        return {"ref": f"/{ref}", "url": f"https://www.kaggle.com/datasets/{ref}", "status": "Ok", "error": ""}

    def _files_of(self, sent: list[Mapping[str, Any]]) -> dict[str, bytes]:
        """What Kaggle makes of the blobs: `+`, `~`, `=` leave the names, a zip is unpacked."""
        files: dict[str, bytes] = {}
        for item in sent:
            blob = self.blobs[item["token"]]
            assert len(blob.content) == blob.size_bytes, f"{blob.name} was used before it was whole"
            name = "".join(character for character in blob.name if character not in "+~=")
            if name.endswith(".zip"):
                with zipfile.ZipFile(io.BytesIO(blob.content)) as archive:
                    files |= {f"{name[:-4]}/{member}": archive.read(member) for member in archive.namelist()}
            else:
                files[name] = bytes(blob.content)
        return files


class KernelServer(KaggleServer):
    """Kaggle's notebooks and submissions beside its datasets.

    runs: (status, failure message) of a version, by its number; the others are complete. reply: on top of the answer to
    a push. found: on top of what the notebook is said to be, which is what was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.saved: list[Mapping[str, Any]] = []
        self.submitted: list[Mapping[str, Any]] = []
        self.runs: dict[int, list[tuple[str, str]]] = {}
        self.reply: Mapping[str, Any] = {}
        self.found: Mapping[str, Any] = {}
        self.text = ""
        self.number = 1  # of a submission; one that was not taken has none
        self.words = "Successfully submitted to AI Mathematical Olympiad - Progress Prize 3"

    def _save(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        self.saved.append(asked)
        url = f"https://www.kaggle.com/code/{asked['slug']}"
        return 200, {"ref": f"/code/{asked['slug']}", "url": url, "versionNumber": len(self.saved), **self.reply}

    def _kernel(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        """Fields whose value is the default are left out, as Kaggle leaves them out."""
        if not self.saved:
            return 404, {}
        names = ("enableGpu", "enableInternet", "isPrivate", "machineShape", "dockerImage")
        kinds = [f"{kind}DataSources" for kind in ("dataset", "competition", "kernel", "model")]
        told = {name: self.saved[-1][name] for name in (*names, *kinds) if self.saved[-1].get(name)}
        return 200, {"metadata": {"ref": self.saved[-1]["slug"], **told, **self.found}, "blob": {}}

    def _run(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        """Of the version that is asked for, `v2`, else of the latest."""
        number = int(asked.get("versionLabel", f"v{len(self.saved)}").removeprefix("v"))
        if not 1 <= number <= len(self.saved):
            return 404, {}
        runs = self.runs.get(number, [("COMPLETE", "")])
        status, failure = runs.pop(0) if len(runs) > 1 else runs[0]
        return 200, {"status": status, **({"failureMessage": failure} if failure else {})}

    def _log(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        return 200, {"log": self.text, "files": []}

    def _submit(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        self.submitted.append(asked)
        return 200, {"message": self.words, "ref": self.number}

    def _limits(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        return 200, {"numAllowedNow": 0}


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def _ref(asked: Mapping[str, Any]) -> str:
    return f"{asked['ownerSlug']}/{asked['datasetSlug']}"


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, kaggle: KaggleServer) -> None:
        self.kaggle = kaggle
        super().__init__(("127.0.0.1", 0), _handler_of(kaggle))

    def handle_error(self, *_: object) -> None:
        """Keep what went wrong in here for the test to fail on; lines that break are part of the tests."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError | ValueError):
            self.kaggle.broken.append(error)


def _handler_of(server: KaggleServer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        kaggle = server

    return Handler


class _Handler(BaseHTTPRequestHandler):
    kaggle: KaggleServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing on stderr: `seen` is the log."""

    def do_POST(self) -> None:
        where = _SERVICES[self.path.rsplit("/", 1)[-1]]
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._note(where, asked)
        if not self._is_known(where):
            self._answer(401, {})
            return
        fault = self.kaggle.take_fault(where, asked.get("name"))
        if fault is not None and not fault.is_done:
            self._fail(fault)
            return
        code, body = self.kaggle.answer(where, asked)
        if fault is not None:
            self._fail(fault)
        else:
            self._answer(code, body)

    def do_PUT(self) -> None:
        token = parse_qs(urlsplit(self.path).query)["upload_id"][0]
        blob = self.kaggle.blobs.get(token)
        range_ = self.headers.get("Content-Range", "")
        if range_.startswith("bytes */"):
            self._probe(blob)
        elif blob is None:
            self._answer(404, {})
        else:
            start = int(range_.removeprefix("bytes ").split("-")[0]) if range_ else 0
            self._put(blob, start)

    def _put(self, blob: Blob, start: int) -> None:
        assert start <= len(blob.content), "a gap in the upload"
        fault = self.kaggle.take_fault("put", blob.name)
        del blob.content[start:]
        limit = None if fault is None else fault.kept_bytes
        received = 0
        try:
            left = int(self.headers.get("Content-Length", 0))
            while left:
                if fault is not None and fault.cut and received >= fault.kept_bytes:
                    break
                chunk = self.rfile.read1(min(left, _CHUNK_BYTES))
                if not chunk:
                    return
                left -= len(chunk)
                received += len(chunk)
                kept = chunk if limit is None else chunk[: max(0, start + limit - len(blob.content))]
                blob.content += kept
                time.sleep(self.kaggle.chunk_pause_s)
        finally:
            self._note("put", {"name": blob.name, "start": start, "received": received})
        if fault is not None:
            self._fail(fault)
        else:
            self._answer(200, {})

    def _probe(self, blob: Blob | None) -> None:
        self._note("probe", {"name": None if blob is None else blob.name})
        fault = self.kaggle.take_fault("probe", None if blob is None else blob.name)
        if fault is not None:
            self._fail(fault)
        elif blob is None:
            self._answer(404, {})
        elif len(blob.content) == blob.size_bytes:
            self._answer(200, {})
        else:
            headers = {"Range": f"bytes=0-{len(blob.content) - 1}"} if blob.content else {}
            self._answer(308, {}, headers)

    def _is_known(self, where: str) -> bool:
        key = base64.b64encode(f"{USERNAME}:{KEY}".encode()).decode()
        return where == "introspect" or self.headers.get("Authorization") in (f"Basic {key}", f"Bearer {TOKEN}")

    def _note(self, where: str, detail: Mapping[str, Any]) -> None:
        with self.kaggle.lock:
            self.kaggle.seen.append(Seen(where, detail, self.headers.get("Authorization")))

    def _fail(self, fault: Fault) -> None:
        time.sleep(fault.hang_s)
        if fault.cut:
            linger = struct.pack("ii", 1, 0)  # close with a reset, as a broken line looks
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()
        elif fault.raw is not None:
            self._send(200, fault.raw, {})
        elif fault.body is not None:
            self._answer(200, fault.body)
        else:
            body = {} if fault.message is None else {"code": fault.code, "message": fault.message}
            self._answer(fault.code, body, fault.headers)

    def _answer(self, code: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self._send(code, json.dumps(body).encode(), headers or {})

    def _send(self, code: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
