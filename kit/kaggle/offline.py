"""Taking the network away from a process and all its children, as Kaggle does with "internet off".

First choice: a network namespace of its own (`unshare -n`), in which only loopback exists. Where the
machine does not allow that: an audit hook in every Python process that refuses sockets to anywhere but
loopback; it does not reach sockets opened by C libraries, and the report says so.

Run as `python -m kit.kaggle.offline COMMAND…` inside a new namespace: brings loopback up, then becomes
the command.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

_UNSHARE = (("unshare", "--map-root-user", "--net"), ("unshare", "--net"))
_ENTER = (sys.executable, "-m", "kit.kaggle.offline")  # brings loopback up inside, then runs the command
_NOWHERE = ("192.0.2.1", 9)  # TEST-NET-1 of RFC 5737; connecting a datagram socket sends nothing

# Linux: linux/sockios.h, linux/if.h
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1

_HOOK = '''"""Written by a dry run of the kit: no Python socket leaves this machine."""
import ipaddress, os, sys

def _is_local(host):
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False

def _refuse(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        host = args[1][0] if isinstance(args[1], tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
    else:
        return
    if not _is_local(host):
        raise OSError(101, f"Network is unreachable: {host!r} (blocked by the dry run)")

sys.addaudithook(_refuse)
'''


class Isolation(StrEnum):
    """How the network is taken away."""

    NAMESPACE = "a network namespace of its own, only loopback"
    AUDIT_HOOK = "FALLBACK: no namespace allowed here, so Python's sockets are blocked; C libraries' are not"


@dataclass(frozen=True, slots=True)
class OfflineCommand:
    """A command wrapped so that it runs without a network; `environ` adds to its environment."""

    isolation: Isolation
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)


def without_network(argv: Sequence[str], *, scratch: Path) -> OfflineCommand:
    """`argv`, wrapped by the best means this machine allows; the fallback's hook is written to `scratch`."""
    for unshare in _UNSHARE:
        if _works(unshare):
            return OfflineCommand(Isolation.NAMESPACE, (*unshare, "--", *_ENTER, *argv))
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / "sitecustomize.py").write_text(_HOOK, encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(scratch), os.environ.get("PYTHONPATH"))))
    return OfflineCommand(Isolation.AUDIT_HOOK, tuple(argv), {"PYTHONPATH": path})


def has_network() -> bool:
    """Whether this process has a route to anywhere but itself; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_NOWHERE)
        except OSError as error:
            return error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH)
    return True


def bring_loopback_up() -> None:
    """Set the interface `lo` up; a new namespace has it down, and Jupyter and gRPC need it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh22x", b"lo", 0)
        _, flags = struct.unpack("16sh22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def _works(unshare: Sequence[str]) -> bool:
    if shutil.which(unshare[0]) is None:
        return False
    probe = [*unshare, "--", *_ENTER, "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    bring_loopback_up()
    os.execvp(sys.argv[1], sys.argv[1:])
