"""math-verify's verdicts, in a process of its own: lines of JSON in, a line of JSON out for each.

In: `{"gold": LATEX, "answer": LATEX}`. Out: first `{"ready": true}`, then `{"is_right": bool}` for each line. Gold and
answer are put into a box, since math-verify finds no LaTeX outside of mathematics; the gold comes first, as `verify` is
asymmetric. Its own time limits, which a busy machine would trip, are off: a case that takes more than the CPU seconds
on the command line ends the process, and so does one that takes WALL_FACTOR times as long by the clock. Memory is
limited, so that a tower of powers costs a verdict and not the machine. Started by path: it imports the standard library
and math-verify, and not the kit.
Source: math-verify 0.9.0 (`parse`, `verify`).
"""

from __future__ import annotations

import json
import logging
import resource
import signal
import sys

_MEMORY_BYTES = 3 * 2**30
WALL_FACTOR = 12


def main() -> None:
    """Answer until the input ends."""
    limit_s = float(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    logging.disable()  # what math-verify cannot parse it logs with a traceback
    from math_verify import parse, verify  # heavy

    def is_right(gold: str, answer: str) -> bool:
        read = [parse(f"\\boxed{{{latex}}}", parsing_timeout=None) for latex in (gold, answer)]
        return bool(verify(*read, timeout_seconds=None))

    is_right("1", "1")  # what it loads at its first case
    _tell({"ready": True})
    for line in sys.stdin:
        _set_timers(limit_s)
        case = json.loads(line)
        _tell({"is_right": is_right(case["gold"], case["answer"])})
        _set_timers(0)


def _set_timers(limit_s: float) -> None:
    """Their signals end the process, whatever it is computing; 0 stops them."""
    signal.setitimer(signal.ITIMER_PROF, limit_s)  # of CPU time
    signal.setitimer(signal.ITIMER_REAL, WALL_FACTOR * limit_s)


def _tell(answer: dict[str, bool]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
