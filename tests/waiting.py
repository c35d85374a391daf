"""How a test waits: for progress, never for a machine's speed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import trio

PATIENCE_S = 600.0  # on the slowest machine, and only where something is broken
_LAST_S = 60.0


def longer_and_longer(first_s: float) -> Iterator[float]:
    """Times to try, the first of them short: the test goes on to the next until it has seen what it needs."""
    return itertools.takewhile(
        lambda each_s: each_s <= max(_LAST_S, first_s), (first_s * 4**n for n in itertools.count())
    )


async def until(claim: Callable[[], object], *, pause_s: float = 0.01) -> None:
    """Wait until the claim holds, on trio."""
    with trio.fail_after(PATIENCE_S):
        while not claim():
            await trio.sleep(pause_s)


def block_until(claim: Callable[[], object], *, pause_s: float = 0.01) -> None:
    """Wait until the claim holds, outside trio."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not claim():
        assert time.monotonic() < give_up_s, "it never came about"
        time.sleep(pause_s)
