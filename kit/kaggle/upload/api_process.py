"""Kaggle's own `KaggleApi`, in a process of its own: requests and answers in lines of JSON, until no more come.

In: on the command line, the descriptor of a socket; from it, requests `{"call": NAME, ...its arguments}`. Out: for
each, while files are sent `{"file": NAME, "num_bytes": N}`, and at last `{"result": ...}` or `{"error": {...}}`. An
error holds its `kind` (http, line, credentials, storage or request), the HTTP `status` if there was one, and the
`text`, the server's if it gave any. What the client prints goes to its standard output and is not read.

Three things differ from `python -m kaggle`: a file that storage did not take is an error in every release, upload
sessions outlive the call (the client forgets them even after Kaggle refused the dataset), and a session that storage
has given up is forgotten. Started by path: it imports the standard library and the client, and not the kit.
Source: kaggle 2.2.4 and 2.2.5 (`KaggleApi`, `ResumableUploadContext`, `TqdmBufferedReader`).
"""

from __future__ import annotations

import io
import json
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import kaggle
import requests
from kaggle.api import kaggle_api_extended

_PAGE_SIZE = 200
_TELL_EVERY_S = 0.25
_RESUMABLE = (408, 429)  # of the 4xx; any other ends a session (cloud.google.com/storage/docs/resumable-uploads)


class FileRefusedError(Exception):
    """Storage did not take a file. status: its last answer's; None if it gave none."""

    def __init__(self, file: str, status: int | None) -> None:
        told = "no answer" if status is None else f"HTTP {status}"
        super().__init__(f"Kaggle's storage did not take {file} ({told})")
        self.status = status


class KeptSessions(kaggle_api_extended.ResumableUploadContext):  # type: ignore[misc]
    """Upload sessions that stay when the call ends; the kit removes them once Kaggle has accepted the dataset."""

    def __exit__(self, *_: object) -> None:
        pass


class CountedFile(io.BufferedReader):
    """A file on its way, which tells how far it is; put in the place of the client's reader with a bar."""

    def __init__(self, raw: Any, _bar: object) -> None:
        super().__init__(raw)
        self._due_s = 0.0

    def read(self, size: int | None = -1, /) -> bytes:
        """As any reader's; the place in the file counts, for a line that breaks makes it start again."""
        content = super().read(size)
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + _TELL_EVERY_S
            tell({"file": Path(self.name).name, "num_bytes": self.tell()})
        return content


class Api(kaggle_api_extended.KaggleApi):  # type: ignore[misc]
    """The client, but a file is through or it is an error."""

    _statuses: list[int]  # of storage's answers to the file on its way

    def _upload_blob(self, path: str, quiet: bool, blob_type: Any, sessions: Any, *more: Any) -> Any:
        self._statuses = []
        token = super()._upload_blob(path, quiet, blob_type, sessions, *more)
        if token is None:
            status = self._statuses[-1] if self._statuses else None
            if status is not None and 400 <= status < 500 and status not in _RESUMABLE:
                Path(sessions.get_upload_info_file_path(path)).unlink(missing_ok=True)
            raise FileRefusedError(Path(path).name, status)
        tell({"file": Path(path).name, "num_bytes": Path(path).stat().st_size})
        return token

    def _is_upload_successful(self, response: requests.Response) -> bool:
        self._statuses.append(response.status_code)
        return bool(super()._is_upload_successful(response))


def status(api: Api, ref: str) -> str:
    """DatabundleVersionStatus by name, in small letters."""
    return str(api.dataset_status(ref))


def version_number(api: Api, ref: str) -> int | None:
    """The version that is shown; None if Kaggle names none."""
    number = json.loads(api.dataset_status(ref, format="json(current_version_number)"))["current_version_number"]
    return number or None


def files(api: Api, ref: str) -> Mapping[str, int]:
    """Bytes of every file, by its name on Kaggle."""
    sizes: dict[str, int] = {}
    token: str | None = None
    while token != "":
        page = api.dataset_list_files(ref, page_token=token, page_size=_PAGE_SIZE)
        if page.error_message:
            raise ValueError(page.error_message)
        sizes |= {file.name: file.total_bytes for file in page.dataset_files}
        token = page.next_page_token
    return sizes


def model_files(api: Api, ref: str) -> Mapping[str, int]:
    """Bytes of every file of a version of a Kaggle Model, by its path there."""
    request = kaggle_api_extended.ApiListModelInstanceVersionFilesRequest()
    request.owner_slug, request.model_slug, framework, request.instance_slug, version = ref.split("/")
    frameworks = kaggle_api_extended.ModelFramework
    request.framework = api.lookup_enum(frameworks, frameworks.MODEL_FRAMEWORK_API, framework)
    request.version_number, request.page_size = int(version), _PAGE_SIZE
    sizes: dict[str, int] = {}
    with api.build_kaggle_client() as client:
        while True:
            page = client.models.model_api_client.list_model_instance_version_files(request)
            sizes |= {file.name: file.size for file in page.files}
            if not page.next_page_token:
                return sizes
            request.page_token = page.next_page_token


