from __future__ import annotations

import ast
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.kaggle.offline import Inputs, Isolation, OfflineCommand, without_network

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


WRITES = """
import pathlib, sys
for name in sys.argv[1:]:
    try:
        (pathlib.Path(name) / "new").write_text("x")
        print("written")
    except OSError as error:
        print(error.errno)
"""


def test_inputs_cannot_be_written_inside_not_even_by_root_and_everything_else_can(tmp_path: Path) -> None:
    inputs, working = tmp_path / "in put", tmp_path / "working"
    inputs.mkdir()
    working.mkdir()
    argv = [sys.executable, "-c", WRITES, str(inputs), str(working)]
    command = without_network(argv, scratch=tmp_path / "hook", read_only=[inputs])
    if command.inputs is not Inputs.READ_ONLY:
        pytest.skip("this machine does not allow `unshare --mount`")
    assert run(command).stdout.split() == [str(errno.EROFS), "written"]
    assert not (inputs / "new").exists()
    (inputs / "outside").write_text("only inside it is read-only")


def test_where_folders_cannot_be_mounted_the_report_says_that_they_are_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = [sys.executable, "-c", WRITES, str(tmp_path)]
    command = without_network(argv, scratch=tmp_path, read_only=[tmp_path / "not there"])  # which mount(2) refuses
    assert command.inputs is Inputs.WRITABLE
    assert "FALLBACK" in command.inputs.value
    assert run(command).stdout.split() == ["written"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert without_network(argv, scratch=tmp_path, read_only=[tmp_path]).inputs is Inputs.WRITABLE


RESTRICTED = """
import pathlib, subprocess, sys
from kit.kaggle.offline import without_network
folder = pathlib.Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec", "tmpfs", folder], check=True)
inputs = folder / "input"
inputs.mkdir()
command = without_network(["true"], scratch=folder / "hook", read_only=[inputs])
print(command.inputs.name, subprocess.run(command.argv).returncode)
"""


def test_folders_of_a_file_system_with_restrictions_are_mounted_too(tmp_path: Path) -> None:
    """A remount that drops one of them, as `nosuid` of many a /tmp, is refused in a user namespace."""
    argv = ["unshare", "--map-root-user", "--mount", sys.executable, "-c", RESTRICTED, str(tmp_path)]
    if shutil.which("unshare") is None or (done := run_plainly(argv)).returncode:
        pytest.skip("this machine does not allow `unshare --mount`, or to mount a tmpfs in it")
    assert done.stdout.split() == ["READ_ONLY", "0"]


def run_plainly(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False)


PLANTED = ("kit", "json", "asyncio", "argparse", "nbformat", "kaggle", "sitecustomize")


def test_files_in_the_current_folder_are_not_run_in_place_of_modules(tmp_path: Path) -> None:
    """Regression: `python -m` looks into the current folder first, so a `kit.py` or `json.py` there was run."""
    for name in PLANTED:
        (tmp_path / f"{name}.py").write_text(f"print('planted {name}')\n")
    children = (
        without_network(["true"], scratch=tmp_path / "scratch").argv,
        [sys.executable, "-P", "-m", "kit.kaggle.dry_run.execution", "--help"],
        [sys.executable, "-P", "-m", "kit.kaggle.evaluation_double.gateway", "--help"],
    )
    for command in children:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "planted" not in done.stdout + done.stderr


def commands(tree: ast.AST) -> Iterator[list[object]]:
    """Every list or tuple that holds `-m` or `-c`, as constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple):
            values = [each.value if isinstance(each, ast.Constant) else None for each in node.elts]
            if {"-m", "-c"} & {value for value in values if isinstance(value, str)}:
                yield values


def test_every_child_python_is_told_not_to_look_into_the_current_folder(repo: Path) -> None:
    seen = 0
    for path in sorted((repo / "kit").rglob("*.py")):
        for values in commands(ast.parse(path.read_text(encoding="utf-8"))):
            seen += 1
            assert "-P" in values or "-I" in values, f"{path}: {values}"
    assert seen > 8
