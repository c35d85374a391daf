"""How fast one stream of tokens runs beside others on one GPU, as a share of its speed beside seven.

In: a number of streams. Out: a relative speed. A measured table is the default; the straight line that the first
version assumed is kept, to see how far a finding hangs on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from kit.errors import check_fields

REFERENCE_STREAMS = 8
"""Attempts in flight while the recordings were made: beside seven others a stream has the speed 1."""


@dataclass(frozen=True, slots=True)
class StreamSpeeds:
    """relative: the speed of one of 1, 2, … REFERENCE_STREAMS streams over that of one of the last.

    beyond: what each stream more adds to the time of a token, as a share of its time beside seven others.
    Raises: InputError for a table of another length, speeds that are not above 0, or a negative `beyond`.
    """

    relative: tuple[float, ...]
    beyond: float

    def __post_init__(self) -> None:
        checks = (
            ("relative", len(self.relative) == REFERENCE_STREAMS, f"of {REFERENCE_STREAMS} speeds"),
            ("relative", all(speed > 0 for speed in self.relative), "above 0"),
            ("beyond", self.beyond >= 0, ">= 0"),
        )
        check_fields(self, checks)

    def at(self, num_streams: int) -> float:
        """Of one of so many streams; none at all is as one."""
        if num_streams > REFERENCE_STREAMS:
            return self.relative[-1] / (1 + self.beyond * (num_streams - REFERENCE_STREAMS))
        return self.relative[max(0, num_streams - 1)]


MEASURED = StreamSpeeds(relative=(1.79, 1.53, 1.22, 1.22, 1.05, 1.05, 1.0, 1.0), beyond=0.06)
"""gpt-oss-120b on an H100: 199, 170, 136 (of three or four), 117 (five or six), 110 and 112 tokens a second of one of
1 to 8 streams still running; beyond eight about 6 % a stream. Open: contexts of more than 40k tokens."""


def linear(stream_cost: float) -> StreamSpeeds:
    """Each stream adds `stream_cost` (0 or more) of a lone stream's step: 0.2 was assumed once, 0.00–0.04 fits."""
    steps = [1 + stream_cost * place for place in range(REFERENCE_STREAMS)]
    return StreamSpeeds(tuple(steps[-1] / step for step in steps), stream_cost / steps[-1])
