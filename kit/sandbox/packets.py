"""The words that pass between the kit and the far side, over packet sockets: one send is one receive.

ForkServer: the kit sends the settings as JSON and receives a `Confinement` as JSON or FAILED and the reason; then for
each packet SPAWN with three descriptors (life, control, output) one sandbox is forked. Control: see
`inside.worker`. Life: first BIRTH from the init process; then see `inside.init`.
"""

from __future__ import annotations

import struct

NONCE_BYTES = 16
MAX_CODE_BYTES = 100_000  # under what a socket takes in one packet (208 KiB by default)
MAX_REQUEST_BYTES = NONCE_BYTES + MAX_CODE_BYTES
MAX_REPLY_BYTES = 1024

SPAWN = b"spawn"
READY = b"ready"
FAILED = b"failed: "
INTERRUPT = b"interrupt"  # the kit to an init process; answered by the same once the signal is sent
OUT_OF_MEMORY = b"out of memory"  # the kit to an init process: all sandboxes together hold too much; end this one
BIRTH = struct.Struct("=q")  # an init process to the kit: its pid
DEATH = struct.Struct("=i")  # an init process to the kit: the wait status of its worker, all else being dead too


class Verdict:
    """How a cell ended, as the worker says: one byte."""

    OK = b"O"
    ERROR = b"E"
