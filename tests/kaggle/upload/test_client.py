"""One call of the unmodified `kaggle` client, as a process, against a loopback server: what it gives or raises."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kit.kaggle.upload.client import ClientError, DatasetStatus, KaggleClient
from kit.kaggle.upload.client import Fault as What
from kit.kaggle.upload.credentials import client_environment, find_credentials
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


@pytest.fixture
def server() -> Iterator[KaggleServer]:
    with KaggleServer() as server:
        yield server
        assert not server.broken


@pytest.fixture
def client(server: KaggleServer, tmp_path: Path) -> KaggleClient:
    (tmp_path / "home").mkdir()
    (tmp_path / "sessions").mkdir(mode=0o700)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), **server.environ}
    return KaggleClient(
        folder=tmp_path,
        environ=client_environment(environ, scratch=tmp_path / "sessions"),
        scrub=find_credentials(environ).scrubbed,
        stall_s=60.0,
    )


def fault_of(client: KaggleClient) -> ClientError:
    with pytest.raises(ClientError) as caught:
        client.status(REF)
    return caught.value


@pytest.mark.parametrize(
    ("answer", "what", "says"),
    [
        (Fault("status", 400), What.REFUSED, "400 Client Error: Bad Request"),
        (Fault("status", 401), What.UNAUTHENTICATED, "401 Client Error"),
        (Fault("status", 403, message="Permission was not found"), What.FORBIDDEN, "Permission was not found"),
        (Fault("status", 404), What.ABSENT, "404 Client Error"),
        (Fault("status", 409), What.NAME_IN_USE, "409 Client Error"),
        (Fault("status", 429, times=-1), What.LIMITED, "429 Client Error"),
        (Fault("status", 503, message="All is forbidden"), What.PASSING, "All is forbidden"),
        (Fault("status", cut=True, times=-1), What.PASSING, "Connection reset by peer"),
        (Fault("status", body={"code": 403, "message": "Too many requests"}), What.FORBIDDEN, "Too many requests"),
        (Fault("status", body={"status": "SPLENDID"}), What.REFUSED, "SPLENDID"),
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


def test_a_line_that_leads_nowhere_is_a_passing_fault(client: KaggleClient) -> None:
    environ = {**client.environ, "http_proxy": "http://127.0.0.1:9"}
    assert fault_of(replace(client, environ=environ)).fault is What.PASSING


def test_credentials_that_the_client_does_not_find_are_a_fault_of_them(client: KaggleClient) -> None:
    environ = {name: value for name, value in client.environ.items() if name != "KAGGLE_KEY"}
    assert fault_of(replace(client, environ=environ)).fault is What.UNAUTHENTICATED


def test_a_secret_in_the_servers_words_is_struck_out(client: KaggleClient, server: KaggleServer) -> None:
    server.faults.append(Fault("status", 400, message=f"no such key: {KEY}"))
    assert KEY not in str(fault_of(client))


def test_a_client_that_breaks_is_told_by_pythons_last_word(client: KaggleClient, tmp_path: Path) -> None:
    environ = {**client.environ, "KAGGLE_CONFIG_DIR": "/dev/null/x"}
    problem = fault_of(replace(client, environ=environ))
    assert problem.fault is What.REFUSED
    assert "the client broke: NotADirectoryError" in problem.text


def test_answers_are_values(client: KaggleClient, server: KaggleServer) -> None:
    server.datasets[REF] = Dataset({f"a[{number}].bin": b"x" * number for number in range(201)}, num_versions=7)
    assert client.status(REF) is DatasetStatus.READY
    assert client.version_number(REF) == 7
    assert client.files(REF) == {f"a[{number}].bin": number for number in range(201)}
    assert server.count("files") == 2
    server.faults.append(Fault("dataset", body={}))
    assert client.version_number(REF) is None


def test_a_token_is_looked_at_once_in_a_call(client: KaggleClient, server: KaggleServer) -> None:
    server.datasets[REF] = Dataset({})
    environ = {name: value for name, value in client.environ.items() if name not in ("KAGGLE_KEY", "KAGGLE_USERNAME")}
    assert replace(client, environ={**environ, "KAGGLE_API_TOKEN": TOKEN}).status(REF) is DatasetStatus.READY
    assert [seen.where for seen in server.seen] == ["introspect", "status"]
