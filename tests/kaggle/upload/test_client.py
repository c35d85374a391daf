"""Calls of the unmodified `kaggle` client, as a process, against a loopback server: what it gives or raises."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from kit.kaggle.upload.client import ApiProcess, DatasetStatus, KaggleClient, client_in
from kit.kaggle.upload.credentials import client_environment
from kit.kaggle.upload.faults import ClientError
from kit.kaggle.upload.faults import Fault as What
from tests.kaggle.upload.kaggle_server import KEY, TOKEN, USERNAME, Dataset, Fault, KaggleServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        importlib.util.find_spec("kaggle") is None or importlib.util.find_spec("six") is None,
        reason=f"{sys.executable} has no `kaggle` client (kaggle==2.2.5 and six): NOTHING of its answers is tested",
    ),
]

REF = f"{USERNAME}/mathllm-kit"


@pytest.fixture(scope="module")
def the_server() -> Iterator[KaggleServer]:
    with KaggleServer() as server:
        yield server


@pytest.fixture
def server(the_server: KaggleServer) -> Iterator[KaggleServer]:
    """As new: only its address stays."""
    for things in (the_server.faults, the_server.seen, the_server.datasets):
        things.clear()
    yield the_server
    assert not the_server.broken


@pytest.fixture(scope="module")
def environ(the_server: KaggleServer, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The client's own."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "sessions").mkdir(mode=0o700)
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), **the_server.environ}
    return client_environment(environ, scratch=folder / "sessions")


@pytest.fixture(scope="module")
def process(environ: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    """One for all tests, as for all calls of an upload."""
    process = ApiProcess(folder=tmp_path_factory.mktemp("work"), environ=environ, stall_s=60.0)
    yield process
    process.end()


@pytest.fixture
def client(process: ApiProcess, server: KaggleServer) -> KaggleClient:
    return KaggleClient(process, lambda text: text.replace(KEY, "***"))


def another(environ: Mapping[str, str], folder: Path) -> AbstractContextManager[KaggleClient]:
    return client_in(folder, environ=environ, scrub=str, stall_s=60.0)


def fault_of(client: KaggleClient) -> ClientError:
    with pytest.raises(ClientError) as caught:
        client.status(REF)
    return caught.value


@pytest.mark.parametrize(
    ("answer", "what", "says"),
    [
        (Fault("status", 400), What.REFUSED, "400 Client Error: Bad Request"),
        (Fault("status", 401), What.UNAUTHENTICATED, "401 Client Error"),
        (Fault("status", 400, message="Maximum batch GPU session count"), What.SESSIONS, "GPU session count"),
        (Fault("status", 403, message="Your quota is exceeded"), What.QUOTA, "Your quota"),
        (Fault("status", 503, message="Your quota is exceeded"), What.PASSING, "Your quota"),
        (Fault("status", 403, message="Permission was not found"), What.FORBIDDEN, "Permission was not found"),
        (Fault("status", 404), What.ABSENT, "404 Client Error"),
        (Fault("status", 409), What.NAME_IN_USE, "409 Client Error"),
        (Fault("status", 429, times=-1), What.LIMITED, "429 Client Error"),
        (Fault("status", 503, message="All is forbidden"), What.PASSING, "All is forbidden"),
        (Fault("status", cut=True, times=-1), What.PASSING, "Connection reset by peer"),
        (Fault("status", body={"code": 403, "message": "Too many requests"}), What.FORBIDDEN, "Too many requests"),
        (Fault("status", body={"status": "SPLENDID"}), What.REFUSED, "SPLENDID"),
        (Fault("status", code=200, times=-1, raw=b"[" * 100_000), What.PASSING, "recursion"),
    ],
)
def test_a_fault_is_known_by_its_status_and_told_in_the_servers_words(
    client: KaggleClient, server: KaggleServer, answer: Fault, what: What, says: str
) -> None:
    """The words may be those of another fault."""
    server.faults.append(replace(answer))
    problem = fault_of(client)
    assert problem.fault is what
    assert says in problem.text


def test_a_line_that_leads_nowhere_is_a_passing_fault(environ: Mapping[str, str], tmp_path: Path) -> None:
    with another({**environ, "http_proxy": "http://127.0.0.1:9"}, tmp_path) as client:
        assert fault_of(client).fault is What.PASSING


def test_credentials_that_the_client_does_not_find_are_a_fault_of_them(
    environ: Mapping[str, str], server: KaggleServer, tmp_path: Path
) -> None:
    without = {name: value for name, value in environ.items() if name != "KAGGLE_KEY"}
    with another(without, tmp_path) as client:
        assert fault_of(client).fault is What.UNAUTHENTICATED
        assert fault_of(client).fault is What.UNAUTHENTICATED


def test_a_secret_in_the_servers_words_is_struck_out(client: KaggleClient, server: KaggleServer) -> None:
    server.faults.append(Fault("status", 400, message=f"no such key: {KEY}"))
    assert KEY not in str(fault_of(client))


def test_a_client_that_breaks_is_told_by_pythons_last_word(environ: Mapping[str, str], tmp_path: Path) -> None:
    with another({**environ, "KAGGLE_CONFIG_DIR": "/dev/null/x"}, tmp_path) as client:
        problem = fault_of(client)
    assert problem.fault is What.REFUSED
    assert "the client broke: NotADirectoryError" in problem.text


def test_one_process_serves_all_calls_and_another_one_those_after_its_end(
    client: KaggleClient, process: ApiProcess, server: KaggleServer
) -> None:
    server.datasets[REF] = Dataset({})
    client.status(REF)
    first = process.id
    client.status(REF)
    assert process.id == first
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_for_the_end(first)
    assert client.status(REF) is DatasetStatus.READY
    assert process.id not in (first, None)


def test_one_that_dies_in_a_call_is_told_and_the_next_call_is_served(
    client: KaggleClient, process: ApiProcess, server: KaggleServer
) -> None:
    server.datasets[REF] = Dataset({})
    client.status(REF)
    server.seen.clear()
    server.faults.append(Fault("status", hang_s=30.0))
    killer = threading.Thread(target=kill_once_it_asks, args=(process.id, server))
    killer.start()
    problem = fault_of(client)
    killer.join()
    assert problem.fault is What.REFUSED
    assert "the client broke: without a word" in problem.text
    assert client.status(REF) is DatasetStatus.READY


def test_answers_are_values(client: KaggleClient, server: KaggleServer) -> None:
    server.datasets[REF] = Dataset({f"a[{number}].bin": b"x" * number for number in range(201)}, num_versions=7)
    assert client.status(REF) is DatasetStatus.READY
    assert client.version_number(REF) == 7
    assert client.files(REF) == {f"a[{number}].bin": number for number in range(201)}
    assert server.count("files") == 2
    server.faults.append(Fault("dataset", body={}))
    assert client.version_number(REF) is None


def test_a_token_is_looked_at_once_in_all_calls(
    environ: Mapping[str, str], server: KaggleServer, tmp_path: Path
) -> None:
    server.datasets[REF] = Dataset({})
    without = {name: value for name, value in environ.items() if name not in ("KAGGLE_KEY", "KAGGLE_USERNAME")}
    with another({**without, "KAGGLE_API_TOKEN": TOKEN}, tmp_path) as client:
        assert client.status(REF) is DatasetStatus.READY
        assert client.status(REF) is DatasetStatus.READY
    assert [seen.where for seen in server.seen] == ["introspect", "status", "status"]


def kill_once_it_asks(process_id: int, server: KaggleServer) -> None:
    while not server.seen:
        time.sleep(0.01)
    os.kill(process_id, signal.SIGKILL)


def wait_for_the_end(process_id: int) -> None:
    """Until it is a zombie, which its parent has yet to bury."""
    while not Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].startswith(" Z"):
        time.sleep(0.01)
