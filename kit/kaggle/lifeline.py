"""A child process that does not outlive its parent (Linux; elsewhere its pipe breaks)."""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None, use_errno=True)  # loaded here: between fork and exec nothing may be


def end_with_parent(number: signal.Signals) -> None:
    """Have the system send this signal to the calling process when its parent dies, even by SIGKILL."""
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
