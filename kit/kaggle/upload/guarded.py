"""Runs the `kaggle` client as `python -m kaggle` does, but never past a file that it could not upload.

Release 2.2.4 prints that a file could not be uploaded, goes on, makes the dataset without it and ends with 0. Here
the printing of that line raises what release 2.2.5 raises in its place (kaggle-cli pull request 1150), so that both
end with 1, keep their upload sessions, and make nothing. Ending the client from outside would be a race with its
next request. The client itself is not changed.

Started by path in a process of its own, where the kit need not be importable: it imports the standard library only.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any, TextIO

DROPPED = "Upload unsuccessful: "


class GuardedOutput:
    """The stream `below`, which refuses the line that tells of a dropped file."""

    def __init__(self, below: TextIO) -> None:
        self._below = below

    def write(self, text: str) -> int:
        """Write `text`. Raises: ValueError with the text if it tells of a dropped file; the client shows it."""
        if text.startswith(DROPPED):
            raise ValueError(text.rstrip())
        return self._below.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


if __name__ == "__main__":
    sys.stdout = GuardedOutput(sys.stdout)
    runpy.run_module("kaggle", run_name="__main__", alter_sys=True)
