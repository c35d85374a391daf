"""Attempts waiting at the gate of `admission`, and the readings of the server's cache that move it.

In: an endpoint and its metrics page. Out: attempts let in first come first served, each with a ticket.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from kit.engines.vllm.client.admission import AdmissionGate, ServerMetrics, read_metrics
from kit.engines.vllm.client.endpoint import Endpoint
from kit.engines.vllm.client.faults import BrokenError
from kit.engines.vllm.client.http import HttpClient
from kit.errors import EngineError

_MAX_MISSED = 5  # readings of the cache that fail in a row, before the gate is opened for all


class Admission:
    """One engine's gate.

    high: share of the KV cache from which attempts wait. poll_s: between readings of the cache; None for a server
    without metrics, where all may enter.
    """

    def __init__(self, endpoint: Endpoint, http: HttpClient, *, high: float, poll_s: float | None) -> None:
        self._endpoint = endpoint
        self._http = http
        self._poll_s = poll_s
        self._gate = AdmissionGate(high=high, is_watched=poll_s is not None)
        self._queue = trio.StrictFIFOLock()
        self._moved = trio.Event()

    @asynccontextmanager
    async def entered(self, num_tokens: int) -> AsyncIterator[int]:
        """Wait until a prompt of so many tokens may enter, first come first served; gives its ticket."""
        async with self._queue:
            while not self._gate.is_open:
                await self._moved.wait()
            ticket = self._gate.enter(num_tokens)
        try:
            yield ticket
        finally:
            self._gate.leave(ticket)
            self._move()

    def begun(self, ticket: int) -> None:
        """Note that the server has answered: the attempt is in its cache."""
        self._gate.begun(ticket)

    async def watch(self) -> None:
        """Read the server's cache again and again, first at once."""
        if self._poll_s is None:
            return
        num_missed, is_first = 0, True
        while True:
            if is_first or not self._gate.is_idle:
                covered = self._gate.covered()
                try:
                    reading = await self._reading(self._poll_s)
                    num_missed, is_first = 0, False
                except BrokenError:
                    # usually the server goes down: the metrics of the next one open the gate
                    num_missed, reading = num_missed + 1, None
                if num_missed in {0, _MAX_MISSED}:
                    self._gate.read(reading, covered=covered)
                    self._move()
            await trio.sleep(self._poll_s)

    async def _reading(self, poll_s: float) -> ServerMetrics | None:
        """The cache's state; None for a server that has no metrics or is given up.

        Raises: BrokenError.
        """
        try:
            address = await self._endpoint.ready()
            return read_metrics(await self._http.get_text(f"{address.url}/metrics", timeout_s=max(1.0, poll_s)))
        except BrokenError:
            raise
        except EngineError:
            return None

    def _move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()
