"""Who is there: whether a server listens at a port of loopback.

Standard library only: a machine is looked at before anything is installed.
"""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"  # both sides run in one network namespace, where perhaps only `lo` exists
_SETTINGS_FRAME = 4
_EMPTY_SETTINGS = bytes([0, 0, 0, _SETTINGS_FRAME, 0, 0, 0, 0, 0])
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _EMPTY_SETTINGS


def speaks_http2(port: int, *, patience_s: float = 1.0) -> bool:
    """Whether a started gRPC server (or another HTTP/2 one) listens on loopback at this port.

    A port that is closed answers at once; one that is open but silent (a server bound and not started, a
    Jupyter channel) costs `patience_s`. Source: RFC 9113, 3.4: each side begins with a SETTINGS frame.
    """
    try:
        with socket.create_connection((LOOPBACK, port), timeout=patience_s) as connection:
            connection.sendall(_HTTP2_PREFACE)
            header = connection.recv(9)
    except OSError:
        return False
    return len(header) > 3 and header[3] == _SETTINGS_FRAME