def create(api: Api, folder: str, is_public: bool) -> str:
    """The address of a new dataset."""
    return _accepted(api.dataset_create_new(folder, public=is_public, quiet=True))


def add_version(api: Api, folder: str, notes: str) -> str:
    """The address of a dataset that was there."""
    return _accepted(api.dataset_create_version(folder, notes, quiet=True))


def push(api: Api, folder: str) -> Mapping[str, Any]:
    """The new version of a notebook, and by kind what could not be attached to it."""
    saved = api.kernels_push(folder)
    if saved.error or not saved.version_number:
        raise ValueError(saved.error or "Kaggle names no version")
    kinds = ("dataset", "competition", "kernel", "model")
    lost = {kind: getattr(saved, f"invalid_{kind}_sources") for kind in kinds}
    return {
        "version": saved.version_number,
        "url": saved.url,
        "lost": {kind: names for kind, names in lost.items() if names},
    }


def username(api: Api) -> str:
    """Whose the credentials are; of a token the client has asked Kaggle."""
    return str(api.get_config_value(api.CONFIG_NAME_USER) or "")


def run(api: Api, ref: str) -> Mapping[str, str]:
    """KernelWorkerStatus by name, and why a run failed. ref: with a version, or of the latest run."""
    told = api.kernels_status(ref)
    return {"status": told.status.name, "failure": told.failure_message or ""}


def log(api: Api, ref: str) -> str:
    """What a run has printed, as Kaggle keeps it."""
    return str(api.kernels_logs(ref))


def attached(api: Api, ref: str) -> Mapping[str, Any]:
    """What `kaggle kernels pull -m` writes of a notebook, without its source; None for what Kaggle does not tell."""
    request = kaggle_api_extended.ApiGetKernelRequest()
    request.user_name, request.kernel_slug = ref.split("/")
    with api.build_kaggle_client() as client:
        found = client.kernels.kernels_api_client.get_kernel(request).metadata
    kinds = ("dataset", "competition", "kernel", "model")
    return {
        **{f"{kind}_sources": list(getattr(found, f"{kind}_data_sources")) for kind in kinds},
        **{
            name: getattr(found, f"_{name}")  # the property makes False of what is not told
            for name in ("enable_gpu", "enable_internet", "is_private", "machine_shape", "docker_image")
        },
    }


def submit(api: Api, competition: str, ref: str, version: int, file: str, message: str) -> str:
    """Kaggle's words, and how many submissions are left. One that Kaggle took has a number."""
    made = api.competition_submit_code(file, message, competition, ref, version, quiet=True)
    if not made.ref:
        raise ValueError(made.message)
    try:
        left = api.competition_get_submission_limits(competition).num_allowed_now
    except requests.RequestException:  # it is submitted all the same
        return str(made.message)
    return f"{made.message}; {left} submissions remaining today"


CALLS: Mapping[str, Callable[..., Any]] = {
    call.__name__: call
    for call in (
        *(username, status, version_number, files, model_files, create, add_version),
        *(push, run, log, attached, submit),
    )
}


def serve(line: socket.socket) -> None:
    """Answer every request on the line, until it is closed."""
    kaggle_api_extended.ResumableUploadContext = KeptSessions
    kaggle_api_extended.TqdmBufferedReader = CountedFile
    api = Api()
    api.__dict__.update(vars(kaggle.api))  # who has authenticated already, on import
    for request in line.makefile("rb"):
        tell(_answer(api, **json.loads(request)))


def _answer(api: Api, call: str, **arguments: Any) -> Mapping[str, Any]:
    """The last line of the answer."""
    try:
        if not api._authenticated:
            api.authenticate()
        return {"result": CALLS[call](api, **arguments)}
    except (requests.RequestException, FileRefusedError, ValueError, RecursionError, SystemExit) as error:
        return {"error": _told(error)}


def _accepted(answer: Any) -> str:
    if answer.status.lower() != "ok":
        raise ValueError(answer.error or f"Kaggle says {answer.status!r}")
    return str(answer.url)


def _told(error: BaseException) -> Mapping[str, Any]:
    """What went wrong. The client turns some answers into an error of its own, raised in place of the first.

    An answer nested without end is a RecursionError in the client, and of the line, as one that is no JSON.
    """
    if isinstance(error, FileRefusedError):
        return {"kind": "storage", "status": error.status, "text": str(error)}
    if isinstance(error, SystemExit):
        return {"kind": "credentials", "status": None, "text": "no place holds any that are valid"}
    answers = (each for each in (error, error.__context__) if isinstance(each, requests.HTTPError))
    if (answer := next(answers, None)) is not None and answer.response is not None:
        code = answer.response.status_code
        code = code if code >= 400 else answer.response.json()["code"]  # an error may come with a 200
        return {"kind": "http", "status": code, "text": str(answer)}
    is_line = isinstance(error, requests.exceptions.InvalidJSONError) or not isinstance(error, ValueError)
    return {"kind": "line" if is_line else "request", "status": None, "text": str(error)}


def tell(line: Mapping[str, Any]) -> None:
    """Write one line of the answer."""
    _LINE.sendall(json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    _LINE = socket.socket(fileno=int(sys.argv[1]))
    _LINE.set_inheritable(False)
    serve(_LINE)
