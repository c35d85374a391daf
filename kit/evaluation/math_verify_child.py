"""math-verify's verdicts, in a process of its own: lines of JSON in, a line of JSON out for each.

In: `{"gold": LATEX, "answer": LATEX}`. Out: first `{"ready": true}`, then `{"is_right": bool}` for each line. Gold and
answer are put into a box, since math-verify finds no LaTeX outside of mathematics; the gold comes first, as `verify` is
asymmetric. Its own time limits are off: whoever started this process keeps the time. Memory is limited, so that a
tower of powers costs a verdict and not the machine. A case that goes on for a minute ends the process, for then nobody
waits any more. Started by path: it imports the standard library and math-verify, and not the kit.
Source: math-verify 0.9.0 (`parse`, `verify`).
"""

from __future__ import annotations

import json
import logging
import resource
import signal
import sys

_MEMORY_BYTES = 3 * 2**30
_LAST_RESORT_S = 60


def main() -> None:
    """Answer until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    logging.disable()  # what math-verify cannot parse it logs with a traceback
    from math_verify import parse, verify  # heavy

    def is_right(gold: str, answer: str) -> bool:
        read = [parse(f"\\boxed{{{latex}}}", parsing_timeout=None) for latex in (gold, answer)]
        return bool(verify(*read, timeout_seconds=None))

    is_right("1", "1")  # what it loads at its first case
    _tell({"ready": True})
    for line in sys.stdin:
        signal.alarm(_LAST_RESORT_S)
        case = json.loads(line)
        _tell({"is_right": is_right(case["gold"], case["answer"])})
        signal.alarm(0)


def _tell(answer: dict[str, bool]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
