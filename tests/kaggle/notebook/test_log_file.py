"""The log file holds every line, and a disk that does not take one holds nobody up."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.kaggle.notebook.log_file import PatientFileHandler


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.Logger("of this test")
    yield made
    for handler in made.handlers:
        handler.close()


def test_a_line_is_in_the_file_when_it_was_logged(logger: logging.Logger, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    logger.addHandler(PatientFileHandler(tmp_path / "log"))
    for number in range(3):
        logger.info("line %d: \ud800 é", number)
        assert (tmp_path / "log").read_text() == "before\n" + "".join(
            f"line {n}: \\ud800 é\n" for n in range(number + 1)
        )


def test_a_disk_that_hangs_holds_up_no_thread_that_logs_and_gets_every_line_in_the_end(
    logger: logging.Logger, tmp_path: Path
) -> None:
    """A pipe that nobody reads stands in for the disk: a write to it does not return."""
    os.mkfifo(tmp_path / "log")
    reading = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    handler = PatientFileHandler(tmp_path / "log")
    logger.addHandler(handler)
    line = "x" * 1023
    logged = threading.Thread(target=lambda: [logger.info("%s", line) for _ in range(200)])
    logged.start()
    logged.join(60)
    assert not logged.is_alive()  # 200 KiB, of which a pipe takes 64
    os.set_blocking(reading, True)
    with os.fdopen(reading, "rb") as file:
        handler.close()
        assert file.read() == 200 * f"{line}\n".encode()


def test_a_full_disk_and_a_text_that_cannot_be_shown_raise_nothing(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.addHandler(PatientFileHandler(Path("/dev/full")))
    logger.info("lost")
    logger.info("%d", "no number")
    assert "no number" in capsys.readouterr().err


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="log"):
        PatientFileHandler(tmp_path / "none" / "log")
