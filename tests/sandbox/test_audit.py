"""The audit hook says what it refuses, whatever the event's arguments are."""

from __future__ import annotations

import subprocess
import sys

import pytest

HOOK = "import os, signal, subprocess, _ctypes\nfrom kit.sandbox.inside.audit import Group, refuse\nrefuse(Group, [])\n"


@pytest.mark.parametrize(
    ("call", "event"),
    [
        ("os.fork()", "os.fork"),
        ("os.forkpty()", "os.forkpty"),
        ("os.system('true')", "os.system"),
        ("_ctypes.dlopen(None, 0)", "ctypes.dlopen"),
        ("signal.pthread_kill(1, 0)", "signal.pthread_kill"),
        ("os.lockf(0, 1, 0)", "os.lockf"),
        ("subprocess.run('true')", "subprocess.Popen"),
        ("os.mkfifo('f')", "posix.mkfifo"),
    ],
)
def test_what_is_refused_is_named(call: str, event: str) -> None:
    """Bug of an earlier version: "tuple index out of range", for events with one argument or none."""
    done = subprocess.run([sys.executable, "-c", HOOK + call], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"PermissionError: not permitted in this sandbox: {event}" in done.stderr
