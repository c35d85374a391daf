"""How long a server has been silent while requests were open; pure, times are arguments.

A server whose engine is stuck still listens and answers its health page. Its silence is that of all requests since the
last token: a pause between two problems neither counts nor ends it.
"""

from __future__ import annotations


class Watchdog:
    """What the clients of one server report."""

    def __init__(self) -> None:
        self.num_open = 0
        self._heard_s = float("-inf")  # when there was the last sign of life
        self._since_s = 0.0  # when the present silence began or went on
        self._before_s = 0.0  # of the present silence, before the last pause

    def opened(self, now_s: float) -> None:
        """A request was sent. Only the first open one lets the clock run again."""
        if not self.num_open:
            self._since_s = now_s
        self.num_open += 1

    def closed(self, now_s: float) -> None:
        """A request ended in some way, which is no sign of life: it may have been given up."""
        assert self.num_open > 0
        self._before_s = self.silence_s(now_s)
        self._since_s = now_s
        self.num_open -= 1

    def beat(self, now_s: float) -> None:
        """A token came, or an answer."""
        self._heard_s = max(self._heard_s, now_s)
        self._since_s, self._before_s = max(self._since_s, now_s), 0.0

    def restarted(self) -> None:
        """There is a new server, which has kept nobody waiting yet."""
        self._before_s = 0.0

    def has_heard_since(self, then_s: float) -> bool:
        """Whether there was a sign of life after this time."""
        return self._heard_s >= then_s

    def silence_s(self, now_s: float) -> float:
        """Seconds with open requests since the last sign of life; 0 without open requests."""
        return self._before_s + max(0.0, now_s - self._since_s) if self.num_open else 0.0
