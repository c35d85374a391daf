"""The audit hook says what it refuses, whatever the event's arguments are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


NEW_POSIX = "x = _imp.create_builtin(m.ModuleSpec('posix', None)); _imp.exec_builtin(x); "


@pytest.mark.parametrize(
    "code",
    [
        NEW_POSIX + "x.mkfifo(path)",
        "x = m.BuiltinImporter.create_module(m.ModuleSpec('posix', None)); x.mkfifo(path)",
        "x = m.BuiltinImporter.load_module('posix'); x.mkfifo(path)",
        "del sys.modules['posix']; x = m.BuiltinImporter.load_module('posix'); x.mkfifo(path)",
        "del sys.modules['posix']; import posix; posix.mkfifo(path)",
        "class S(m.ModuleSpec): pass\nx = _imp.create_builtin(S('posix', None)); x.mkfifo(path)",
        "class T(str): pass\nx = _imp.create_builtin(m.ModuleSpec(T('posix'), None)); x.mkfifo(path)",
    ],
)
def test_no_second_module_gives_the_functions_back(code: str, tmp_path: Path) -> None:
    """Bug of an earlier version: `_imp.create_builtin` made a new posix, unheard, with all its functions."""
    path = tmp_path / "fifo"
    done = subprocess.run(
        [sys.executable, "-c", f"{HOOK}import _imp, sys, importlib.machinery as m\npath = {str(path)!r}\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "not permitted in this sandbox" in done.stderr
    assert not path.exists()


READING_HOOK = HOOK.replace("refuse(Group, [])", "import sys; refuse(Group, [sys.prefix, sys.base_prefix])")


def test_other_modules_are_imported_as_ever() -> None:
    code = "import sys, array, _heapq, json, decimal, numpy, sympy; print(sympy.Integer(3) + 4)"
    done = subprocess.run([sys.executable, "-c", READING_HOOK + code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("7\n", "")
