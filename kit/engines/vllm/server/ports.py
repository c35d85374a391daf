"""A free TCP port on loopback, below those that Linux hands out by itself (32768 to 60999) or Kaggle's gateway asks."""

from __future__ import annotations

import socket
from collections.abc import Callable
from random import Random

from kit.errors import EngineError

OUR_PORTS = range(20000, 30000)
_NUM_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # as servers do: a port whose last connections are closing is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(rng: Random, *, is_free: Callable[[int], bool] = is_free) -> int:
    """A random port of OUR_PORTS, so that two kits on one machine rarely collide.

    Raises: EngineError if none of two hundred is free.
    """
    for _ in range(_NUM_TRIES):
        port = rng.choice(OUR_PORTS)
        if is_free(port):
            return port
    raise EngineError(f"none of {_NUM_TRIES} ports tried from {OUR_PORTS.start} on is free; end what listens there")
