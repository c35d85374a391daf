"""SIGTERM and SIGHUP as Ctrl-C: a long command that is asked to end keeps what it has."""

from __future__ import annotations

import signal


def end_as_by_ctrl_c() -> None:
    """Let these signals do what Ctrl-C does, but for one that is ignored, as SIGHUP is under nohup."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:
            signal.signal(ending, _as_ctrl_c)


def _as_ctrl_c(number: int, frame: object) -> None:
    """Whoever handles SIGINT decides when, as trio does, for that signal alone."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # the job of a script in the background
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)
