"""Who may begin while the cache is nearly full; pure: readings of the server's metrics in, who may enter out.

vLLM admits every request. When its cache is full it throws an attempt out and computes it anew later. An attempt that
waits at the gate costs nothing.
Source: https://github.com/tonghuikang/aimo3, whose notebook holds attempts above 200,000 cached tokens.
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

    usage: in [0, 1]; of several engines the fullest. num_tokens: its size, 0 if not known. num_preempted: attempts
    thrown out so far.
    """

    usage: float
    num_tokens: int = 0
    num_preempted: int = 0


def read_metrics(text: str) -> ServerMetrics | None:
    """The metrics on a Prometheus page; None for a server that tells nothing of its cache."""
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
    """Lets attempts in while the cache has room; one may always be inside.

    high: the usage from which it is shut. is_watched: whether readings will come. Then only one may enter before the
    first reading; else all may. An attempt counts with its tokens until a reading covers it, which is one that began
    after the server had begun the attempt: so a hundred attempts cannot enter between two readings.
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
        """Let an attempt in whose prompt has so many tokens; returns its ticket."""
        self._num_tickets += 1
        self._inside.add(self._num_tickets)
        self._unread_tokens[self._num_tickets] = num_tokens
        return self._num_tickets

    def begun(self, ticket: int) -> None:
        """Note that the server has answered: the attempt is in its cache."""
        if ticket in self._unread_tokens:
            self._begun.add(ticket)

    def leave(self, ticket: int) -> None:
        """Let an attempt out."""
        self._inside.remove(ticket)
        self._forget({ticket})

    def covered(self) -> frozenset[int]:
        """The tickets that a reading begun now will cover."""
        return frozenset(self._begun)

    def read(self, reading: ServerMetrics | None, *, covered: frozenset[int]) -> None:
        """Take in a reading; None for a server that tells nothing."""
        self._reading, self._is_known = reading, True
        self._forget(covered)

    def _forget(self, tickets: Iterable[int]) -> None:
        for ticket in tickets:
            self._unread_tokens.pop(ticket, None)
            self._begun.discard(ticket)
