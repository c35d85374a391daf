"""Whether a server hangs: requests are open and no token has come from it for too long. Pure; times are given.

A port that listens says nothing, and neither does a health page: a server whose engine is stuck answers both.
"""

from __future__ import annotations


class Watchdog:
    """What the clients of one server have seen of it."""

    def __init__(self) -> None:
        self.num_open = 0
        self._last_s = 0.0

    def opened(self, now_s: float) -> None:
        """A request was sent. The first of several starts the waiting anew; a later one does not excuse a silence."""
        if not self.num_open:
            self._last_s = now_s
        self.num_open += 1

    def closed(self) -> None:
        """A request ended, however it did."""
        assert self.num_open > 0
        self.num_open -= 1

    def beat(self, now_s: float) -> None:
        """A token came, or an answer."""
        self._last_s = max(self._last_s, now_s)

    def silence_s(self, now_s: float) -> float:
        """Seconds since the last sign of life that was waited for; 0 while nobody waits."""
        return now_s - self._last_s if self.num_open else 0.0
