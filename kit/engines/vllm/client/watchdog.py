"""How long a server has been silent while requests are open; pure, times are arguments.

A server whose engine is stuck still listens and answers its health page.
"""

from __future__ import annotations


class Watchdog:
    """What the clients of one server report."""

    def __init__(self) -> None:
        self.num_open = 0
        self._last_s = 0.0

    def opened(self, now_s: float) -> None:
        """A request was sent. Only the first open one restarts the clock."""
        if not self.num_open:
            self._last_s = now_s
        self.num_open += 1

    def closed(self) -> None:
        """A request ended in some way."""
        assert self.num_open > 0
        self.num_open -= 1

    def beat(self, now_s: float) -> None:
        """A token came, or an answer."""
        self._last_s = max(self._last_s, now_s)

    def silence_s(self, now_s: float) -> float:
        """Seconds since the last sign of life; 0 without open requests."""
        return now_s - self._last_s if self.num_open else 0.0
