"""Who may begin while the cache is nearly full: attempts are held rather than preempted and computed anew.

vLLM admits whatever comes and, when its cache is full, throws an attempt out of it and computes it again later. Held
at the gate, an attempt costs nothing. Pure: readings of the server's metrics in, who may enter out.
Source: the only notebook of the competition that looked at the cache (field notes peers.md 1.13).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_USAGE = re.compile(r"^vllm:(?:kv|gpu)_cache_usage_perc(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_PREEMPTED = re.compile(r"^vllm:num_preemptions_total(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_SIZE = re.compile(r'^vllm:cache_config_info\{[^}]*\bkv_cache_size_tokens="(\d+)"', re.MULTILINE)
_BLOCKS = re.compile(r'^vllm:cache_config_info\{[^}]*\bnum_gpu_blocks="(\d+)"', re.MULTILINE)
_BLOCK = re.compile(r'^vllm:cache_config_info\{[^}]*\bblock_size="(\d+)"', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMetrics:
    """A server's cache at one moment.

    usage: in [0, 1]; the fullest of several engines. num_tokens: that it holds, 0 if not known.
    num_preempted: attempts thrown out of it so far.
    """

    usage: float
    num_tokens: int = 0
    num_preempted: int = 0


def read_metrics(text: str) -> ServerMetrics | None:
    """Out of a Prometheus page; None for one of a server that tells nothing of its cache."""
    usages = [float(each) for each in _USAGE.findall(text)]
    if not usages:
        return None
    return ServerMetrics(
        usage=max(usages),
        num_tokens=_num_tokens(text),
        num_preempted=int(sum(float(each) for each in _PREEMPTED.findall(text))),
    )


def _num_tokens(text: str) -> int:
    size = _SIZE.search(text)
    if size:
        return int(size[1])
    blocks, block = _BLOCKS.search(text), _BLOCK.search(text)  # before vLLM told the product
    return int(blocks[1]) * int(block[1]) if blocks and block else 0


class AdmissionGate:
    """Lets attempts in while the cache has room, at least one always.

    high: the usage from which it is shut. is_watched: whether readings will come; before the first, one may enter, and
    a wave that comes with the server's start cannot slip through. Else all may.
    An attempt counts with its tokens from when it enters until a reading that was begun after the server had begun
    with it: a hundred attempts at once may not slip through between two readings. Each has a ticket.
    """

    def __init__(self, *, high: float, is_watched: bool = False) -> None:
        self._high = high
        self._is_known = not is_watched
        self._reading: ServerMetrics | None = None
        self._num_tickets = 0
        self._inside: set[int] = set()
        self._unread_tokens: dict[int, int] = {}  # by ticket, of those that no reading covers
        self._begun: set[int] = set()  # of these, those that the server has begun with

    @property
    def is_idle(self) -> bool:
        """Whether nobody is inside."""
        return not self._inside

    @property
    def is_open(self) -> bool:
        """Whether one more may enter."""
        if self.is_idle:
            return True
        if self._reading is None:
            return self._is_known
        usage = self._reading.usage
        if self._reading.num_tokens:
            usage += sum(self._unread_tokens.values()) / self._reading.num_tokens
        return usage < self._high

    def enter(self, num_tokens: int) -> int:
        """One more, whose prompt has so many tokens; gives its ticket."""
        self._num_tickets += 1
        self._inside.add(self._num_tickets)
        self._unread_tokens[self._num_tickets] = num_tokens
        return self._num_tickets

    def begun(self, ticket: int) -> None:
        """The server has answered: the attempt is in its cache."""
        if ticket in self._unread_tokens:
            self._begun.add(ticket)

    def leave(self, ticket: int) -> None:
        """One fewer."""
        self._inside.remove(ticket)
        self._forget({ticket})

    def covered(self) -> frozenset[int]:
        """Whom a reading that is begun now will cover."""
        return frozenset(self._begun)

    def read(self, reading: ServerMetrics | None, *, covered: frozenset[int]) -> None:
        """Take in what the server said; None: that it tells nothing."""
        self._reading, self._is_known = reading, True
        self._forget(covered)

    def _forget(self, tickets: Iterable[int]) -> None:
        for ticket in tickets:
            self._unread_tokens.pop(ticket, None)
            self._begun.discard(ticket)
