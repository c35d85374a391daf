"""Reading the text of an attempt that ended, without holding the event loop up.

In: a problem's VoteState and a sample. Out: what the sample says; nothing where it cannot be read.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial

from kit.sampling import Sample
from kit.solver.vote_state import ParsedAnswer, VoteState
from kit.tasks import TimedThread

log = logging.getLogger(__name__)

LARGE_CHARS = 300_000
"""From here on a text is read beside the event loop; a shorter one takes milliseconds (35 ms on a slow core)."""
_READ_S = 10.0  # for one large text


@dataclass(frozen=True, slots=True)
class TextReader:
    """Reads one problem's texts: another problem's reader does not wait for a text that never ends."""

    _beside: TimedThread = field(default_factory=partial(TimedThread, limit_s=_READ_S))

    async def read(self, vote_state: VoteState, number: int, sample: Sample) -> ParsedAnswer:
        """What attempt `number` says. A text that cannot be read, by a bug of ours, costs its own vote and no more."""
        try:
            if len(sample.text) < LARGE_CHARS:
                return vote_state.read(sample)
            return await self._beside.run(partial(vote_state.read, sample))
        except Exception:
            log.exception("%s, attempt %d: not counted", vote_state.problem.id, number)
            return ParsedAnswer()
