from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit.kaggle.offline import Isolation, OfflineCommand, without_network

# What a process without a network may and may not do; prints one line a probe.
PROBES = """
import socket, threading
def tries(name, action):
    try:
        action()
        print(name, "works")
    except OSError as error:
        print(name, "fails", error.errno)
server = socket.create_server(("127.0.0.1", 0))
def to(address, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(2)
        client.connect(address)
tries("loopback", lambda: to(server.getsockname()))
tries("outside", lambda: to(("192.0.2.1", 9), socket.SOCK_DGRAM))
tries("resolving localhost", lambda: socket.getaddrinfo("localhost", 80))
server.close()
"""


def run(command: OfflineCommand) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **command.environ}
    return subprocess.run(command.argv, env=environ, capture_output=True, text=True, check=False)


def probe(command: OfflineCommand) -> dict[str, str]:
    lines = run(command).stdout.splitlines()
    return dict(line.rsplit(" ", 2)[0:2] if "fails" in line else line.rsplit(" ", 1) for line in lines)


def test_in_a_namespace_only_loopback_is_left(tmp_path: Path) -> None:
    command = without_network([sys.executable, "-c", PROBES], scratch=tmp_path)
    if command.isolation is not Isolation.NAMESPACE:
        pytest.skip("this machine does not allow `unshare --net`")
    assert probe(command) == {"loopback": "works", "outside": "fails", "resolving localhost": "works"}


def test_without_namespaces_pythons_sockets_are_blocked_and_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no `unshare` to be found
    command = without_network([sys.executable, "-c", PROBES], scratch=tmp_path / "hook")
    assert command.isolation is Isolation.AUDIT_HOOK
    assert "FALLBACK" in command.isolation.value
    assert probe(command) == {"loopback": "works", "outside": "fails", "resolving localhost": "works"}


def test_the_fallback_refuses_to_resolve_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code = "import socket; socket.getaddrinfo('example.org', 443)"
    command = without_network([sys.executable, "-c", code], scratch=tmp_path / "hook")
    assert "blocked by the dry run" in run(command).stderr
