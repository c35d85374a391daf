"""How a test runs a server in a thread: until its block ends, however that ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer


@contextmanager
def in_a_thread(server: BaseServer) -> Iterator[None]:
    """Serve, and close at the end: a server whose socket is closed while it serves spins on a core for ever."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
