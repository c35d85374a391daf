"""Landlock: from here on a process opens only what lies below the folders it names.

In: readable and writable paths. Out: nothing, or OSError where the kernel has none. It holds for children and
cannot be taken back. It also refuses TCP and signals to others where the kernel knows how. It does not cover
chmod, chown and times. Source: linux/landlock.h; docs.kernel.org/userspace-api/landlock.html.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from kit.linux import syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV  # the rights a file can have
_BIND_TCP, _CONNECT_TCP = 1, 2
_ABSTRACT_UNIX_SOCKET, _SIGNAL = 1, 2
_NUM_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # by ABI; 16 from ABI 5


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def restrict(*, readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Confine this process for good; PR_SET_NO_NEW_PRIVS must be set. Paths that do not exist are passed over.

    Raises: OSError.
    """
    abi = syscall(_CREATE_RULESET, None, 0, 1, what="landlock")
    every = (1 << _NUM_FILE_RIGHTS.get(abi, 16)) - 1
    rules = _Ruleset(
        files=every,
        network=_BIND_TCP | _CONNECT_TCP if abi >= 4 else 0,
        scoped=_ABSTRACT_UNIX_SOCKET | _SIGNAL if abi >= 6 else 0,
    )
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = syscall(_CREATE_RULESET, ctypes.byref(rules), size, 0, what="landlock_create_ruleset")
    try:
        for path in readable:
            _allow(ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR)
        for path in writable:
            _allow(ruleset, path, every)
        syscall(_RESTRICT_SELF, ruleset, 0, what="landlock_restrict_self")
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rule = _PathBeneath(rights if path.is_dir() else rights & _OF_FILES, folder)
        arguments = (ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
        syscall(_ADD_RULE, *arguments, what=f"landlock_add_rule {path}")
    finally:
        os.close(folder)
