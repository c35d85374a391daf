"""The run's log file, written beside the threads that log: a disk that hangs holds none of them up.

In: log records. Out: lines, each in the file when its `emit` returns, unless the disk does not answer soon. Then they
wait in memory, in their order, and nobody waits for them.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

from kit.tasks import QueueThread

PATIENCE_S = 1.0
"""How long a thread that logs waits for the disk, once for each time that it hangs."""


class PatientFileHandler(logging.Handler):
    """As logging.FileHandler, in UTF-8. A line that cannot be written is lost.

    Raises: OSError if the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file: IO[str] = path.open("a", encoding="utf-8", errors="backslashreplace")
        self._writer = QueueThread(name="log file")

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            line = self.format(record) + "\n"
        except Exception:  # noqa: BLE001  # as logging's own handlers do: what cannot be shown is told on stderr
            self.handleError(record)
        else:
            self._do(partial(self._write, line))

    def close(self) -> None:
        """Close the file when all is written; what the disk does not take by then is left to go on."""
        self._do(partial(_close, self._file))
        super().close()

    def _do(self, work: partial[None]) -> None:
        with suppress(TimeoutError):
            self._writer.do(work, within_s=PATIENCE_S)

    def _write(self, line: str) -> None:
        with suppress(OSError, ValueError):  # a full disk; a closed file
            self._file.write(line)
            self._file.flush()


def _close(file: IO[str]) -> None:
    with suppress(OSError):
        file.close()
