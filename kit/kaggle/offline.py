"""Taking the network, and the right to write to the inputs, away from a process and all its children, as Kaggle does.

First choice: a network namespace of its own (`unshare -n`), in which only loopback exists. Where the
machine does not allow that: an audit hook in every Python process that refuses sockets to anywhere but
loopback; it does not reach sockets opened by C libraries, and the report says so. Inputs are mounted
read-only in a mount namespace of its own, so that not even root can write; where the machine does not
allow that, they stay writable, and the report says so.

Run as `python -m kit.kaggle.offline [--read-only FOLDER]… -- COMMAND…` inside new namespaces: brings loopback
up, mounts the folders, then becomes the command.
"""

from __future__ import annotations

import argparse
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

from kit.linux import Attribute, Mount, mount, restrict_mount

_UNSHARE = (("unshare", "--map-root-user", "--net"), ("unshare", "--net"))
_MOUNT = ("--mount",)
_ENTER = (sys.executable, "-P", "-m", "kit.kaggle.offline")
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
    OPEN = "OPEN, unlike on Kaggle: the engine is a server elsewhere"


class Inputs(StrEnum):
    """Whether the inputs can be written to."""

    READ_ONLY = "read-only"
    WRITABLE = "FALLBACK: writable, no mount namespace allowed here"
    OPEN = "writable, since nothing of the command is shut in"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineCommand:
    """A command wrapped so that it runs without a network; `environ` adds to its environment."""

    isolation: Isolation
    inputs: Inputs = Inputs.WRITABLE
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)


def without_network(argv: Sequence[str], *, scratch: Path, read_only: Sequence[Path] = ()) -> OfflineCommand:
    """`argv`, wrapped by the best means this machine allows; the fallback's hook is written to `scratch`.

    read_only: folders that are there, which the command shall not be able to write to.
    """
    folders = [word for path in read_only for word in ("--read-only", str(path))]
    for unshare in _UNSHARE:
        if read_only and _works((*unshare, *_MOUNT), folders):
            wrapped = (*unshare, *_MOUNT, "--", *_ENTER, *folders, "--", *argv)
            return OfflineCommand(isolation=Isolation.NAMESPACE, inputs=Inputs.READ_ONLY, argv=wrapped)
    for unshare in _UNSHARE:
        if _works(unshare, ()):
            return OfflineCommand(isolation=Isolation.NAMESPACE, argv=(*unshare, "--", *_ENTER, "--", *argv))
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / "sitecustomize.py").write_text(_HOOK, encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(scratch), os.environ.get("PYTHONPATH"))))
    return OfflineCommand(isolation=Isolation.AUDIT_HOOK, argv=tuple(argv), environ={"PYTHONPATH": path})


def with_network(argv: Sequence[str]) -> OfflineCommand:
    """`argv` as it is, for an engine that is reached over the network; and the words that say so."""
    return OfflineCommand(isolation=Isolation.OPEN, inputs=Inputs.OPEN, argv=tuple(argv))


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


def mount_read_only(folder: Path) -> None:
    """Mount a folder over itself so that nobody can write to it; needs a mount namespace of one's own.

    Raises: OSError if the system refuses.
    """
    mount(folder, folder, flags=Mount.BIND | Mount.RECURSIVE)
    restrict_mount(folder, Attribute.READ_ONLY)


def _works(unshare: Sequence[str], folders: Sequence[str]) -> bool:
    if shutil.which(unshare[0]) is None:
        return False
    probe = [*unshare, "--", *_ENTER, *folders, "--", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def main() -> None:
    """Become the command, inside."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--read-only", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    bring_loopback_up()
    for folder in args.read_only:
        mount_read_only(folder)
    os.execvp(args.command[0], args.command)


if __name__ == "__main__":
    main()
