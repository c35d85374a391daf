"""Verdicts on answers of any kind: kit.answers where both are integers, the same text, and else math-verify.

math-verify runs in a child process with a time limit: its own limit works by signals, which fail in threads, and some
comparisons never end. The process starts with the first answer that needs it, and a new one with the first that follows
one that hung.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kit.answers.extraction import extract
from kit.answers.normalisation import integer
from kit.data.examples import MathExample
from kit.errors import InputError, MissingError
from kit.evaluation.expressions import bare, normal_form, whole_number
from kit.evaluation.math_verify_child import WALL_FACTOR
from kit.evaluation.records import Grade
from kit.evaluation.verdicts import lenient, strict, written

log = logging.getLogger(__name__)

LIMIT_S = 5.0
"""CPU seconds of one comparison; math-verify's own limit, which counts by the clock."""

_PATIENCE = WALL_FACTOR + 1  # by the clock: the process ends itself before
_START_S = 120.0  # importing sympy on a busy machine
_CHILD = Path(__file__).with_name("math_verify_child.py")


def check_math_verify() -> None:
    """Raise MissingError if it is not installed."""
    if importlib.util.find_spec("math_verify") is None:
        raise MissingError(
            "answers that are no integers are compared with math-verify, which is not installed; "
            "pip install 'mathllm-kit[eval]'"
        )


class MathVerify:
    r"""Grades completions whose gold is an expression; a context manager, which ends its process.

    A gold that is an integer, as many in MATH are, is read by kit.answers first: where the answer is an integer for it
    too, the two are compared as integers, without tolerance. Only an answer that it refuses, or a gold that is no
    integer, goes on: equal ways of writing are right, and of the rest math-verify decides, gold first. So
    `\boxed{27.0}` against 27 never sees math-verify, and `\boxed{3^3}` is right in both.
    `answer` of a Grade is the integer, or kit.evaluation.expressions.normal_form of what was read.
    Threads may share one; they wait for each other.
    limit_s: CPU time of one comparison, so that a busy machine changes no verdict; one that takes longer, or breaks the
    process, is not right.
    """

    def __init__(self, *, limit_s: float = LIMIT_S) -> None:
        if not 0 < limit_s <= 30:
            raise InputError(f"limit_s must be in (0, 30], got {limit_s}")
        self._limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def grade(self, text: str, example: MathExample) -> tuple[Grade, Grade]:
        """The strict and the lenient grade of one completion; lenient reads the last integer where strict has nothing.

        Raises: MissingError without math-verify, once a comparison needs it.
        """
        raw = extract(text, prefers_integer=False)
        gold = whole_number(example.gold)
        answer = None if raw is None else _normalised(raw.text, is_integer=gold is not None)
        is_right = raw is not None and answer is not None and self._is_right(raw.text, example.gold)
        first = strict(raw, answer, is_right=is_right)
        return first, lenient(first, text, gold=gold)

    def _is_right(self, raw: str, gold: str) -> bool:
        gold_number, number = whole_number(gold), integer(raw)
        if gold_number is not None and isinstance(number, int):
            return number == gold_number
        return normal_form(raw) == normal_form(gold) or self.verify(gold=gold, answer=raw)

    def verify(self, *, gold: str, answer: str) -> bool:
        """math-verify's verdict alone, on two pieces of LaTeX.

        Raises: MissingError without math-verify.
        """
        request = json.dumps({"gold": bare(gold), "answer": bare(answer)}).encode() + b"\n"
        with self._lock:
            process = self._started()
            told = _exchange(process, request, limit_s=_PATIENCE * self._limit_s)
            if told is not None:
                return bool(told["is_right"])
            self._end()
        log.warning(
            "math-verify gave no verdict on %r against %r in %g CPU seconds", answer[:80], gold[:80], self._limit_s
        )
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            return self._process
        check_math_verify()
        # -P: the folder of the script is not searched for modules
        command = [sys.executable, "-P", str(_CHILD), str(self._limit_s)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True
        )
        if _exchange(self._process, b"", limit_s=_START_S) is None:
            self._end()
            raise MissingError(
                f"math-verify does not start ({' '.join(command)}); pip install 'mathllm-kit[eval]' again"
            )
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _normalised(raw: str, *, is_integer: bool) -> str | None:
    """The text to vote on. is_integer: whether the gold is one: then `m+n = 5` is 5, and else an equation."""
    number = integer(raw) if is_integer else whole_number(raw)
    return written(number) if isinstance(number, int) else normal_form(raw)


def _exchange(process: subprocess.Popen[bytes], request: bytes, *, limit_s: float) -> Any:
    """Send a line and wait for one; None if none comes in time, or the process ends."""
    assert process.stdin is not None
    assert process.stdout is not None
    ends_s = time.monotonic() + limit_s
    told = b""
    try:
        process.stdin.write(request)
        process.stdin.flush()
    except BrokenPipeError:
        return None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not told.endswith(b"\n"):
            if not selector.select(max(0.0, ends_s - time.monotonic())):
                return None
            piece = os.read(process.stdout.fileno(), 4096)
            if not piece:
                return None
            told += piece
    return json.loads(told)
